"""What is uploaded is read within bounds, and every fault of it is told at once (B57, SET-2)."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from adapters.tls.demo import demo_set
from adapters.tls.reading import is_signed_by, present, rests_on
from domain import certificate
from domain.certificate import CertificateInstalled, Presented, Role
from domain.errors import InvalidInput
from domain.limits import Limits
from tests.edges import edges
from tests.tls.authority import Issued, authority, issue, key_pem, rsa_key

LIMITS = Limits()
NOW = datetime.now(UTC)
CA = authority()
OTHER_CA = authority("Other CA")
LEAF = issue("pacs", CA)
ISSUING = authority("Issuing CA", signer=CA)
BELOW = issue("pacs below", ISSUING)


def read(one: Issued, *, key: bool = True) -> Presented:
    return present(one.pem, one.key_pem if key else None, LIMITS)[0]


def faults(certificate_file: bytes, key_file: bytes | None = None) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as refused:
        present(certificate_file, key_file, LIMITS)
    return refused.value.faults


def install(*, before: dict[Role, CertificateInstalled] | None = None, **uploaded: Issued) -> tuple[str, ...]:
    """The faults of an upload, or none."""
    presented = {Role(name): read(one, key=name != "ca") for name, one in uploaded.items()}
    try:
        certificate.install(before or {}, presented, is_signed_by, NOW, LIMITS)
    except InvalidInput as refused:
        return refused.faults
    return ()


def test_SET_2_a_pair_is_read_with_its_names_dates_and_digests() -> None:
    presented, key = present(LEAF.pem, LEAF.key_pem, LIMITS)
    assert presented.certificate.subject == "CN=pacs"
    assert presented.certificate.issuer == "CN=Test CA"
    assert presented.certificate.fingerprint == LEAF.certificate.fingerprint(hashes.SHA256()).hex()
    assert presented.certificate.public_key == presented.private_key
    assert (presented.algorithm, presented.key_bits, presented.signature_hash) == ("EC", 256, "sha256")
    assert presented.usages == {"digital_signature"}
    assert presented.purposes == {"server_auth", "client_auth"}
    assert serialization.load_pem_private_key(key.encode(), None).private_numbers() == LEAF.key.private_numbers()  # type: ignore[union-attr]


def test_SET_2_DER_is_read_as_PEM_is() -> None:
    key = LEAF.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert present(LEAF.der, key, LIMITS) == present(LEAF.pem, LEAF.key_pem, LIMITS)


@pytest.mark.parametrize(
    ("certificate_file", "said"),
    [
        pytest.param(b"x" * 10_000_000, "more than 65536 bytes", id="10-MB"),
        pytest.param(b"", "no certificate", id="empty"),
        pytest.param(b"hello", "no certificate", id="text"),
        pytest.param(b"\x30\x82\x01\x00" + bytes(256), "cannot be read", id="DER-garbage"),
        pytest.param(LEAF.pem[:200] + LEAF.pem[-30:], "cannot be read", id="cut"),
        pytest.param(LEAF.pem + CA.pem, "2 certificates", id="two"),
        pytest.param(b"\x30\x82\x0a\x00\x02\x01\x03" + bytes(64), "PKCS", id="PKCS-12"),
        pytest.param(LEAF.key_pem, "private key too", id="a-key"),
        pytest.param(LEAF.pem + LEAF.key_pem, "private key too", id="with-its-key"),
    ],
)
def test_B57_a_certificate_file_that_is_none_is_refused(certificate_file: bytes, said: str) -> None:
    assert any(said in fault for fault in faults(certificate_file))


@pytest.mark.parametrize(
    ("key_file", "said"),
    [
        pytest.param(b"x" * 100_000, "more than 65536 bytes", id="huge"),
        pytest.param(b"", "no private key", id="empty"),
        pytest.param(LEAF.pem, "cannot be read", id="a-certificate"),
        pytest.param(key_pem(LEAF.key, b"secret"), "is encrypted: decrypt it first", id="encrypted"),
        pytest.param(
            LEAF.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.BestAvailableEncryption(b"secret"),
            ),
            "is encrypted: decrypt it first",
            id="encrypted-as-of-old",
        ),
        pytest.param(
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "of a kind",
            id="Ed25519",
        ),
    ],
)
def test_B57_a_key_file_that_is_none_or_encrypted_is_refused(key_file: bytes, said: str) -> None:
    (fault,) = faults(LEAF.pem, key_file)
    assert said in fault


@edges
def test_D21_a_certificate_and_its_key_have_so_many_bytes_each_and_no_more(off: int) -> None:
    size = LIMITS.certificate_file_max + off
    long, long_key = LEAF.pem.ljust(size, b"\n"), LEAF.key_pem.ljust(size, b"\n")
    if off <= 0:
        assert present(long, long_key, LIMITS) == present(LEAF.pem, LEAF.key_pem, LIMITS)
        return
    of_certificate, of_key = faults(long, long_key)
    assert f"certificate file has more than {LIMITS.certificate_file_max} bytes" in of_certificate
    assert f"key file has more than {LIMITS.certificate_file_max} bytes" in of_key


def test_B57_the_faults_of_both_files_are_told_at_once() -> None:
    assert len(faults(b"", key_pem(LEAF.key, b"secret"))) == 2


@given(st.binary(max_size=400), st.binary(max_size=400), st.booleans())
def test_B57_whatever_the_bytes_the_answer_is_a_fault(some: bytes, others: bytes, wrapped: bool) -> None:
    pem = b"-----BEGIN CERTIFICATE-----\n" + some + b"\n-----END CERTIFICATE-----\n"
    with pytest.raises(InvalidInput):
        present(pem if wrapped else some, others, LIMITS)


@given(st.dictionaries(st.integers(0, len(LEAF.der) - 1), st.integers(0, 255), min_size=1, max_size=4))
def test_B57_a_damaged_certificate_is_read_or_refused(damage: dict[int, int]) -> None:
    damaged = bytearray(LEAF.der)
    for at, byte in damage.items():
        damaged[at] = byte
    with contextlib.suppress(InvalidInput):
        presented, _ = present(bytes(damaged), None, LIMITS)
        assert is_signed_by(presented.certificate, read(CA, key=False).certificate) == (bytes(damaged) == LEAF.der)


def test_B57_a_good_set_is_taken() -> None:
    assert install(ca=CA, scp=LEAF, scu=issue("scu", CA, key=rsa_key())) == ()


@pytest.mark.parametrize(
    ("uploaded", "said"),
    [
        pytest.param({"ca": LEAF}, "ca: it is no CA certificate", id="CA-FALSE-as-root"),
        pytest.param({"ca": CA, "scp": issue("x", OTHER_CA)}, "scp: it is not signed by the CA", id="other-CA"),
        pytest.param({"scp": LEAF}, "scp: there is no CA certificate", id="no-CA"),
        pytest.param({"ca": CA, "scp": issue("x", CA, days=(-9, -1))}, "scp: it has expired", id="expired"),
        pytest.param({"ca": CA, "scp": issue("x", CA, days=(1, 9))}, "scp: it is not valid before", id="too-early"),
        pytest.param({"ca": authority(days=(-9, -1))}, "ca: it has expired", id="expired-CA"),
        pytest.param(
            {"ca": CA, "scp": issue("x", CA, key=rsa_key(bits=1024))}, "scp: its RSA key has 1024 bits", id="RSA-1024"
        ),
        pytest.param(
            {"ca": CA, "scu": issue("x", CA, key=ec.generate_private_key(ec.SECP224R1()))},
            "scu: its EC key has 224 bits",
            id="EC-224",
        ),
        pytest.param(
            {"ca": CA, "scp": issue("x", CA, purposes=("client_auth",))}, "scp: it is not for TLS servers", id="purpose"
        ),
        pytest.param(
            {"ca": CA, "scu": issue("x", CA, purposes=("server_auth",))}, "scu: it is not for TLS clients", id="client"
        ),
        pytest.param({"ca": CA, "scp": CA}, "scp: its key may not sign handshakes", id="usage"),
    ],
)
def test_B57_SET_2_a_certificate_that_does_not_fit_is_refused(uploaded: dict[str, Issued], said: str) -> None:
    assert any(fault.startswith(said) for fault in install(**uploaded)), install(**uploaded)


def test_SET_2_a_pair_comes_with_the_certificates_between_it_and_the_CA() -> None:
    ca = read(CA, key=False)
    for file in (BELOW.pem + ISSUING.pem, BELOW.pem + ISSUING.pem + CA.pem):
        presented, _ = present(file, BELOW.key_pem, LIMITS)
        facts = certificate.install({}, {Role.CA: ca, Role.SCP: presented}, is_signed_by, NOW, LIMITS)
        (kept,) = [one.certificate for one in facts if isinstance(one, CertificateInstalled) and one.role == "scp"]
        assert kept.pem.encode() == BELOW.pem + ISSUING.pem
        assert kept.subject == "CN=pacs below"


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        pytest.param([BELOW], "scp: it is not signed by the CA", id="without"),
        pytest.param([BELOW, ISSUING, OTHER_CA], "not each is signed by the next", id="a-stranger"),
        pytest.param([LEAF, ISSUING], "not each is signed by the next", id="another's"),
        pytest.param([ISSUING, BELOW], "not each is signed by the next", id="upside-down"),
    ],
)
def test_B57_SET_2_certificates_that_are_no_chain_to_the_CA_are_refused(chain: list[Issued], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        _upload_chain(chain)


@pytest.mark.parametrize(
    ("between", "said"),
    [
        pytest.param(authority("Old", signer=CA, days=(-9, -1)), "between it and the CA: it has expired", id="expired"),
        pytest.param(issue("Leaf", CA), "between it and the CA: it is no CA certificate", id="CA-FALSE"),
        pytest.param(
            authority("Short", signer=CA, key=rsa_key(bits=1024)), "between it and the CA: its RSA key", id="RSA-1024"
        ),
    ],
)
def test_B57_SET_2_what_is_between_a_pair_and_the_CA_is_checked_too(between: Issued, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        _upload_chain([issue("x", between), between])


def test_SET_2_a_pair_ends_with_the_first_of_its_chain() -> None:
    soon = authority("Soon", signer=CA, days=(-9, 3))
    presented, _ = present((issue("x", soon, key=LEAF.key)).pem + soon.pem, LEAF.key_pem, LIMITS)
    assert "expires on" in certificate.expiry(presented.certificate, NOW, Limits(certificate_expiry_warning_days=4))


def _upload_chain(chain: list[Issued]) -> None:
    presented, _ = present(b"".join(one.pem for one in chain), chain[0].key_pem, LIMITS)
    certificate.install({}, {Role.CA: read(CA, key=False), Role.SCP: presented}, is_signed_by, NOW, LIMITS)


def test_B57_a_key_of_another_certificate_or_none_is_refused() -> None:
    ca = read(CA, key=False)
    for key, said in ((issue("x").key_pem, "does not belong"), (None, "is missing")):
        presented, _ = present(LEAF.pem, key, LIMITS)
        with pytest.raises(InvalidInput, match=said):
            certificate.install({}, {Role.CA: ca, Role.SCP: presented}, is_signed_by, NOW, LIMITS)


def test_B65_a_certificate_signed_with_SHA_1_is_refused(tmp_path: Path) -> None:
    made, key = tmp_path / "old.crt", tmp_path / "old.key"
    subprocess.run(
        f"openssl req -x509 -sha1 -newkey rsa:2048 -nodes -subj /CN=old -days 9 -keyout {key} -out {made}".split(),
        check=True,
        capture_output=True,
    )
    presented, _ = present(made.read_bytes(), None, LIMITS)
    with pytest.raises(InvalidInput, match="signed with SHA1: use SHA-256 or better"):
        certificate.install_for_device(None, "CT", presented, {}, NOW, LIMITS)


def test_SET_2_a_new_CA_needs_new_pairs_and_the_old_set_stays() -> None:
    old = certificate.fold(
        certificate.install({}, {Role.CA: read(CA, key=False), Role.SCP: read(LEAF)}, is_signed_by, NOW, LIMITS)
    )
    (fault,) = install(before=old, ca=OTHER_CA)
    assert "upload scp too" in fault
    assert install(before=old, ca=OTHER_CA, scp=issue("new", OTHER_CA)) == ()
    with pytest.raises(InvalidInput, match="scp rest on it"):
        certificate.remove(old, Role.CA)
    (gone,) = certificate.remove(old, Role.SCP)
    assert certificate.fold([*old.values(), gone]).keys() == {Role.CA}


def test_SET_2_what_is_in_use_already_is_nothing_new() -> None:
    presented = {Role.CA: read(CA, key=False)}
    old = certificate.fold(certificate.install({}, presented, is_signed_by, NOW, LIMITS))
    assert certificate.install(old, presented, is_signed_by, NOW, LIMITS) == []


def test_DEV_2_a_devices_own_certificate_belongs_to_one_AE_title_and_a_root_to_many() -> None:
    own, root = read(LEAF, key=False), read(CA, key=False)
    others = {"OTHER": own.certificate, "THIRD": root.certificate}
    with pytest.raises(InvalidInput, match="certificate of 'OTHER' already"):
        certificate.install_for_device(None, "CT", own, others, NOW, LIMITS)
    (fact,) = certificate.install_for_device(None, "CT", root, others, NOW, LIMITS)
    assert certificate.fold_device([fact]) == root.certificate
    assert certificate.install_for_device(root.certificate, "CT", root, others, NOW, LIMITS) == []
    (gone,) = certificate.remove_for_device(root.certificate, "CT")
    assert certificate.fold_device([fact, gone]) is None
    with pytest.raises(InvalidInput, match=r"AE title.*has expired|has expired"):
        certificate.install_for_device(None, "\\", read(issue("x", days=(-9, -1)), key=False), {}, NOW, LIMITS)


def test_B57_DEV_2_a_devices_certificate_is_for_TLS_in_one_direction_at_least() -> None:
    for purpose in ("server_auth", "client_auth"):
        one = read(issue("x", purposes=(purpose,)), key=False)
        assert certificate.install_for_device(None, "CT", one, {}, NOW, LIMITS)
    mail = read(issue("x", purposes=("email",)), key=False)
    with pytest.raises(InvalidInput, match="neither TLS clients nor TLS servers"):
        certificate.install_for_device(None, "CT", mail, {}, NOW, LIMITS)


def test_B29_a_peers_certificate_is_known_itself_or_by_its_signer() -> None:
    known_leaf, known_root = read(LEAF, key=False).certificate, read(CA, key=False).certificate
    assert rests_on([LEAF.der], known_leaf)
    assert rests_on([LEAF.der], known_root)
    assert rests_on([BELOW.der, ISSUING.der], known_root)
    assert not rests_on([BELOW.der], known_root)
    assert not rests_on([issue("pacs", CA).der], known_leaf)
    assert not rests_on([issue("pacs", authority()).der], known_root)
    assert not rests_on([b"\x30\x00"], known_root)
    assert not rests_on([], known_root)


def test_expiry_is_told_within_the_limit_of_days() -> None:
    one = read(issue("x", days=(-1, 20)), key=False).certificate
    assert certificate.expiry(one, NOW, Limits(certificate_expiry_warning_days=19)) == ""
    assert "expires on" in certificate.expiry(one, NOW, Limits(certificate_expiry_warning_days=21))
    assert "has expired" in certificate.expiry(one, NOW + timedelta(days=21), LIMITS)


def test_SET_2_the_demo_set_is_one_that_an_upload_would_take_and_has_no_key_of_its_CA() -> None:
    made = demo_set(("localhost",), NOW, LIMITS)
    assert made[Role.CA][1] is None
    presented = {role: present(*files, LIMITS)[0] for role, files in made.items()}
    facts = certificate.install({}, presented, is_signed_by, NOW, LIMITS, demo=True)
    assert [fact.demo for fact in facts if isinstance(fact, CertificateInstalled)] == [True] * 3


@edges
@pytest.mark.parametrize(("algorithm", "limit"), [("RSA", "rsa_key_bits_min"), ("EC", "ec_key_bits_min")])
def test_D21_B57_a_key_has_so_many_bits_and_no_fewer(algorithm: str, limit: str, off: int) -> None:
    bits = getattr(LIMITS, limit)
    presented = replace(read(LEAF, key=False), algorithm=algorithm, key_bits=bits + off)
    if off >= 0:
        assert certificate.install_for_device(None, "CT", presented, {}, NOW, LIMITS)
    else:
        with pytest.raises(InvalidInput, match=f"use at least {bits}"):
            certificate.install_for_device(None, "CT", presented, {}, NOW, LIMITS)


@edges
def test_D21_expiry_is_told_so_many_days_before_and_no_earlier(off: int) -> None:
    one = read(LEAF, key=False).certificate
    days = LIMITS.certificate_expiry_warning_days + off
    told = certificate.expiry(one, datetime.fromisoformat(one.not_after) - timedelta(days=days), LIMITS)
    assert bool(told) == (off <= 0)
