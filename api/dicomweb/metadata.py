"""WADO-RS of metadata (PS3.18 10.4.1.1.2, 10.4.3.3.2): JSON from what is prepared, or XML of it."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from api.dicomweb.media_types import MULTIPART_RELATED, accepts_gzip
from api.dicomweb.model_types import JSON, PLAIN_JSON, XML, model_type
from api.dicomweb.multipart import MultipartWriter
from api.dicomweb.native_xml import native_xml
from api.dicomweb.rooms import Authorise, Retrieval, allowed
from api.dicomweb.targets import LEVELS, add_resource, found
from api.file_stream import FileStream
from api.origin import service_root
from api.pieces import Piece
from api.problems import HttpRefusal
from api.ranges import is_known
from domain.device import Right
from processes.metadata import with_base
from processes.retrieve import Wanted

_MODEL = b"2"
"""Part of every ETag: another number where the same objects are told of differently."""

_GZIP_LEVEL = 1
_GZIP_WINDOW = 31
_CONTENT: dict[str, Any] = {JSON: {}, PLAIN_JSON: {}, MULTIPART_RELATED: {}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metadata", "content": _CONTENT},
    206: {"description": "That of the instances that can be read", "content": _CONTENT},
    304: {"description": "The asker has it"},
    400: {"description": "The request has faults: all are named"},
    403: {"description": "The asker may not retrieve"},
    404: {"description": "There is no such study, series or instance"},
    406: {"description": "No acceptable media type"},
    412: {"description": "It is another than the asker means"},
    413: {"description": "More instances than one answer holds"},
    503: {"description": "Come again"},
}


def create_router(rooms: Retrieval, authorise: Authorise) -> APIRouter:
    """The resources of Table 10.4.1-2."""
    router = APIRouter(dependencies=[allowed(authorise, Right.DOWNLOAD)])
    for path, what in LEVELS.items():
        add_resource(router, f"{path}/metadata", f"Retrieve the metadata of {what}", _answer, rooms, _ANSWERS)
    return router


def _answer(rooms: Retrieval, request: Request, *uids: str) -> Response:
    media_type, _ = model_type(request, "metadata is")
    wanted = found(rooms, *uids)
    service = service_root(request)
    gzipped = accepts_gzip(request.headers.getlist("accept-encoding"))
    etag = _etag(wanted, service, media_type, gzipped)
    headers = {"Cache-Control": "no-cache", "Vary": "Accept, Accept-Encoding", "ETag": etag}
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    lines = rooms.metadata.lines(wanted)
    if len(uids) == len(LEVELS):
        # One instance is not worth preparing its series for.
        made = list(lines)
        lines, unreadable = iter(made), len(wanted) - sum(map(len, made))
    else:
        unreadable = rooms.metadata.prepare(wanted)
    if unreadable == len(wanted):
        raise HttpRefusal(500, "none of the instances can be read; it was recorded")
    if unreadable:
        del headers["ETag"]
        headers["Warning"] = f"299 {service}: {unreadable} of the instances cannot be read"
    if media_type == XML:
        writer = MultipartWriter()
        headers["Content-Type"] = writer.content_type(XML)
        body = _xml(lines, service, writer)
    else:
        headers["Content-Type"] = media_type
        body = _json(lines, service)
    if gzipped:
        headers["Content-Encoding"] = "gzip"
        body = _gzip(body)
    return FileStream(body, 206 if unreadable else 200, headers)


def _json(lines: Iterator[list[bytes]], service: str) -> Generator[Piece]:
    before = b"["
    for some in lines:
        yield before + with_base(b",".join(some), service)
        before = b","
    yield b"]"


def _xml(lines: Iterator[list[bytes]], service: str, writer: MultipartWriter) -> Generator[Piece]:
    for some in lines:
        for line in some:
            document = native_xml(orjson.loads(with_base(line, service)))
            yield writer.begin({"Content-Type": XML, "Content-Length": str(len(document))}) + document
    yield writer.end


def _gzip(body: Generator[Piece]) -> Generator[Piece]:
    """The body compressed on the way: what is prepared is compressed too, but without the service's public URL."""
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    for piece in body:
        assert isinstance(piece, bytes)
        if compressed := compressor.compress(piece):
            yield compressed
    yield compressor.flush()


def _etag(wanted: Sequence[Wanted], service: str, media_type: str, gzipped: bool) -> str:
    """What the answer depends on, without making it. Weak where a new boundary makes other bytes of the same."""
    hashed = hashlib.sha256(b"\n".join((_MODEL, service.encode(), media_type.encode(), b"gzip" if gzipped else b"")))
    for one in wanted:
        hashed.update(bytes.fromhex(one.content.digest))
    return f'{"W/" if media_type == XML else ""}"{hashed.hexdigest()[:32]}"'
