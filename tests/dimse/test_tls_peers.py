"""TLS peers that are not as they should be, on either side: refused with the reason, and others are served (B65)."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.dimse import requestor
from adapters.dimse.association import Association
from adapters.dimse.command import C_FIND_RQ
from adapters.dimse.errors import AssociationEnded, ConnectionFailed, DimseError
from adapters.dimse.handshake import shake_hands
from adapters.dimse.places import Places
from adapters.dimse.wire import Wire
from adapters.tls.contexts import Ask, Pair, Profile, client_context, server_context
from domain.errors import Unavailable
from tests.dimse.conftest import LIMITS, Door, open_door, until
from tests.dimse.raw_peer import (
    ABORT,
    COMMAND,
    IMPLICIT,
    LAST,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    RawPeer,
    associate_request,
    command,
    data,
    pdu,
    uid,
)
from tests.dimse.raw_peer import context as proposal
from tests.tls.authority import Issued, authority, issue, rsa_key

CA, OTHER_CA = authority(), authority("Other CA")
SERVER = issue("pacs", CA)
GOOD = issue("client", CA, key=rsa_key())


def shown(one: Issued) -> Pair:
    return Pair(one.pem.decode(), one.key_pem.decode())


class TlsPeer(RawPeer):
    """A raw peer behind TLS, with a certificate or none, that takes any server."""

    def __init__(self, port: int, one: Issued | None, folder: Path, adapt: Callable[[ssl.SSLContext], None]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
        if one:
            context.load_cert_chain(*one.files(folder, "peer"))
        adapt(context)
        super().__init__(port)
        try:
            self.socket = context.wrap_socket(self.socket, suppress_ragged_eofs=False)
        except BaseException:
            self.socket.close()
            raise


Connect = Callable[..., TlsPeer]


@pytest.fixture
def connect(door: Door, tmp_path: Path) -> Connect:
    def connect(one: Issued | None = GOOD, adapt: Callable[[ssl.SSLContext], None] = lambda _: None) -> TlsPeer:
        return TlsPeer(door.port, one, tmp_path, adapt)

    return connect


def server(ask: Ask = Ask.REQUIRED) -> ssl.SSLContext:
    return server_context(Profile.RFC9325, shown(SERVER), [CA.pem.decode()], ask)


@pytest.fixture(scope="module")
def door(door_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(door_dsn, tmp_path_factory.mktemp("tls") / "storage", tls=server()) as opened:
        yield opened


def version(highest: ssl.TLSVersion) -> Callable[[ssl.SSLContext], None]:
    def adapt(context: ssl.SSLContext) -> None:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, highest

    return adapt


def suites(names: str) -> Callable[[ssl.SSLContext], None]:
    def adapt(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{names}:@SECLEVEL=0")

    return adapt


def is_refused(connect: Callable[[], TlsPeer], caplog: pytest.LogCaptureFixture, said: str) -> None:
    """Refused, with these words in the log; and a good peer is served."""
    caplog.set_level(logging.INFO, "annals.dimse")
    # With TLS 1.3 the client's handshake ends before the server has looked at its certificate.
    with contextlib.suppress(OSError), connect() as peer:
        peer.socket.sendall(associate_request())
        assert not peer.socket.recv(1)
    until(lambda: said in caplog.text)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        pytest.param(None, "it showed no certificate", id="missing"),
        pytest.param(issue("x", CA, days=(-9, -1)), "certificate has expired", id="expired"),
        pytest.param(issue("x", CA, days=(1, 9)), "certificate is not yet valid", id="not-yet-valid"),
        pytest.param(issue("client"), "self-signed certificate", id="self-signed"),
        pytest.param(issue("client", OTHER_CA), "unable to get local issuer certificate", id="another-CA"),
        pytest.param(issue("x", CA, purposes=("server_auth",)), "unsuitable certificate purpose", id="purpose"),
        pytest.param(issue("x", CA, key=rsa_key(bits=1024)), "key too weak", id="RSA-1024"),
    ],
)
@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_B65_a_client_without_a_good_certificate_is_refused(
    connect: Connect, caplog: pytest.LogCaptureFixture, one: Issued | None, said: str, highest: ssl.TLSVersion
) -> None:
    is_refused(lambda: connect(one, version(highest)), caplog, said)
    with connect() as good:
        assert good.established().echo() == 0


def test_NET_4_a_peer_that_closes_again_without_a_word_is_nothing_to_tell(
    connect: Connect, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that only looks whether the port is open does so every few seconds for ever."""
    caplog.set_level(logging.INFO)
    for how in (struct.pack("ii", 0, 0), struct.pack("ii", 1, 0)):
        peer = RawPeer(door.port).socket
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)
        peer.close()
    with connect() as good:
        assert good.established().echo() == 0
    until(lambda: not door.listener._places.by_address)
    assert "refused" not in caplog.text


