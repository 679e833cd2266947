"""Answers streamed from files: one piece at a time, at the pace of whoever takes them, whatever the whole is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from inspect import GEN_CREATED, getgeneratorstate
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.pieces import Piece, bytes_of
from api.wire import PUMP
from domain.errors import AnnalsError

_LOG = logging.getLogger("annals.http")
_AT_ONCE = 1024 * 1024
_THREADS = CapacityLimiter(256)
"""Apart from the threads of other requests: a slow disk keeps no search waiting. Requests are bounded before."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class FileStream(Response):
    """An answer of pieces; the file of a range must stay open until the next piece is asked for."""

    def __init__(
        self, pieces: Generator[Piece], status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """``pieces`` is run in threads and always closed. It may raise AnnalsError or OSError."""
        self._pieces = pieces
        self.status_code = status_code
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, to HEAD its headers alone (RFC 9110 9.3.2).

        Returning without the last message makes the server break the connection.
        """
        gone = asyncio.ensure_future(_disconnected(receive))
        is_pumped = False
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                pass
            elif pump := scope.get("extensions", {}).get(PUMP):
                is_pumped = True
                await pump(self._pieces, has_length="content-length" in self.headers)
            else:
                await self._pass_on(gone, send)
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (AnnalsError, OSError) as error:
            _LOG.error("an answer was broken off: %s", ascii(str(error)))
        finally:
            gone.cancel()
            # What a thread has begun it closes itself (api/wire.py).
            if not is_pumped or getgeneratorstate(self._pieces) == GEN_CREATED:
                self._pieces.close()

    async def _pass_on(self, gone: asyncio.Future[None], send: Send) -> None:
        """Through the application's server, whichever it is."""
        with closing(_chunks(self._pieces)) as chunks:
            while not gone.done() and (chunk := await in_stream_thread(next, chunks, None)) is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def in_stream_thread(work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Run what may wait for a disk or a conversion in one of the threads of streams."""
    return await to_thread.run_sync(partial(work, *args, **kwargs), limiter=_THREADS)


def _chunks(pieces: Iterator[Piece]) -> Generator[bytes]:
    """The bytes of the pieces, joined and cut into what is read and sent at once."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        for data in bytes_of(piece):
            held.append(data)
            size += len(data)
            if size >= _AT_ONCE:
                yield b"".join(held)
                held, size = [], 0
    if held:
        yield b"".join(held)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
