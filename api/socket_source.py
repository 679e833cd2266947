"""A request's body read from its connection in a thread: each piece into the same buffer, handed on where it lies.

The counterpart of :mod:`api.socket_pump`: the event loop neither copies the body nor waits for who takes it.
"""

from __future__ import annotations

import errno
import select
import time
from collections.abc import Callable

from api.socket_pump import LOOK_MILLISECONDS, of_its_own
from domain.limits import Limits

Take = Callable[[bytearray, int], bool]
"""Takes so many first bytes of a buffer, which is used again afterwards; whether more is wanted."""


class SocketSource:
    """Reads what is left of one body from a connected, non-blocking socket. Uses a descriptor of its own."""

    def __init__(self, descriptor: int, is_closing: Callable[[], bool], length: int, limits: Limits) -> None:
        """``length`` is how many bytes of the body are still to come."""
        self.left = length
        self._socket = of_its_own(descriptor)
        self._is_closing = is_closing
        self._limits = limits
        self._stopped = False

    def __enter__(self) -> SocketSource:
        """Nothing is to be done before."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the socket."""
        self._socket.close()

    def stop(self) -> None:
        """Take no more: whoever wanted it is gone."""
        self._stopped = True

    def run(self, take: Take) -> None:
        """Hand on the body to its end, or until no more of it is wanted.

        Raises what ``take`` raises, OSError where the peer is gone or the connection being closed, and TimeoutError
        where less than ``http_body_rate_min`` comes over ``request_body_timeout_seconds`` of waiting.
        """
        buffer = bytearray(min(self.left, self._limits.request_body_piece))
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        came, waited = 0, 0.0
        with memoryview(buffer) as view:
            while self.left and not self._stopped:
                try:
                    length = self._socket.recv_into(view[: self.left])
                except BlockingIOError:
                    began = time.monotonic()
                    waiting.poll(LOOK_MILLISECONDS)
                    waited += time.monotonic() - began
                    if waited > self._limits.request_body_timeout_seconds:
                        if came < self._limits.http_body_rate_min * waited:
                            raise TimeoutError(errno.ETIMEDOUT, "the body comes too slowly") from None
                        came, waited = 0, 0.0
                    if self._is_closing():
                        raise OSError(errno.ECONNABORTED, "the connection is being closed") from None
                    continue
                if not length:
                    raise OSError(errno.ECONNRESET, "the peer is gone")
                self.left -= length
                came += length
                if not take(buffer, length):
                    return