def test_B65_a_client_that_goes_on_after_its_handshake_is_told_why_it_is_refused(door_dsn: str, tmp_path: Path) -> None:
    """With TLS 1.3 it sends its request before it reads the alert, which a reset would take back."""
    patient = replace(LIMITS, artim_timeout_seconds=60.0)
    late, adapt = issue("x", CA, days=(-9, -1)), version(ssl.TLSVersion.TLSv1_3)
    with (
        open_door(door_dsn, tmp_path / "storage", patient, tls=server()) as opened,
        TlsPeer(opened.port, late, tmp_path, adapt) as peer,
    ):
        assert select.select([peer.socket], [], [], 60)[0]
        for _ in range(20):
            peer.socket.sendall(associate_request())
        with pytest.raises(ssl.SSLError) as refused:
            peer.socket.recv(1)
    assert refused.value.reason == "SSLV3_ALERT_CERTIFICATE_EXPIRED"


@pytest.mark.parametrize(
    ("adapt", "said"),
    [
        pytest.param(version(ssl.TLSVersion.TLSv1), "no TLS version that is allowed", id="TLS-1.0"),
        pytest.param(version(ssl.TLSVersion.TLSv1_1), "no TLS version that is allowed", id="TLS-1.1"),
        pytest.param(suites("NULL"), "no cipher suite of the TLS profile", id="NULL"),
        pytest.param(suites("AES128-SHA:ECDHE+SHA1"), "no cipher suite of the TLS profile", id="CBC"),
        pytest.param(suites("ADH:AECDH"), "no cipher suite of the TLS profile", id="anonymous"),
    ],
)
def test_B65_a_client_with_old_versions_or_suites_is_refused(
    connect: Connect, caplog: pytest.LogCaptureFixture, adapt: Callable[[ssl.SSLContext], None], said: str
) -> None:
    is_refused(lambda: connect(GOOD, adapt), caplog, said)


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        pytest.param(associate_request(), "it does not speak TLS", id="plain-DICOM"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "it speaks HTTP, not TLS", id="HTTP"),
        pytest.param(b"\x80\x2e\x01\x00\x02" + bytes(43), "a connection from 127.0.0.1 is refused: TLS: ", id="SSLv2"),
        pytest.param(b"\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" + bytes(41), "is refused", id="SSLv3"),
        pytest.param(b"\xff" * 300, "it does not speak TLS", id="garbage"),
        pytest.param(b"", "no handshake came about in time", id="silence"),
    ],
)
def test_B22_what_is_no_TLS_is_refused_and_named(
    door: Door, caplog: pytest.LogCaptureFixture, said: bytes, logged: str
) -> None:
    caplog.set_level(logging.INFO, "annals.dimse")
    with RawPeer(door.port) as peer:
        peer.say(said)
        until(lambda: logged in caplog.text)


def test_B22_TLS_to_the_plain_port_is_refused_and_named(
    door_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "annals.dimse")
    with open_door(door_dsn, tmp_path / "storage") as plain:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            TlsPeer(plain.port, None, tmp_path, lambda _: None)
        until(lambda: "it speaks TLS to a port without" in caplog.text)


