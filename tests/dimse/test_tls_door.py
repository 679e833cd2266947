"""A listener that speaks TLS: nothing of a peer's handshake or silence holds another up (B22, B24)."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme

from tests.dimse.conftest import Door, open_door, until
from tests.dimse.raw_peer import ABORT, COMMAND, LAST, RawPeer, associate_request, data, echo_request


class TlsPeer(RawPeer):
    """A raw peer behind TLS."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        super().__init__(port)
        self.socket = trust.wrap_socket(self.socket, server_hostname="localhost")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def door(door_dsn: str, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with open_door(door_dsn, tmp_path_factory.mktemp("tls") / "storage", tls=context) as opened:
        yield opened


def echoes(door: Door, trust: ssl.SSLContext) -> None:
    with TlsPeer(door.port, trust) as peer:
        assert peer.established().echo() == 0


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="silent"),
        pytest.param(bytes.fromhex("1603010200010001fc0303") + bytes(20), id="half-a-hello"),
        pytest.param(associate_request(), id="plain-DICOM"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="plain-HTTP"),
    ],
)
def test_B22_a_peer_without_a_handshake_is_dropped_and_others_are_served(
    door: Door, trust: ssl.SSLContext, said: bytes
) -> None:
    with RawPeer(door.port) as plain:
        plain.say(said)
        echoes(door, trust)
        with contextlib.suppress(ConnectionError):
            while plain.socket.recv(4096):
                pass


def test_B22_a_handshake_of_one_byte_now_and_then_is_dropped(door: Door, trust: ssl.SSLContext) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        trust.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    with RawPeer(door.port) as slow:
        slow.socket.settimeout(0.2)
        with contextlib.suppress(ConnectionError):
            for byte in hello:
                slow.socket.sendall(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    assert not slow.socket.recv(100), "an answer to half a hello"
                    break
            else:
                raise AssertionError("the whole hello was waited for")
        echoes(door, trust)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="silent"),
        pytest.param(associate_request()[:3], id="half-a-header"),
        pytest.param(associate_request()[:50], id="half-a-request"),
        pytest.param(associate_request(), id="idle"),
        pytest.param(associate_request() + data(1, COMMAND, echo_request())[:20], id="half-a-PDU"),
    ],
)
def test_B22_B24_a_peer_that_stops_after_the_handshake_is_dropped_and_others_are_served(
    door: Door, trust: ssl.SSLContext, said: bytes
) -> None:
    with TlsPeer(door.port, trust) as silent:
        silent.say(said)
        echoes(door, trust)
        with contextlib.suppress(ssl.SSLError):
            while (answer := silent.answer()) is not None:
                last = answer[0]
                if last == ABORT:
                    break


def test_B24_a_peer_behind_TLS_that_never_reads_is_given_up(door: Door, trust: ssl.SSLContext) -> None:
    given_up = threading.Event()
    with TlsPeer(door.port, trust) as deaf:
        deaf.established()
        deaf.socket.settimeout(60)

        def talk() -> None:
            with contextlib.suppress(OSError):
                for _ in range(100_000):
                    deaf.socket.sendall(data(1, COMMAND | LAST, echo_request()) * 50)
            given_up.set()

        talking = threading.Thread(target=talk)
        talking.start()
        echoes(door, trust)
        assert given_up.wait(60)
        talking.join()


def test_a_reset_in_the_handshake_leaves_nothing(door: Door, trust: ssl.SSLContext) -> None:
    for _ in range(50):
        with RawPeer(door.port) as peer:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.say(b"\x16\x03\x01")
    until(lambda: not door.listener._places.by_address)
    echoes(door, trust)
