"""Bytes and ranges of files written to a connection from a thread: files go by ``sendfile``, copied by nobody.

The thread waits for the disk and for the peer, the event loop for neither.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator

from api.pieces import FileRange, Incomplete, Piece

_AT_ONCE = 8 * 1024 * 1024
LOOK_MILLISECONDS = 500
"""How often a thread that waits for a peer looks whether the connection is being closed."""


def of_its_own(descriptor: int) -> socket.socket:
    """A socket of a thread's own: the loop may close the other, whose number then belongs to another connection."""
    return socket.socket(fileno=os.dup(descriptor))


class SocketPump:
    """Writes one body to a connected, non-blocking socket. Uses a descriptor of its own, which must be closed."""

    def __init__(
        self, descriptor: int, is_closing: Callable[[], bool], timeout_seconds: float, *, chunked: bool
    ) -> None:
        self._socket = of_its_own(descriptor)
        self._is_closing = is_closing
        self._timeout = timeout_seconds
        self._chunked = chunked
        self.sent = 0

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def run(self, pieces: Iterator[Piece]) -> None:
        """Write all pieces. Raises what ``pieces`` raises, and OSError where the peer is gone or takes nothing."""
        for piece in pieces:
            length = len(piece) if isinstance(piece, bytes) else piece.length
            if not length:
                continue
            if self._chunked:
                self._write(b"%x\r\n" % length)
            if isinstance(piece, bytes):
                self._write(piece)
            else:
                self._send_file(piece)
            if self._chunked:
                self._write(b"\r\n")
            self.sent += length
        # Nothing follows: what waits for more goes out now (tcp(7)).
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # Small pieces go out together with what comes behind them.
            view = view[self._tried(self._socket.send, view, socket.MSG_MORE) :]

    def _send_file(self, piece: FileRange) -> None:
        offset, end = piece.offset, piece.offset + piece.length
        while offset < end:
            length = min(_AT_ONCE, end - offset)
            sent = self._tried(os.sendfile, self._socket.fileno(), piece.descriptor, offset, length)
            if not sent:
                raise Incomplete("a file became shorter while it was sent")
            offset += sent

    def _tried(self, write: Callable[..., int], *args: object) -> int:
        """What a write has written, once the peer takes something."""
        deadline = 0.0
        while True:
            try:
                return write(*args)
            except BlockingIOError:
                now = time.monotonic()
                deadline = deadline or now + self._timeout
                if now > deadline or self._is_closing():
                    raise OSError(
                        errno.ETIMEDOUT, "the peer takes nothing, or the connection is being closed"
                    ) from None
                waiting = select.poll()
                waiting.register(self._socket, select.POLLOUT)
                waiting.poll(LOOK_MILLISECONDS)
