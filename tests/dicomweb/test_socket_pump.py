"""Bodies written from a thread (C7.6): framing, files, peers that are slow or gone."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.pieces import FileRange, Incomplete, Piece
from api.socket_pump import SocketPump


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end, which does not block, and the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    server.setblocking(False)
    with server, peer:
        yield server, peer


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 16_384)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def _pumped(server: socket.socket, pieces: list[Piece], *, chunked: bool, seconds: float = 10) -> SocketPump:
    pump = SocketPump(server.fileno(), lambda: False, seconds, chunked=chunked)
    try:
        pump.run(iter(pieces))
    finally:
        pump.close()
    return pump


def _all(peer: socket.socket) -> bytes:
    received = bytearray()
    while data := peer.recv(1 << 20):
        received += data
    return bytes(received)


@pytest.mark.parametrize("chunked", [False, True])
def test_C7_6_bytes_and_ranges_of_files_go_in_their_order(
    connection: tuple[socket.socket, socket.socket], file: int, chunked: bool
) -> None:
    """RFC 9112 7.1: a chunk is its size in hexadecimal, its bytes, a line end; the last one is not the pump's."""
    server, peer = connection
    pieces: list[Piece] = [b"head", FileRange(file, 3, 1_000_000), b"", FileRange(file, 0, 4 << 20), b"tail"]
    received: list[bytes] = []
    reading = threading.Thread(target=lambda: received.append(_all(peer)))
    reading.start()
    pump = _pumped(server, pieces, chunked=chunked)
    server.shutdown(socket.SHUT_WR)
    reading.join()
    whole = os.pread(file, 4 << 20, 0)
    sent = [b"head", whole[3:1_000_003], whole, b"tail"]
    expected = b"".join(b"%x\r\n%b\r\n" % (len(one), one) if chunked else one for one in sent)
    assert received == [expected]
    assert pump.sent == sum(map(len, sent))


def test_C7_6_a_peer_that_takes_nothing_or_is_gone_ends_it(
    connection: tuple[socket.socket, socket.socket], file: int
) -> None:
    """C7.6: back-pressure has an end."""
    server, peer = connection
    endless: list[Piece] = [FileRange(file, 0, 4 << 20)] * 64
    with pytest.raises(OSError, match="takes nothing"):
        _pumped(server, endless, chunked=False, seconds=0.1)
    peer.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        _pumped(server, endless, chunked=True)


def test_C7_6_a_file_that_became_shorter_is_not_passed_over(
    connection: tuple[socket.socket, socket.socket], file: int
) -> None:
    """RFC 9112 8: what was announced and does not come ends the connection."""
    server, _ = connection
    with pytest.raises(Incomplete):
        _pumped(server, [FileRange(file, (4 << 20) - 10, 20)], chunked=False)
