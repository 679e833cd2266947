"""WADO-RS of instances (PS3.18 10.4): a study, a series or an instance as multipart/related, one file or a ZIP."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from fastapi import APIRouter, Request, Response

from api.dicomweb.acceptable import DICOM, ZIP, Form, acceptable
from api.dicomweb.media_types import MULTIPART_RELATED
from api.dicomweb.multipart import MultipartWriter
from api.dicomweb.outgoing import Outgoing
from api.dicomweb.rooms import Authorise, Retrieval, allowed
from api.dicomweb.targets import LEVELS, RETRIEVED_HEADERS, add_resource, found, url_of
from api.dicomweb.zip_archive import names_of, zipped
from api.file_stream import FileStream
from api.origin import service_root
from api.pieces import Piece
from domain.device import Right
from processes.retrieve import Wanted

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The instances", "content": {MULTIPART_RELATED: {}, DICOM: {}, ZIP: {}}},
    206: {"description": "Those of the instances that can be had", "content": {MULTIPART_RELATED: {}, ZIP: {}}},
    400: {"description": "The request has faults: all are named"},
    403: {"description": "The asker may not retrieve"},
    404: {"description": "There is no such study, series or instance"},
    406: {"description": "No acceptable media type or transfer syntax"},
    413: {"description": "More instances than one answer holds"},
    503: {"description": "Come again"},
}


def create_router(rooms: Retrieval, authorise: Authorise) -> APIRouter:
    """The resources of Table 10.4.1-1."""
    router = APIRouter(dependencies=[allowed(authorise, Right.DOWNLOAD)])
    for path, what in LEVELS.items():
        add_resource(router, path, f"Retrieve {what}", _answer, rooms, _ANSWERS)
    return router


def _answer(rooms: Retrieval, request: Request, *uids: str) -> Response:
    asked = acceptable(request, one_instance=len(uids) == len(LEVELS))
    outgoing = Outgoing(rooms, found(rooms, *uids), asked.syntaxes)
    service = service_root(request)
    headers = dict(RETRIEVED_HEADERS)
    if outgoing.missing:
        headers["Warning"] = f"299 {service}: {outgoing.missing} of the instances cannot be had, or not as asked for"
    if asked.form is Form.SINGLE:
        return _single(outgoing, service, headers)
    if asked.form is Form.ZIP:
        headers |= {"Content-Type": ZIP, "Content-Disposition": f'attachment; filename="{uids[-1]}.zip"'}
        return FileStream(zipped(outgoing, names_of(rooms, uids[0])), 206 if outgoing.missing else 200, headers)
    return _multipart(outgoing, service, headers)


def _single(outgoing: Outgoing, service: str, headers: dict[str, str]) -> Response:
    one = outgoing.first
    headers |= _fields(service, one.wanted, one.stored.transfer_syntax_uid, one.length)
    headers["Content-Disposition"] = f'attachment; filename="{one.sop_instance_uid}.dcm"'
    return FileStream((piece for each in outgoing.each() for piece in each.pieces()), headers=headers)


def _multipart(outgoing: Outgoing, service: str, headers: dict[str, str]) -> Response:
    writer = MultipartWriter()
    headers["Content-Type"] = writer.content_type(DICOM)
    lengths = outgoing.lengths()
    if lengths is not None:
        begins = (
            writer.begin(_fields(service, one, one.content.transfer_syntax_uid, length)) for one, length in lengths
        )
        framing = sum(map(len, begins)) + len(writer.end)
        headers["Content-Length"] = str(framing + sum(length for _, length in lengths))

    def body() -> Generator[Piece]:
        for one in outgoing.each():
            yield writer.begin(_fields(service, one.wanted, one.stored.transfer_syntax_uid, one.length))
            yield from one.pieces()
        yield writer.end

    return FileStream(body(), 206 if outgoing.missing else 200, headers)


def _fields(service: str, one: Wanted, syntax: str, length: int) -> dict[str, str]:
    return {
        "Content-Type": f"{DICOM}; transfer-syntax={syntax}",
        "Content-Length": str(length),
        "Content-Location": url_of(service, one),
    }
