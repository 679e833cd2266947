"""PDUs on a socket: one blocking reader, a deadline and a least rate for each PDU, few system calls (PS3.8 9.3)."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from adapters.dimse.errors import AssociationEnded, GivenUp
from domain.limits import KIB, Limits

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
HEADER = 6
_SLACK = 4 * KIB
_READ_AHEAD = 64 * KIB
_BUFFERS_A_CALL = 512
_TLS_AT_ONCE = 64 * KIB
_TLS_HANDSHAKE = 0x16
_SOURCE_USER, _SOURCE_PROVIDER = 0, 2
UNSPECIFIED, UNRECOGNISED_PDU, UNEXPECTED_PDU = 0, 1, 2
INVALID_PDU_PARAMETER = 6


def let_read(connection: socket.socket, deadline: float) -> None:
    """End our side and pass over what comes until the peer ends its own: unread it would take our last words back.

    ``deadline`` is one of the monotonic clock. Raises OSError where the connection is lost before.
    """
    connection.shutdown(socket.SHUT_WR)
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(64 * KIB):
            break


class Wire:
    """Reads and writes PDUs. After any :class:`AssociationEnded` the connection is closed.

    ``awaits_request``: we are the acceptor and the peer has not asked for an association yet (PS3.8 9.2, Sta2).
    """

    def __init__(self, connection: socket.socket, limits: Limits, *, awaits_request: bool = False) -> None:
        self.socket = connection
        self.waited_seconds = 0.0
        """How long the peer was waited for, in all."""
        self._awaits_request = awaits_request
        self._stopping = False
        self._limits = limits
        self._buffer = bytearray(_READ_AHEAD)
        self._start = 0
        self._end = 0
        self._pdu_max = limits.associate_pdu_max
        self._is_tls = isinstance(connection, ssl.SSLSocket)
        self._failure: OSError | None = None
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._is_tls:
            self._set_timeout(socket.SO_RCVTIMEO, limits.pdu_header_timeout_seconds)
            self._set_timeout(socket.SO_SNDTIMEO, limits.send_timeout_seconds)

    def established(self) -> None:
        """From now on data PDUs may come, up to the announced maximum."""
        self._awaits_request = False
        self._pdu_max = self._limits.pdu_max + _SLACK

    def read(self, idle_seconds: float) -> tuple[int, memoryview]:
        """The next PDU's type and body; the body is valid until the next read. Waits at most idle for its start."""
        self._fill(HEADER, time.monotonic() + idle_seconds, time.monotonic() + idle_seconds)
        kind, length = struct.unpack_from(">BxI", self._buffer, self._start)
        if not ASSOCIATE_RQ <= kind <= ABORT:
            is_hello = kind == _TLS_HANDSHAKE and self._awaits_request and not self._is_tls
            self.abort(UNRECOGNISED_PDU, "it speaks TLS to a port without" if is_hello else "a PDU of unknown type")
        if length > self._pdu_max:
            self.abort(INVALID_PDU_PARAMETER, "a PDU that is longer than the maximum")
        seconds = self._limits.pdu_timeout_seconds + length / self._limits.pdu_rate_min
        self._fill(HEADER + length, time.monotonic() + seconds, None)
        body = memoryview(self._buffer)[self._start + HEADER : self._start + HEADER + length]
        self._start += HEADER + length
        return kind, body

    def wait(self, seconds: float, every_seconds: float, meanwhile: Callable[[], None]) -> None:
        """Wait until something of the peer can be read; ``meanwhile`` is called every so often.

        A peer that says nothing in so many seconds is given up, as by :meth:`read`.
        """
        deadline = time.monotonic() + seconds
        while not self.readable(every_seconds):
            if time.monotonic() > deadline:
                self._too_slow(True)
            meanwhile()

    def readable(self, within_seconds: float = 0.0) -> bool:
        """Whether something of the peer waits to be read, or comes within so many seconds."""
        if self._end > self._start or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
            return True
        waiting = select.poll()
        waiting.register(self.socket.fileno(), select.POLLIN)
        if not waiting.poll(within_seconds * 1000):
            return False
        return not self._is_tls or self._is_more_than_housekeeping()

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Send all buffers with as few calls as possible. A peer that does not read is given up."""
        if self._is_tls:
            # One record a buffer would make headers packets of their own; one for all would have to go in one time-out.
            whole = memoryview(b"".join(buffers))
            buffers = [whole[first : first + _TLS_AT_ONCE] for first in range(0, len(whole), _TLS_AT_ONCE)]
        for first in range(0, len(buffers), _BUFFERS_A_CALL):
            self._write_some([memoryview(buffer) for buffer in buffers[first : first + _BUFFERS_A_CALL]])

    def abort(self, reason: int, why: str) -> NoReturn:
        """Send A-ABORT and give up; always raises :class:`GivenUp`.

        We abort as the service user where no association was asked for yet (AA-1), else as the provider (AA-8).
        """
        if self._awaits_request:
            self.abort_quietly(_SOURCE_USER, UNSPECIFIED)
        else:
            self.abort_quietly(_SOURCE_PROVIDER, reason)
        raise GivenUp(why)

    def abort_quietly(self, source: int, reason: int) -> None:
        """Send A-ABORT if the peer still takes it, then close."""
        self.end_with(struct.pack(">BxIxxBB", ABORT, 4, source, reason))

    def end_with(self, last_words: bytes) -> None:
        """Send a last PDU and close when the peer has, or when ARTIM runs out (PS3.8 9.1.5, Sta13)."""
        deadline = time.monotonic() + self._limits.artim_timeout_seconds
        with contextlib.suppress(OSError):
            self.socket.settimeout(self._limits.artim_timeout_seconds)
            self.socket.sendall(last_words)
            self._say_goodbye()
            let_read(self.socket, deadline)
        self.close()

    def stop_reading(self) -> None:
        """Wake a thread that waits for the peer; it aborts, and the peer is told."""
        self._stopping = True
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which would let the last words go out in clear.
            socket.socket.shutdown(self.socket, socket.SHUT_RD)

    def close(self) -> None:
        """Close the connection."""
        self._say_goodbye()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _is_more_than_housekeeping(self) -> bool:
        """Whether what came is data or an end: TLS has records of its own, and part of a record is nothing yet."""
        if self._end == len(self._buffer):
            return True
        self.socket.settimeout(0)
        try:
            # Behind what was read: PDVs of the last PDU may still be looked at.
            with memoryview(self._buffer) as view, view[self._end :] as room:
                self._end += self.socket.recv_into(room)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            # For the next read to say: OpenSSL tells only once why.
            self._failure = error
        return True

    def _say_goodbye(self) -> None:
        """Tell a TLS peer that nothing follows (close_notify), without waiting for its own."""
        if isinstance(self.socket, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self.socket.settimeout(0)
                self.socket.unwrap()

    def _set_timeout(self, option: int, seconds: float) -> None:
        whole = int(seconds)
        self.socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", whole, int((seconds - whole) * 1e6)))

    def _fill(self, wanted: int, deadline: float, idle_until: float | None) -> None:
        """Have ``wanted`` bytes in the buffer; before the first byte the peer may be idle until ``idle_until``."""
        if self._end - self._start >= wanted:
            return
        if self._start == self._end:
            self._start = self._end = 0
        if self._start + wanted > len(self._buffer):
            self._make_room(wanted)
        now = time.monotonic()
        while self._end - self._start < wanted:
            before = now
            got = self._receive(wanted)
            now = time.monotonic()
            self.waited_seconds += now - before
            if got and idle_until is not None and self._end - self._start == got:
                deadline = now + self._limits.pdu_header_timeout_seconds
            if now > deadline and self._end - self._start < wanted:
                self._too_slow(idle_until is not None and self._end == self._start)

    def _make_room(self, wanted: int) -> None:
        have = self._end - self._start
        if wanted <= len(self._buffer):
            self._buffer[:have] = self._buffer[self._start : self._end]
            self._start, self._end = 0, have
            return
        size = max(wanted + _SLACK, min(2 * len(self._buffer), self._pdu_max + 64 * KIB))
        fresh = bytearray(size)
        fresh[:have] = memoryview(self._buffer)[self._start : self._end]
        self._buffer, self._start, self._end = fresh, 0, have

    def _receive(self, wanted: int) -> int:
        # Of a large PDU nothing but the next one's header: the rest would have to be moved to the front.
        end = max(self._start + wanted + HEADER, _READ_AHEAD)
        try:
            if self._is_tls:
                self.socket.settimeout(self._limits.pdu_header_timeout_seconds)
                if self._failure:
                    raise self._failure
            with memoryview(self._buffer) as view, view[self._end : end] as room:
                got = self.socket.recv_into(room)
            # Not permanent: without it a sender with Nagle on waits for our delayed acknowledgement.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return 0
        except OSError as error:
            if self._is_tls and isinstance(error, TimeoutError) and error.errno is None:
                return 0
            self.close()
            raise AssociationEnded(f"the connection was lost ({error.strerror or type(error).__name__})") from error
        if not got:
            if self._stopping:
                self.abort(UNSPECIFIED, "the server is stopping")
            self.close()
            raise AssociationEnded("the peer closed the connection")
        self._end += got
        return got

    def _too_slow(self, idle: bool) -> None:
        if self._awaits_request:
            self.close()
            raise GivenUp("no association was asked for in time")
        self.abort(UNSPECIFIED, "the peer was idle for too long" if idle else "a PDU did not come in time")

    def _write_some(self, views: list[memoryview]) -> None:
        total = sum(len(view) for view in views)
        deadline = time.monotonic() + self._limits.send_timeout_seconds + total / self._limits.pdu_rate_min
        if self._is_tls:
            self.socket.settimeout(self._limits.send_timeout_seconds)
        while views:
            try:
                sent = self.socket.send(views[0]) if self._is_tls else self.socket.sendmsg(views)
            except (BlockingIOError, ssl.SSLWantWriteError):
                sent = 0
            except OSError as error:
                self.close()
                raise AssociationEnded(f"the connection was lost ({error.strerror or type(error).__name__})") from error
            if not sent or time.monotonic() > deadline:
                self.close()
                raise AssociationEnded("the peer does not read what it is sent")
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]