def test_D22_a_port_without_a_certificate_takes_no_connection(
    connect: Connect, door: Door, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing() -> ssl.SSLContext:
        raise Unavailable("there is no SCP certificate")

    with monkeypatch.context() as patched:
        patched.setattr(door.listener._keeper, "tls", nothing)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connect()
    assert "there is no SCP certificate" in caplog.text
    with connect() as good:
        assert good.established().echo() == 0


def test_P14_B23_peers_of_one_port_and_of_another_share_the_places_and_TLS_peers_are_told_in_TLS(
    door_dsn: str, tmp_path: Path
) -> None:
    places = Places(LIMITS)
    with (
        open_door(door_dsn, tmp_path / "plain", places=places) as plain,
        open_door(door_dsn, tmp_path / "tls", tls=server(), places=places) as behind,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(LIMITS.unknown_peer_associations_per_address_max):
            stack.enter_context(RawPeer(plain.port)).established()
        with pytest.raises(ssl.SSLError, match="ALERT_INTERNAL_ERROR"):
            TlsPeer(behind.port, GOOD, tmp_path, lambda _: None)


def test_a_release_ends_with_the_end_of_TLS_not_with_a_cut(connect: Connect) -> None:
    with connect() as peer:
        peer.established().say(pdu(RELEASE_RQ))
        answer = peer.answer()
        assert answer
        assert answer[0] == RELEASE_RP
        # A cut would be an ssl.SSLEOFError.
        assert peer.socket.recv(1) == b""


def test_a_peer_behind_TLS_is_told_when_the_server_stops(door_dsn: str, tmp_path: Path) -> None:
    with open_door(door_dsn, tmp_path / "storage", tls=server()) as opened:
        peer = TlsPeer(opened.port, GOOD, tmp_path, lambda _: None)
        peer.established()
    with peer:
        answer = peer.answer()
        assert answer
        assert answer[0] == ABORT


def test_NET_2_a_cancel_is_seen_behind_TLS_also_in_the_record_that_brought_the_request(
    door_dsn: str, tmp_path: Path
) -> None:
    cancelled = threading.Event()

    def wait_for_cancel(association: Association, _context: int, request: object) -> None:
        association.skip_data_set()
        until(lambda: association.is_cancelled(7))
        cancelled.set()

    find = "1.2.840.10008.5.1.4.1.2.2.1"
    request = command(C_FIND_RQ, e0002=uid(find), e0110=b"\7\0", e0700=b"\0\0", e0800=b"\1\0")
    cancel = data(1, COMMAND | LAST, command(0x0FFF, e0120=b"\7\0", e0800=b"\1\1"))
    asked = data(1, COMMAND | LAST, request) + data(1, LAST, b"")
    for together in (True, False):
        cancelled.clear()
        with open_door(door_dsn, tmp_path / f"storage{together}", tls=server()) as opened:
            opened.listener._serve._services = {C_FIND_RQ: wait_for_cancel}  # type: ignore[attr-defined]
            with TlsPeer(opened.port, GOOD, tmp_path, lambda _: None) as peer:
                peer.established(associate_request([proposal(1, find, IMPLICIT)]))
                peer.say(asked + (cancel if together else b""))
                if not together:
                    assert not cancelled.wait(0.05)
                    peer.say(cancel)
                assert cancelled.wait(60)


def test_what_TLS_sends_for_itself_is_no_message_to_wait_for(tmp_path: Path) -> None:
    """A server's session tickets come after the handshake: looking for a C-CANCEL must not block on them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*SERVER.files(tmp_path, "server"))
    context.num_tickets = 3
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = client_context(Profile.RFC9325, None, [CA.pem.decode()], check_host=True)
        sides: list[ssl.SSLSocket] = []
        accepting = threading.Thread(
            target=lambda: sides.append(context.wrap_socket(listening.accept()[0], server_side=True))
        )
        accepting.start()
        connection = socket.create_connection(listening.getsockname())
        wire = Wire(client.wrap_socket(connection, server_hostname="localhost"), LIMITS)
        accepting.join()
        until(lambda: not wire.readable())
        sides[0].sendall(pdu(ABORT)[:3])
        until(wire.readable)
        sides[0].sendall(pdu(ABORT)[3:])
        assert wire.read(1)[0] == ABORT
        sides[0].close()
        until(wire.readable)
        wire.close()


@contextlib.contextmanager
def acceptor(context: ssl.SSLContext) -> Iterator[int]:
    """A TLS server that shakes hands and no more."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(60)

    def serve() -> None:
        with (
            contextlib.suppress(OSError, ConnectionFailed),
            listening.accept()[0] as connection,
            shake_hands(context, connection, replace(LIMITS, tls_handshake_timeout_seconds=60)) as shaken,
        ):
            shaken.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1]
    listening.close()
    thread.join(60)
    assert not thread.is_alive()


def outgoing(
    port: int,
    host: str = "127.0.0.1",
    *,
    check_host: bool = False,
    ends: type[DimseError] = ConnectionFailed,
    on_progress: Callable[[], None] | None = None,
) -> str:
    """Why an association with a server does not come about."""
    tls = client_context(Profile.RFC9325, shown(GOOD), [CA.pem.decode()], check_host=check_host)
    with pytest.raises(ends) as failed:
        requestor.associate(
            host,
            port,
            calling_ae_title="ANNALS",
            called_ae_title="SCP",
            contexts=[(VERIFICATION, (IMPLICIT,))],
            limits=LIMITS,
            tls=tls,
            address="127.0.0.1",
            on_progress=on_progress,
        )
    return str(failed.value)


def careless(one: Issued, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(*one.files(folder, "scp"))
    return context


@pytest.mark.parametrize(
    ("one", "said"),
    [
        pytest.param(issue("x", CA, days=(-9, -1)), "certificate has expired", id="expired"),
        pytest.param(issue("x", CA, days=(1, 9)), "not yet valid", id="not-yet-valid"),
        pytest.param(issue("x"), "self-signed certificate", id="self-signed"),
        pytest.param(issue("x", OTHER_CA), "unable to get local issuer", id="another-CA"),
        pytest.param(issue("x", CA, key=rsa_key(bits=1024)), "key too weak", id="RSA-1024"),
        pytest.param(issue("x", CA, purposes=("client_auth",)), "unsuitable certificate purpose", id="purpose"),
    ],
)
def test_B65_NET_3_a_server_without_a_good_certificate_is_not_spoken_to(tmp_path: Path, one: Issued, said: str) -> None:
    with acceptor(careless(one, tmp_path)) as port:
        assert said in outgoing(port)


def test_B65_NET_3_a_server_with_another_name_is_not_spoken_to(tmp_path: Path) -> None:
    with acceptor(careless(issue("x", CA, hosts=()), tmp_path)) as port:
        assert "IP address mismatch" in outgoing(port, check_host=True)


def test_NET_3_a_server_may_be_known_by_its_name_with_a_dot_at_its_end(tmp_path: Path) -> None:
    with acceptor(careless(SERVER, tmp_path)) as port:
        assert outgoing(port, "localhost.", check_host=True, ends=AssociationEnded)


def test_B65_NET_3_a_server_of_old_versions_is_not_spoken_to(tmp_path: Path) -> None:
    context = careless(SERVER, tmp_path)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with acceptor(context) as port:
        assert "no TLS" in outgoing(port)


@pytest.mark.parametrize("on_progress", [None, lambda: None], ids=["echo", "move"])
@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_B65_NET_3_why_a_server_refuses_our_certificate_is_told_in_every_version(
    tmp_path: Path, highest: ssl.TLSVersion, on_progress: Callable[[], None] | None
) -> None:
    context = careless(SERVER, tmp_path)
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, highest
    context.load_verify_locations(cadata=OTHER_CA.pem.decode())
    with acceptor(context) as port:
        said = outgoing(port, on_progress=on_progress)
    assert said == "no TLS connection: it does not trust our certificate (unknown CA)"


def test_B22_NET_3_a_server_that_is_silent_or_speaks_no_TLS_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "no handshake came about in time" in outgoing(silent.getsockname()[1])


def test_B65_openssl_itself_finds_no_old_version_and_no_renegotiation(door: Door, tmp_path: Path) -> None:
    certificate, key = GOOD.files(tmp_path, "client")
    ca = tmp_path / "ca.crt"
    ca.write_bytes(CA.pem)

    def s_client(*options: str) -> str:
        done = subprocess.run(
            [
                *f"openssl s_client -connect 127.0.0.1:{door.port} -CAfile {ca} -cert {certificate} -key {key}".split(),
                *("-cipher", "ALL:@SECLEVEL=0", *options),
            ],
            input="",
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout + done.stderr

    for old in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in s_client(old)
    for now, named in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        said = s_client(now, "-verify_return_error")
        assert f"{named}, Cipher is" in said
        assert "Verification: OK" in said
    assert "Secure Renegotiation IS NOT supported" in s_client("-tls1_3")
