"""``POST /licence``: a licence file into use (LIC-1). Its signature and product code say that it may, not who asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api import problems
from domain.errors import InvalidInput
from domain.event import Actor
from domain.licence import Licence
from domain.limits import Limits

Install = Callable[[bytes, Actor], Licence]
"""Brings a licence file into use. Raises InvalidInput with every fault."""

_READ_FACTOR = 16
"""A body is read so many times longer than a licence may be: who is cut off while he sends does not see the answer."""

_ANSWERS: dict[int | str, dict[str, Any]] = {
    422: {"description": "Not installed; what was in use stays", "content": {problems.MEDIA_TYPE: {}}},
    503: {"description": "Not installed now: come again", "content": {problems.MEDIA_TYPE: {}}},
}


def create_router(install: Install, limits: Limits) -> APIRouter:
    """The one route."""
    router = APIRouter()

    @router.post("/licence", responses=_ANSWERS)
    async def upload(request: Request) -> Response:
        """Install the licence that is the body, whatever its media type and file name."""
        by = Actor("user", "licence upload", request.client.host if request.client else "")
        try:
            installed = await run_in_threadpool(install, await _body(request, limits.licence_file_max), by)
        except InvalidInput as error:
            return problems.problem(422, "the licence is not installed: what was in use stays", error.faults)
        except ClientDisconnect:
            return Response(status_code=400)
        return Response(orjson.dumps(asdict(installed)), media_type="application/json")

    return router


async def _body(request: Request, maximum: int) -> bytes:
    """The body, cut where it is longer than any licence."""
    most, total, held = _READ_FACTOR * maximum, 0, bytearray()
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        return bytes(maximum + 1)
    async for piece in request.stream():
        total += len(piece)
        held += piece[: maximum + 1 - len(held)]
        if total > most:
            break
    return bytes(held)
