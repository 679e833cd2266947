"""STOW-RS (PS3.18 10.5): instances over HTTP into the room of C-STORE, streamed, with an answer for each part."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from api.dicomweb.acceptable import DICOM
from api.dicomweb.media_types import MULTIPART_RELATED, MediaType, media_type
from api.dicomweb.model_types import JSON, XML, model_type
from api.dicomweb.multipart import MultipartFault, MultipartReader
from api.dicomweb.rooms import Authorise, Storing, allowed
from api.dicomweb.store_answer import Outcome, store_answer, store_status
from api.dicomweb.store_metadata import METADATA, MetadataParts
from api.dicomweb.store_parts import Finishers, InstanceParts, Parts, StoreBody, StoreRequest
from api.origin import service_root
from api.problems import HttpRefusal
from api.wire import SOURCE
from domain.device import Right
from domain.errors import InvalidInput, Refused
from domain.event import Actor
from domain.identifiers import uid_fault
from domain.limits import Limits

_LOG = logging.getLogger("annals.http.store")
_R = TypeVar("_R")
_ACCEPTED = f"{DICOM} or {MULTIPART_RELATED} with the type {DICOM}, {JSON} or {XML}"
_ANSWERS: dict[int | str, dict[str, Any]] = {
    code: {"description": description, "content": {JSON: {}, XML: {}, MULTIPART_RELATED: {}}}
    for code, description in (
        (200, "All instances were stored"),
        (202, "Some instances were stored, or all with warnings"),
        (400, "Nothing was stored: bad syntax"),
        (403, "The asker may not store"),
        (406, "No acceptable media type"),
        (409, "Nothing was stored: conflicts, or a mixture of reasons"),
        (413, "Nothing was stored: too large"),
        (415, "The media type is not one that can be stored"),
        (503, "Nothing was stored: come again"),
        (507, "Nothing was stored: no storage takes it"),
    )
}
_REQUEST_BODY = {
    "required": True,
    "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in (MULTIPART_RELATED, DICOM)},
}


def create_router(storing: Storing, authorise: Authorise) -> APIRouter:
    """The store transaction, into any study or into one."""
    router = APIRouter()
    service = _StoreService(storing)
    uploader = allowed(authorise, Right.UPLOAD)

    async def store(request: Request, by: Actor = uploader) -> Response:
        """Store instances of any study."""
        return await service.answer(request, by)

    async def store_in_study(request: Request, study_uid: str, by: Actor = uploader) -> Response:
        """Store instances of one study."""
        if fault := uid_fault(study_uid):
            raise InvalidInput([f"study: {fault}"])
        return await service.answer(request, by, study_uid)

    for path, endpoint in (("/studies", store), ("/studies/{study_uid}", store_in_study)):
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            response_class=Response,
            responses=_ANSWERS,
            openapi_extra={"requestBody": _REQUEST_BODY},
        )
    return router


class _StoreService:
    """What is shared by all store requests of a process."""

    def __init__(self, storing: Storing) -> None:
        self._storing = storing
        self._limits = storing.limits
        self._finishers = Finishers(storing.limits)
        # One for each request at most: the bytes of a request are hashed and written in their order.
        self._receiving = ThreadPoolExecutor(storing.limits.http_requests_max, "receive")

    async def answer(self, request: Request, by: Actor, study_uid: str = "") -> Response:
        """Receive the body and answer. Whatever can be refused without it is refused before it is asked for."""
        wanted, in_parts = model_type(request, "the result of a store is")
        sent = _content_type(request)
        await self._in_thread(self._check_space, request, sent)
        asked = StoreRequest(by, secrets.token_hex(8), study_uid)
        body = self._body(sent, asked)
        try:
            await self._receive(request, body)
            outcomes = await self._in_thread(body.finish)
        except ClientDisconnect:
            _LOG.warning("store request %s of %s ended before its body did", asked.id, by)
            return Response(status_code=400)
        finally:
            self._receiving.submit(body.close)
        _tell(asked, outcomes)
        return store_answer(outcomes, service_root(request), wanted, in_parts=in_parts)

    def _check_space(self, request: Request, sent: MediaType) -> None:
        """Raises :class:`HttpRefusal` where the storages cannot take a body of this length (NET-8)."""
        length = int(request.headers.get("content-length", 0))
        try:
            self._storing.files.check_space(length, is_one=sent.name == DICOM)
        except Refused as refusal:
            raise HttpRefusal(store_status(refusal), str(refusal)) from refusal

    def _body(self, sent: MediaType, asked: StoreRequest) -> StoreBody:
        storing = self._storing
        alone = sent.name != MULTIPART_RELATED
        reader = None if alone else _reader(sent, self._limits)
        parts: Parts = (
            MetadataParts(storing.receiver, storing.compose(), self._finishers, asked, self._limits)
            if (sent.name if alone else sent.part_type) in METADATA
            else InstanceParts(storing.receiver, storing.file_beginnings, self._finishers, asked)
        )
        return StoreBody(parts, reader, {"content-type": sent.name}, self._limits.request_body_max)

    async def _receive(self, request: Request, body: StoreBody) -> None:
        """Feed the body as it comes. Raises ClientDisconnect."""
        source = request.scope.get("extensions", {}).get(SOURCE)
        length = request.headers.get("content-length")
        total = 0
        async for chunk in request.stream():
            total += len(chunk)
            if not await self._in_thread(body.feed, chunk, len(chunk)):
                return
            if source and length and int(length) > total:
                # What is still to come goes past the event loop.
                await source(body.feed, int(length) - total)
                return

    async def _in_thread(self, work: Callable[..., _R], *args: object) -> _R:
        return await asyncio.get_running_loop().run_in_executor(self._receiving, work, *args)


def _reader(sent: MediaType, limits: Limits) -> MultipartReader:
    try:
        return MultipartReader(sent.parameters.get("boundary", ""), limits)
    except MultipartFault as fault:
        raise HttpRefusal(400, str(fault)) from None


def _content_type(request: Request) -> MediaType:
    """What the body is. Raises :class:`HttpRefusal` (415) before it is read."""
    given = request.headers.get("content-type", "")
    try:
        sent = media_type(given)
    except InvalidInput as error:
        raise HttpRefusal(415, f"Content-Type: {error}") from None
    if sent.name in (DICOM, *METADATA) or (sent.name == MULTIPART_RELATED and sent.part_type in ("", DICOM, *METADATA)):
        return sent
    raise HttpRefusal(415, f"what is stored comes as {_ACCEPTED}")


def _tell(asked: StoreRequest, outcomes: Sequence[Outcome]) -> None:
    """One line for a request in which something failed."""
    failures = [one for one in outcomes if one.failure_reason]
    if all(one.is_told for one in failures):
        return
    counted = dict.fromkeys((one.failure_reason, one.said) for one in failures)
    reasons = "; ".join(f"{reason:04X} {ascii(said)[1:-1]}" for reason, said in list(counted)[:10])
    stored = len(outcomes) - len(failures)
    _LOG.warning(
        "store request %s of %s: %d stored, %d refused: %s", asked.id, asked.by, stored, len(failures), reasons
    )
