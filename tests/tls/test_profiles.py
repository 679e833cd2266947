"""The profiles of PS3.15 B.9 to B.13: which suites and versions come about, tried one by one."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest

from adapters.tls.contexts import Ask, Pair, Profile, client_context, server_context
from tests.tls.authority import Issued, authority, issue, key_pem, rsa_key

CA = authority()
RSA, EC = issue("rsa", CA, key=rsa_key()), issue("ec", CA)
GCM_RSA = {"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"}
GCM_ECDSA = {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"}
DHE = {"DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES128-GCM-SHA256"}
B_13 = {
    *GCM_RSA,
    *GCM_ECDSA,
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    *(f"ECDHE-ECDSA-AES{bits}-{mode}" for bits in (128, 256) for mode in ("CCM", "CCM8")),
}
ALL_SUITES = subprocess.run(
    [shutil.which("openssl") or "openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
    capture_output=True,
    text=True,
    check=True,
).stdout.strip()


def shown(one: Issued) -> Pair:
    return Pair(one.pem.decode(), one.key_pem.decode())


def careless(suites: str = "ALL:COMPLEMENTOFALL") -> ssl.SSLContext:
    """A client that takes anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    return context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> tuple[str, str]:
    """The version and suite that come about in memory. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    version, cipher = sides[0].version(), sides[0].cipher()
    assert version
    assert cipher
    return version, cipher[0]


def accepted(server: ssl.SSLContext) -> set[str]:
    taken = set()
    for suite in ALL_SUITES.split(":"):
        client = careless(suite)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            taken.add(handshake(server, client)[1])
        except ssl.SSLError:
            continue
    return taken


@pytest.mark.parametrize(
    ("profile", "suites"),
    [
        (Profile.BCP195, GCM_RSA | DHE),
        (Profile.BCP195_ND, GCM_RSA | DHE),
        (Profile.BCP195_EXTENDED, GCM_RSA | GCM_ECDSA | DHE),
        (Profile.RFC9325, GCM_RSA | GCM_ECDSA),
        (Profile.RFC9325_MODIFIED, B_13),
    ],
    ids=lambda value: value.value if isinstance(value, Profile) else "",
)
def test_NET_1_PS3_15_B_9_to_B_13_exactly_the_suites_of_a_profile_come_about(
    profile: Profile, suites: set[str]
) -> None:
    assert len(ALL_SUITES.split(":")) > 60
    taken = set()
    for one in (RSA, EC):
        taken |= accepted(server_context(profile, shown(one), [], Ask.NOT))
    assert taken == suites


@pytest.mark.parametrize("profile", Profile)
def test_PS3_15_TLS_1_3_is_preferred_but_by_the_profile_that_closes_its_list(profile: Profile) -> None:
    version, suite = handshake(server_context(profile, shown(RSA), [], Ask.NOT), careless())
    assert version == ("TLSv1.2" if profile is Profile.BCP195_EXTENDED else "TLSv1.3")
    assert "GCM" in suite


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_B65_no_profile_takes_or_offers_a_version_below_1_2(profile: Profile, version: ssl.TLSVersion) -> None:
    old_client = careless()
    old_client.maximum_version = version
    with pytest.raises(ssl.SSLError, match=r"UNSUPPORTED_PROTOCOL|ALERT_PROTOCOL_VERSION"):
        handshake(server_context(profile, shown(RSA), [], Ask.NOT), old_client)
    old_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old_server.set_ciphers("ALL:@SECLEVEL=0")
    old_server.minimum_version = ssl.TLSVersion.TLSv1
    old_server.maximum_version = version
    with pytest.raises(ssl.SSLError, match=r"UNSUPPORTED_PROTOCOL|ALERT_PROTOCOL_VERSION|NO_SHARED"):
        handshake(old_server, client_context(profile, None, [CA.pem.decode()], check_host=False))


def test_a_device_is_trusted_by_its_own_certificate_alone_and_its_name_counts_where_a_root_is_trusted() -> None:
    server = server_context(Profile.RFC9325, shown(EC), [], Ask.NOT)

    def client(known: Issued, *, check_host: bool) -> ssl.SSLContext:
        return client_context(Profile.RFC9325, None, [known.pem.decode()], check_host=check_host)

    assert handshake(server, client(EC, check_host=False), "elsewhere.example")
    assert handshake(server, client(CA, check_host=True))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, client(CA, check_host=True), "elsewhere.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client(issue("ec", CA), check_host=False))


def test_a_session_is_never_resumed_past_the_certificates() -> None:
    context = server_context(Profile.RFC9325, shown(EC), [CA.pem.decode()], Ask.REQUIRED)
    assert context.num_tickets == 0
    assert context.options & ssl.OP_NO_TICKET
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_B57_an_encrypted_key_that_got_here_is_an_error_and_no_question_at_the_terminal() -> None:
    with pytest.raises((ssl.SSLError, ValueError)):
        server_context(Profile.RFC9325, Pair(EC.pem.decode(), key_pem(EC.key, b"x").decode()), [], Ask.NOT)


def test_D22_a_pair_does_not_show_its_key() -> None:
    assert "PRIVATE" not in repr(shown(EC))
