"""HTTP/1.1 on the wire with deadlines: uvicorn's own protocol waits for ever on a peer that is silent or slow (B44)."""

from __future__ import annotations

import asyncio
import errno
import functools
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import h11
import uvicorn
from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.pieces import Piece
from api.problems import problem
from api.socket_pump import SocketPump
from api.socket_source import SocketSource, Take
from domain.limits import Limits

PUMP = "annals.pump"
"""The ASGI extension by which a body of pieces is written from a thread, its files by ``sendfile``."""

SOURCE = "annals.source"
"""The ASGI extension by which the rest of a body of known length is read in a thread, past the event loop."""

_LOOK_SECONDS = 0.5
_THREADS = CapacityLimiter(256)
"""A thread for each body that is being read or written; requests at once are bounded before (http_requests_max)."""

_ANSWERS = {400: "not HTTP/1.1", 431: "the header is longer than http_header_size_max", 408: "the request is too slow"}


def server(app: Any, limits: Limits, drain_seconds: int) -> uvicorn.Server:
    """A server for an application, bounded on the wire; it trusts no header that names another peer."""
    protocol: Any = functools.partial(BoundedProtocol, limits)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=limits.http_header_size_max,
        timeout_keep_alive=max(1, round(limits.http_idle_timeout_seconds)),
        timeout_graceful_shutdown=drain_seconds,
    )
    return uvicorn.Server(config)


class BoundedProtocol(H11Protocol):
    """One connection. A header, a body and an answer each have a deadline or a least rate."""

    def __init__(self, limits: Limits, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._look_again: asyncio.TimerHandle | None = None
        self._header_since: float | None = None
        self._body_since = 0.0
        self._body_size = 0
        self._unsent_since: float | None = None
        self.app = functools.partial(self._with_pump, self.app)

    async def _with_pump(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        ours = {PUMP: self._pump, SOURCE: self._source}
        await app({**scope, "extensions": {**scope.get("extensions", {}), **ours}}, receive, send)

    async def _pump(self, pieces: Generator[Piece], *, has_length: bool) -> None:
        """Write the body of the answer that was begun, but for its end. Raises what the pieces raise, and OSError.

        The thread that has begun the pieces closes them: an answer that is cut off at the end of a drain is not waited
        for, and nobody else may close what its thread still uses.
        """
        transport = self.transport
        # What the loop has still to write goes first.
        transport.set_write_buffer_limits(high=0)
        await self.flow.drain()
        transport.set_write_buffer_limits()
        if transport.is_closing():
            raise OSError(errno.ECONNRESET, "the peer is gone")
        pump = SocketPump(
            transport.get_extra_info("socket").fileno(),
            transport.is_closing,
            self._limits.http_send_timeout_seconds,
            chunked=not has_length and self.scope["http_version"] == "1.1",
        )
        await to_thread.run_sync(_write_all, pump, pieces, limiter=_THREADS)
        if has_length and self.conn.our_state is h11.SEND_BODY:
            # The protocol's own count of what was announced. A peer that has all may be gone already.
            self.conn.send_with_data_passthrough(h11.Data(data=range(pump.sent)))  # type: ignore[arg-type]

    async def _source(self, take: Take, length: int) -> None:
        """Hand the last ``length`` bytes of the body to ``take``, as many as it wants, in a thread.

        What came before was received as always. Raises what ``take`` raises, and ClientDisconnect.
        """
        self.flow.pause_reading()
        held, self.cycle.body = self.cycle.body, bytearray()
        self.cycle.message_event.clear()
        source = SocketSource(
            self.transport.get_extra_info("socket").fileno(),
            self.transport.is_closing,
            length - len(held),
            self._limits,
        )
        try:
            await to_thread.run_sync(_take_all, source, held, take, limiter=_THREADS)
        except TimeoutError:
            self._too_slow()
            raise ClientDisconnect from None
        except OSError:
            self.cycle.disconnected = True
            self.transport.abort()
            raise ClientDisconnect from None
        finally:
            source.stop()
        if self.cycle.more_body:
            # The protocol's own count: h11 has no other way to be told that a part of the body went past it.
            reader: Any = self.conn._reader
            reader._remaining = source.left
            self.handle_events()
        self.flow.resume_reading()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer connected; it is told 503 where too many are."""
        super().connection_made(transport)
        self._header_since = self.loop.time()
        self._look_again = self.loop.call_later(_LOOK_SECONDS, self._look)
        address = self.client[0] if self.client else ""
        mine = sum(1 for one in self.connections if (getattr(one, "client", None) or ("",))[0] == address)
        if (
            len(self.connections) > self._limits.http_connections_max
            or mine > self._limits.http_connections_per_address_max
        ):
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        if self._look_again:
            self._look_again.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a header or a body."""
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE and self._header_since is None:
            self._header_since = self.loop.time()
        self._body_size += len(data)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._header_since = None

    def send_400_response(self, msg: str) -> None:
        """What is no request is answered by the status that h11 hints at."""
        hint = getattr(sys.exc_info()[1], "error_status_hint", 400)
        self._refuse(hint if hint in _ANSWERS else 400, _ANSWERS.get(hint, msg))

    def pause_writing(self) -> None:
        """The peer takes an answer more slowly than it is made."""
        self._unsent_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The peer has taken what was waiting."""
        self._unsent_since = None
        super().resume_writing()

    def _look(self) -> None:
        now = self.loop.time()
        self._look_again = self.loop.call_later(_LOOK_SECONDS, self._look)
        if self.transport.is_closing():
            # Closed by us, and the peer does not take the rest.
            self._unsent_since = self._unsent_since or now
        if self._unsent_since is not None and now - self._unsent_since > self._limits.http_send_timeout_seconds:
            self.transport.abort()
        elif (
            self._header_since is not None
            and not self.transport.is_closing()
            and now - self._header_since > self._limits.http_header_timeout_seconds
        ):
            self._too_slow()
        else:
            self._look_at_body(now)

    def _look_at_body(self, now: float) -> None:
        """The body must come at the least rate, over windows of its timeout, while anyone wants it."""
        if self.conn.their_state is not h11.SEND_BODY or self.flow.read_paused or not self._body_since:
            self._body_since, self._body_size = now, 0
        elif now - self._body_since > self._limits.request_body_timeout_seconds:
            if self._body_size < self._limits.http_body_rate_min * (now - self._body_since):
                self._too_slow()
            self._body_since, self._body_size = now, 0

    def _too_slow(self) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            if self.cycle:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self._refuse(408, _ANSWERS[408])
        else:
            self.transport.abort()

    def _refuse(self, status: int, text: str) -> None:
        answer: Response = problem(status, text)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        send: Callable[..., bytes | None] = self.conn.send
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(send(event) or b"")
        self.transport.close()


def _write_all(pump: SocketPump, pieces: Generator[Piece]) -> None:
    with closing(pieces), closing(pump):
        pump.run(pieces)


def _take_all(source: SocketSource, held: bytearray, take: Take) -> None:
    with source:
        if not held or take(held, len(held)):
            source.run(take)
