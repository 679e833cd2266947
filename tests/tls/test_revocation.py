"""Revocation lists: read within bounds, and whoever is on one is refused on either side (B57, B65)."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from adapters.tls.contexts import Ask, CheckedContext, Pair, Profile, client_context, server_context
from adapters.tls.reading import present
from adapters.tls.revocation import is_revoked, read_list
from domain import revocation
from domain.certificate import Certificate
from domain.errors import InvalidInput
from domain.limits import Limits
from domain.revocation import RevocationListInstalled
from tests.edges import edges
from tests.tls.authority import Issued, authority, issue

LIMITS = Limits()
NOW = datetime.now(UTC)
CA, OTHER_CA = authority(), authority("Other CA")
GOOD, BAD = issue("good", CA), issue("bad", CA)


def certificate(one: Issued) -> Certificate:
    return present(one.pem, None, LIMITS)[0].certificate


def crl(
    *revoked: Issued, by: Issued = CA, days: tuple[float, float] = (-1, 7), critical: bool = False
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(by.certificate.subject)
        .last_update(NOW + timedelta(days=days[0]))
        .next_update(NOW + timedelta(days=days[1]))
    )
    if critical:
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number).revocation_date(NOW)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(by.key, hashes.SHA256())


def read(made: x509.CertificateRevocationList, limits: Limits = LIMITS) -> RevocationListInstalled:
    return read_list(made.public_bytes(Encoding.PEM), [certificate(CA)], limits)


def test_SET_2_a_list_is_read_in_PEM_and_in_DER() -> None:
    made = crl(BAD)
    assert read(made) == read_list(made.public_bytes(Encoding.DER), [certificate(OTHER_CA), certificate(CA)], LIMITS)
    assert read(made).issuer == "CN=Test CA"
    assert read(made).revoked == (f"{BAD.certificate.serial_number:x}",)


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        pytest.param(b"", "no revocation list", id="empty"),
        pytest.param(b"\x30\x82\x01\x00" + bytes(256), "no revocation list", id="DER-garbage"),
        pytest.param(CA.pem, "no revocation list", id="a-certificate"),
        pytest.param(bytes(LIMITS.revocation_list_file_max + 1), "more than", id="huge"),
        pytest.param(crl(by=OTHER_CA).public_bytes(Encoding.PEM), "it is not signed by the CA", id="other-CA"),
        pytest.param(crl(by=authority()).public_bytes(Encoding.PEM), "it is not signed by the CA", id="same-name"),
        pytest.param(crl(by=GOOD).public_bytes(Encoding.PEM), "it is not signed by the CA", id="no-CA"),
        pytest.param(crl(critical=True).public_bytes(Encoding.PEM), "a part of the certificates", id="delta"),
    ],
)
def test_B57_a_list_that_is_none_or_of_no_authority_of_ours_is_refused(encoded: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_list(encoded, [certificate(CA), certificate(GOOD)], LIMITS)


def test_B65_a_list_of_an_issuing_CA_is_taken_where_it_stands_between_a_pair_and_the_CA() -> None:
    issuing = authority("Issuing CA", signer=CA)
    below = issue("below", issuing)
    pair, _ = present(below.pem + issuing.pem, below.key_pem, LIMITS)
    made = crl(BAD, by=issuing).public_bytes(Encoding.PEM)
    assert read_list(made, [certificate(CA), pair.certificate], LIMITS).issuer == "CN=Issuing CA"
    with pytest.raises(InvalidInput, match="its issuer is 'CN=Issuing CA'"):
        read_list(made, [certificate(CA)], LIMITS)
    with pytest.raises(InvalidInput, match="its issuer is 'CN=below'"):
        read_list(crl(BAD, by=below).public_bytes(Encoding.PEM), [pair.certificate], LIMITS)


@edges
def test_D21_B57_a_list_of_too_many_is_refused(off: int) -> None:
    limits = Limits(revocations_max=2 - off)
    if off <= 0:
        assert len(read(crl(GOOD, BAD), limits).revoked) == 2
        return
    with pytest.raises(InvalidInput, match="more than 1 entries"):
        read(crl(GOOD, BAD), limits)


@edges
def test_D21_a_list_has_so_many_bytes_and_no_more(off: int) -> None:
    made = crl(BAD).public_bytes(Encoding.PEM)
    limits = Limits(revocation_list_file_max=len(made) - off)
    if off <= 0:
        assert read_list(made, [certificate(CA)], limits).revoked
        return
    with pytest.raises(InvalidInput, match="more than"):
        read_list(made, [certificate(CA)], limits)


def test_B57_a_list_that_is_old_or_not_yet_valid_is_refused_and_the_one_in_use_stays() -> None:
    used = read(crl(BAD))
    assert revocation.install(None, used, NOW) == [used]
    assert revocation.install(used, used, NOW) == []
    for days, said in (((-9, -1), "a newer one was due"), ((1, 9), "not valid before"), ((-2, 7), "older than")):
        with pytest.raises(InvalidInput, match=said):
            revocation.install(used, read(crl(days=days)), NOW)
    renewed = read(crl(GOOD, days=(-0.5, 7)))
    assert revocation.fold([used, *revocation.install(used, renewed, NOW)]) == renewed
    assert revocation.fold([used, *revocation.remove(used)]) is None
    assert revocation.overdue_since(used, NOW + timedelta(days=8))
    assert not revocation.overdue_since(used, NOW)


def shown(one: Issued) -> Pair:
    return Pair(one.pem.decode(), one.key_pem.decode())


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str]:
    """What each side says of it."""
    said = ["", ""]
    ours, theirs = socket.socketpair()

    def side(number: int, context: ssl.SSLContext, end: socket.socket, **how: object) -> None:
        end.settimeout(60)
        try:
            with context.wrap_socket(end, **how) as shaken:  # type: ignore[call-overload]
                shaken.sendall(b"x")
                assert shaken.recv(1) == b"x"
        except ssl.SSLCertVerificationError as error:
            said[number] = error.verify_message
        except (OSError, AssertionError) as error:
            said[number] = type(error).__name__
        finally:
            end.close()

    thread = threading.Thread(target=side, args=(0, server, ours), kwargs={"server_side": True})
    thread.start()
    side(1, client, theirs, server_hostname="localhost")
    thread.join()
    return said[0], said[1]


def checked(context: CheckedContext, *revoked: Issued) -> CheckedContext:
    lists = {"CN=Test CA": frozenset(f"{one.certificate.serial_number:x}" for one in revoked)}
    context.is_revoked = lambda chain: is_revoked(chain, lists)
    return context


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_B65_a_revoked_peer_is_refused_on_either_side(highest: ssl.TLSVersion) -> None:
    own = issue("of its own")
    trusted = [CA.pem.decode(), own.pem.decode()]

    def tried(server: Issued, client: Issued | None, *, by_server: bool = True) -> tuple[str, str]:
        inbound = server_context(Profile.RFC9325, shown(server), trusted, Ask.OPTIONAL)
        outbound = client_context(Profile.RFC9325, shown(client) if client else None, trusted, check_host=True)
        outbound.maximum_version = highest
        checked(inbound if by_server else outbound, BAD)
        return handshake(inbound, outbound)

    for fine in (GOOD, own, None):
        assert tried(GOOD, fine) == ("", "")
    assert tried(GOOD, BAD)[0] == "certificate revoked"
    assert tried(GOOD, GOOD, by_server=False) == ("", "")
    assert tried(BAD, GOOD, by_server=False)[1] == "certificate revoked"


def test_B65_who_was_signed_by_a_revoked_authority_is_revoked() -> None:
    between = issue("Between", CA, ca=True)
    leaf = issue("leaf", between)
    lists = {"CN=Test CA": frozenset({f"{between.certificate.serial_number:x}"})}
    assert is_revoked([leaf.der, between.der, CA.der], lists)
    assert not is_revoked([GOOD.der, CA.der], lists)
