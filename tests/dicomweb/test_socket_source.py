"""Bodies read in a thread past the event loop (C7.11, B44): whole, slow, cut, and no longer wanted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from api.socket_source import SocketSource
from domain.limits import Limits

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The server's end, which does not block, and the peer's."""
    server, peer = socket.socketpair()
    server.setblocking(False)
    with server, peer:
        yield server, peer


def _source(server: socket.socket, length: int, closing: bool = False, **limits: float) -> SocketSource:
    return SocketSource(server.fileno(), lambda: closing, length, Limits(**limits))  # type: ignore[arg-type]


def test_all_of_a_body_comes_in_its_order_and_nothing_of_what_follows(ends: Ends) -> None:
    server, peer = ends
    body = bytes(range(256)) * 8_192
    sending = threading.Thread(target=peer.sendall, args=(body + b"GET /",))
    sending.start()
    taken = bytearray()

    def take(data: bytearray, length: int) -> bool:
        taken.extend(data[:length])
        return True

    with _source(server, len(body), request_body_piece=100_000) as source:
        source.run(take)
    sending.join()
    assert taken == body
    assert source.left == 0
    assert server.recv(100) == b"GET /"


def test_what_is_not_wanted_any_more_stays_where_it_is(ends: Ends) -> None:
    server, peer = ends
    peer.sendall(b"abcdef")
    with _source(server, 6, request_body_piece=4) as source:
        source.run(lambda _data, _length: False)
    assert source.left == 2
    assert server.recv(100) == b"ef"


def test_B44_a_body_that_stops_or_drips_is_too_slow(ends: Ends) -> None:
    server, peer = ends
    peer.sendall(b"x" * 100)
    with _source(server, 1000, request_body_timeout_seconds=0.1) as source, pytest.raises(TimeoutError):
        source.run(lambda _data, _length: True)


def test_a_peer_that_is_gone_or_a_connection_that_is_being_closed_ends_it(ends: Ends) -> None:
    server, peer = ends
    with _source(server, 1000, closing=True) as source, pytest.raises(OSError, match="being closed"):
        source.run(lambda _data, _length: True)
    peer.close()
    with _source(server, 1000) as source, pytest.raises(OSError, match="gone"):
        source.run(lambda _data, _length: True)


def test_a_source_that_was_stopped_takes_nothing(ends: Ends) -> None:
    server, peer = ends
    peer.sendall(b"abcdef")
    with _source(server, 6) as source:
        source.stop()
        source.run(lambda _data, _length: pytest.fail("it was stopped"))
    assert source.left == 6
