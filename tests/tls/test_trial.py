"""Certificates that have all that is asked of them one by one, and that no peer would take (B57, SET-2)."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.tls.reading import is_signed_by, present
from adapters.tls.trial import trial_fault
from domain.certificate import Role
from domain.limits import Limits
from tests.tls.authority import Issued, authority, issue, rsa_key

CA, SHORT = authority(), authority("Short CA", path_length=0)
NARROW = authority("Narrow CA", more=(x509.NameConstraints([x509.DNSName("hospital.example")], None),))
ISSUING, TOO_FAR = authority("Issuing CA", signer=CA), authority("Too far", signer=SHORT)
NO_SIGNER = issue(
    "No signer", CA, ca=True, usage=False, more=(x509.KeyUsage(True, False, False, False, False, False, *[False] * 3),)
)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\5\0")


def tried(role: Role, ca: Issued, *chain: Issued) -> str:
    presented, key = present(b"".join(one.pem for one in chain), chain[0].key_pem, Limits())
    root = present(ca.pem, None, Limits())[0].certificate
    assert is_signed_by(presented.certificate, root)
    return trial_fault(role, presented.certificate, key, root)


@pytest.mark.parametrize(
    "key", [rsa_key(), *map(ec.generate_private_key, (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()))]
)
def test_SET_2_pairs_of_every_usual_kind_are_taken(key: ec.EllipticCurvePrivateKey) -> None:
    assert tried(Role.SCP, CA, issue("scp", CA, key=key, purposes=("server_auth",))) == ""
    assert tried(Role.SCU, CA, issue("scu", CA, key=key, purposes=("client_auth",))) == ""
    assert tried(Role.SCP, CA, issue("scp", ISSUING, key=key), ISSUING) == ""


@pytest.mark.parametrize(
    ("ca", "chain", "said"),
    [
        pytest.param(
            CA,
            [issue("x", CA, key=ec.generate_private_key(ec.SECP256K1()))],
            "its key is of no kind that TLS has",
            id="no-curve-of-TLS",
        ),
        pytest.param(CA, [issue("x", CA, more=(UNKNOWN,))], "unhandled critical extension", id="critical"),
        pytest.param(CA, [issue("x", NO_SIGNER), NO_SIGNER], "invalid ca certificate", id="may-not-sign"),
        pytest.param(SHORT, [issue("x", TOO_FAR), TOO_FAR], "path length constraint exceeded", id="path-length"),
        pytest.param(NARROW, [issue("x", NARROW)], "permitted subtree violation", id="name-constraints"),
    ],
)
@pytest.mark.parametrize("role", [Role.SCP, Role.SCU])
def test_B57_SET_2_a_pair_that_no_peer_would_take_is_told_with_the_reason(
    role: Role, ca: Issued, chain: list[Issued], said: str
) -> None:
    assert tried(role, ca, *chain).startswith(said)
