"""Storage commitment (PS3.18 13): ask that instances be kept safe, and come again for what was decided."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from api.dicomweb.commitment_modules import REQUEST_SCHEMA, read_data_set, references, response_module
from api.dicomweb.media_types import MULTIPART_RELATED, MediaType, media_type
from api.dicomweb.model_types import JSON, PLAIN_JSON, XML, model_document, model_type
from api.dicomweb.multipart import MultipartFault, only_part
from api.dicomweb.rooms import Authorise, allowed
from api.file_stream import in_stream_thread
from api.origin import target
from api.problems import RETRY_SECONDS, HttpRefusal
from domain.commitment import Commitment, CommitmentRequested, checked, placed
from domain.device import Right
from domain.errors import AnnalsError, InvalidInput, NotThere, TooLarge
from domain.event import Actor
from domain.identifiers import uid_fault
from domain.limits import Limits
from processes.commit_storage import Commitments

PATH = "/commitment-requests/{transaction_uid}"
_LOG = logging.getLogger("annals.http.commitments")
_RESULT = "the result of a storage commitment is"
_SENT = (JSON, PLAIN_JSON, XML)
_WHICH = {
    "description": "Which instances are kept safe, and which are not",
    "content": {JSON: {}, PLAIN_JSON: {}, XML: {}, MULTIPART_RELATED: {}},
}
_NOT_YET = {"description": "It is not decided yet: ask the same URL with GET"}
_AWAY = {"description": "Come again"}
_NOT_ACCEPTABLE = {"description": "No acceptable media type"}
_ASKED: dict[int | str, dict[str, Any]] = {
    200: _WHICH,
    202: _NOT_YET,
    400: {"description": "The request has faults, or names no instance or too many"},
    403: {"description": "The asker may not store"},
    406: _NOT_ACCEPTABLE,
    409: {"description": "The Transaction UID is in use"},
    413: {"description": "The body is too large"},
    415: {"description": "The media type of the body is not one of a data set"},
    503: _AWAY,
}
_LOOKED: dict[int | str, dict[str, Any]] = {
    200: _WHICH,
    202: _NOT_YET,
    400: {"description": "The request has faults"},
    403: {"description": "The asker may not store"},
    404: {"description": "No storage commitment was asked for under this Transaction UID"},
    406: _NOT_ACCEPTABLE,
    503: _AWAY,
}
_REQUEST_BODY = {
    "required": True,
    "content": {
        JSON: {"schema": REQUEST_SCHEMA},
        **{key: {"schema": {"type": "string", "format": "binary"}} for key in (XML, MULTIPART_RELATED)},
    },
}


def create_router(commitments: Commitments, limits: Limits, authorise: Authorise) -> APIRouter:
    """The transactions Request (13.4) and Result Check (13.5)."""
    router = APIRouter()
    service = _CommitmentService(commitments, limits)
    uploader = allowed(authorise, Right.UPLOAD)

    async def ask(request: Request, transaction_uid: str, by: Actor = uploader) -> Response:
        """Ask that instances be kept safe."""
        return await service.ask(request, _valid(transaction_uid), by)

    async def look(request: Request, transaction_uid: str) -> Response:
        """Look what was decided."""
        return await in_stream_thread(service.look, request, _valid(transaction_uid))

    router.add_api_route(
        PATH,
        ask,
        methods=["POST"],
        response_class=Response,
        responses=_ASKED,
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    router.add_api_route(
        PATH, look, methods=["GET"], dependencies=[uploader], response_class=Response, responses=_LOOKED
    )
    return router


class _CommitmentService:
    """What is shared by the requests of a process."""

    def __init__(self, commitments: Commitments, limits: Limits) -> None:
        self._commitments = commitments
        self._limits = limits
        # Apart from the threads of other requests: whole files are read.
        self._deciding = ThreadPoolExecutor(limits.commitment_decisions_max, "commitment")

    async def ask(self, request: Request, transaction_uid: str, by: Actor) -> Response:
        """Take a request on and answer it, with 202 where deciding takes longer than anybody waits."""
        wanted, in_parts = model_type(request, _RESULT)
        sent = _content_type(request.headers.get("content-type", ""), (*_SENT, MULTIPART_RELATED))
        try:
            body = await self._body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        asked = await in_stream_thread(self._request, transaction_uid, body, sent, by)
        known = None
        if len(asked.references) <= self._limits.commitment_at_once_max:
            known = await self._decided(transaction_uid)
        return await in_stream_thread(_answer, request, known, wanted, in_parts=in_parts)

    def look(self, request: Request, transaction_uid: str) -> Response:
        """What became of a request. Raises NotThere, also where it was not asked for over the web."""
        wanted, in_parts = model_type(request, _RESULT)
        known = self._commitments.known(transaction_uid)
        if known.requested.ae_title:
            raise NotThere("no storage commitment was asked for under this Transaction UID")
        return _answer(request, known, wanted, in_parts=in_parts)

    async def _body(self, request: Request) -> bytes:
        """Raises TooLarge, before the body is asked for where its length is known; ClientDisconnect."""
        most = self._limits.commitment_body_max
        too_large = "the body is longer than commitment_body_max"
        if int(request.headers.get("content-length", 0)) > most:
            raise HttpRefusal(413, too_large, {"Connection": "close"})
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise TooLarge(too_large)
        return bytes(body)

    def _request(self, transaction_uid: str, body: bytes, sent: MediaType, by: Actor) -> CommitmentRequested:
        name = sent.name
        if name == MULTIPART_RELATED:
            name, body = self._part(body, sent)
        named = list(references(read_data_set(body, name, self._limits)))
        pairs = ((one.sop_class_uid, one.sop_instance_uid) for one in named)
        kinds = checked(transaction_uid, pairs, self._limits)
        asked = CommitmentRequested(transaction_uid, "", "", kinds, placed(named))
        self._commitments.request(asked, by)
        return asked

    def _part(self, body: bytes, sent: MediaType) -> tuple[str, bytes]:
        """What the one part of a multipart body is, and its bytes. Raises 400 and 415."""
        try:
            fields, part = only_part(body, sent.parameters.get("boundary", ""), self._limits)
        except MultipartFault as fault:
            raise HttpRefusal(400, str(fault)) from None
        return _content_type(fields.get("content-type", sent.part_type), _SENT).name, part

    async def _decided(self, transaction_uid: str) -> Commitment | None:
        """The decision, or None where it is still to come: what was not begun here the worker does."""
        begun = self._deciding.submit(self._decide, transaction_uid)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(begun), self._limits.commitment_answer_seconds)
        except TimeoutError:
            return None

    def _decide(self, transaction_uid: str) -> Commitment | None:
        try:
            return self._commitments.decide(transaction_uid)
        except AnnalsError as error:
            _LOG.warning("storage commitment %s is not decided yet: %s", transaction_uid, error)
            return None


def _answer(request: Request, known: Commitment | None, wanted: str, *, in_parts: bool) -> Response:
    here = target(request)
    if known is None or known.failed is None:
        # No payload (Tables 13.4.3-1 and 13.5.3-1): where to look again, and when.
        return Response(status_code=202, headers={"Location": here, "Retry-After": str(RETRY_SECONDS)})
    body, content_type = model_document(response_module(known), wanted, in_parts=in_parts)
    headers: Mapping[str, str] = {"Content-Location": here, "Vary": "Accept"}
    return Response(body, headers=headers, media_type=content_type)


def _valid(transaction_uid: str) -> str:
    if fault := uid_fault(transaction_uid):
        raise InvalidInput([f"transaction: {fault}"])
    return transaction_uid


def _content_type(given: str, served: Sequence[str]) -> MediaType:
    """What the body, or its part, is. Raises :class:`HttpRefusal` (415)."""
    try:
        sent = media_type(given)
    except InvalidInput as error:
        raise HttpRefusal(415, f"Content-Type: {error}") from None
    if sent.name in served and (sent.name != MULTIPART_RELATED or sent.part_type in ("", *_SENT)):
        return sent
    raise HttpRefusal(415, f"a storage commitment is asked for in {JSON} or {XML}, alone or as {MULTIPART_RELATED}")
