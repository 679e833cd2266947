"""PDUs on a socket: one blocking reader, a deadline and a least rate for each PDU, few system calls (PS3.8 9.3)."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from typing import NoReturn

from adapters.dimse.errors import AssociationEnded
from domain.limits import KIB, Limits

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
HEADER = 6
_SLACK = 4 * KIB
_BUFFERS_A_CALL = 512
_SOURCE_PROVIDER = 2
UNSPECIFIED, UNRECOGNISED_PDU, UNEXPECTED_PDU = 0, 1, 2
INVALID_PDU_PARAMETER = 6


class Wire:
    """Reads and writes PDUs. After any :class:`AssociationEnded` the connection is closed."""

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        self.socket = connection
        self._limits = limits
        self._buffer = bytearray(64 * KIB)
        self._start = 0
        self._end = 0
        self._pdu_max = limits.associate_pdu_max
        self._is_tls = isinstance(connection, ssl.SSLSocket)
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_timeout(socket.SO_RCVTIMEO, limits.pdu_header_timeout_seconds)
        self._set_timeout(socket.SO_SNDTIMEO, limits.send_timeout_seconds)

    def established(self) -> None:
        """From now on data PDUs may come, up to the announced maximum."""
        self._pdu_max = self._limits.pdu_max + _SLACK

    def read(self, idle_seconds: float) -> tuple[int, memoryview]:
        """The next PDU's type and body; the body is valid until the next read. Waits at most idle for its start."""
        self._fill(HEADER, time.monotonic() + idle_seconds, time.monotonic() + idle_seconds)
        kind, length = struct.unpack_from(">BxI", self._buffer, self._start)
        if not ASSOCIATE_RQ <= kind <= ABORT:
            self.abort(UNRECOGNISED_PDU, "a PDU of unknown type")
        if length > self._pdu_max:
            self.abort(INVALID_PDU_PARAMETER, f"a PDU of {length} bytes, more than the maximum")
        seconds = self._limits.pdu_timeout_seconds + length / self._limits.pdu_rate_min
        self._fill(HEADER + length, time.monotonic() + seconds, None)
        body = memoryview(self._buffer)[self._start + HEADER : self._start + HEADER + length]
        self._start += HEADER + length
        return kind, body

    def readable(self) -> bool:
        """Whether something of the peer waits to be read; does not block."""
        if self._end > self._start or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
            return True
        waiting = select.poll()
        waiting.register(self.socket.fileno(), select.POLLIN)
        return bool(waiting.poll(0))

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Send all buffers with as few calls as possible. A peer that does not read is given up."""
        for first in range(0, len(buffers), _BUFFERS_A_CALL):
            self._write_some([memoryview(buffer) for buffer in buffers[first : first + _BUFFERS_A_CALL]])

    def abort(self, reason: int, why: str) -> NoReturn:
        """Send A-ABORT as provider and give up; always raises :class:`AssociationEnded`."""
        self.abort_quietly(_SOURCE_PROVIDER, reason)
        raise AssociationEnded(why)

    def abort_quietly(self, source: int, reason: int) -> None:
        """Send A-ABORT if the peer still takes it, then close."""
        with contextlib.suppress(OSError, ssl.SSLError):
            self.socket.settimeout(0.5)
            self.socket.sendall(struct.pack(">BxIxxBB", ABORT, 4, source, reason))
        self.close()

    def linger(self) -> None:
        """Let the peer read our last words and close first; an early close could take them back."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(1.0)
            while self.socket.recv(4096):
                pass
        self.close()

    def stop_reading(self) -> None:
        """Wake a thread that waits for the peer; it finds the connection at its end."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

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
        while self._end - self._start < wanted:
            got = self._receive()
            now = time.monotonic()
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
        size = max(len(self._buffer), wanted + HEADER, min(2 * len(self._buffer), self._pdu_max + 64 * KIB))
        fresh = bytearray(size)
        fresh[:have] = memoryview(self._buffer)[self._start : self._end]
        self._buffer, self._start, self._end = fresh, 0, have

    def _receive(self) -> int:
        try:
            with memoryview(self._buffer) as view, view[self._end :] as room:
                got = self.socket.recv_into(room)
            if not self._is_tls:
                # Not permanent: without it a sender with Nagle on waits for our delayed acknowledgement.
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return 0
        except OSError as error:
            self.close()
            raise AssociationEnded(f"the connection was lost ({error.strerror or type(error).__name__})") from None
        if not got:
            self.close()
            raise AssociationEnded("the peer closed the connection")
        self._end += got
        return got

    def _too_slow(self, idle: bool) -> None:
        self.abort(UNSPECIFIED, "the peer was idle for too long" if idle else "a PDU did not come in time")

    def _write_some(self, views: list[memoryview]) -> None:
        total = sum(len(view) for view in views)
        deadline = time.monotonic() + self._limits.send_timeout_seconds + total / self._limits.pdu_rate_min
        while views:
            try:
                sent = self.socket.send(views[0]) if self._is_tls else self.socket.sendmsg(views)
            except (BlockingIOError, ssl.SSLWantWriteError):
                sent = 0
            except OSError as error:
                self.close()
                raise AssociationEnded(f"the connection was lost ({error.strerror or type(error).__name__})") from None
            if not sent or time.monotonic() > deadline:
                self.close()
                raise AssociationEnded("the peer does not read what it is sent")
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]
