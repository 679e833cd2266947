"""WADO-RS of bulk data (PS3.18 10.4.1.1.5, 10.4.3.3.5): what a BulkDataURI names, in ranges, or all there is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from api.dicomweb.frames import pixels_of
from api.dicomweb.media_types import MULTIPART_RELATED, accepted
from api.dicomweb.multipart import MultipartWriter
from api.dicomweb.outgoing import unreadable
from api.dicomweb.rooms import Authorise, Retrieval, allowed
from api.dicomweb.targets import INSTANCE, LEVELS, RETRIEVED_HEADERS, add_resource, found, url_of
from api.file_stream import FileStream
from api.origin import service_root
from api.pieces import Incomplete, Piece
from api.problems import HttpRefusal
from api.ranged import Ranged, in_ranges, sent
from api.ranges import Range, content_range, is_known, wanted_ranges
from domain.device import Right
from domain.errors import Because, Refused
from domain.frame_media import OCTETS, SYNTAXES
from domain.transcoding import EXPLICIT
from processes.bulk_data import PlainValue, can_be_plain
from processes.metadata import bulk_data_uris
from processes.retrieve import Wanted

_PATH = re.compile(r"[0-9A-F]{8}(/[1-9][0-9]{0,5}/[0-9A-F]{8}){0,63}\Z")
_PIXEL_DATA = "7FE00010"
_CONTENT: dict[str, Any] = {name: {} for name in (OCTETS, MULTIPART_RELATED, "multipart/byteranges", *SYNTAXES)}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bulk data", "content": _CONTENT},
    206: {"description": "The ranges that were asked for, or what can be had", "content": _CONTENT},
    304: {"description": "The asker has it"},
    400: {"description": "The request has faults: all are named"},
    403: {"description": "The asker may not retrieve"},
    404: {"description": "There is no such bulk data"},
    406: {"description": "No acceptable media type"},
    412: {"description": "It is another than the asker means"},
    416: {"description": "The value has no such ranges"},
    503: {"description": "Come again"},
}


def create_router(rooms: Retrieval, authorise: Authorise) -> APIRouter:
    """The resources of Table 10.4.1-5, and those that BulkDataURIs name."""
    router = APIRouter(dependencies=[allowed(authorise, Right.DOWNLOAD)])
    for path, what in LEVELS.items():
        add_resource(router, f"{path}/bulkdata", f"Retrieve all bulk data of {what}", _all, rooms, _ANSWERS)
    add_resource(router, f"{INSTANCE}/bulkdata/{{path:path}}", "Retrieve one value", _one, rooms, _ANSWERS)
    return router


def _one(rooms: Retrieval, request: Request, *uids: str) -> Response:
    path = request.path_params["path"]
    if not _PATH.match(path):
        raise HttpRefusal(404, "there is no such bulk data")
    (wanted,) = found(rooms, *uids)
    if path == _PIXEL_DATA and (_wants_frames(request) or not can_be_plain(wanted)):
        return pixels_of(rooms, request, wanted)
    multipart = _wants_multipart(request)
    # A value never changes under the digest of its object; the whole, its ranges and its parts are told apart.
    etag = f'"{hashlib.sha256(f"{wanted.content.digest} {path} {multipart}".encode()).hexdigest()[:32]}"'
    headers = {**RETRIEVED_HEADERS, "ETag": etag, "Accept-Ranges": "bytes"}
    has_it = is_known(request, etag)
    # Who names a tag has had the value; any (*) is only of one that is there.
    if has_it and "*" not in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    opened = ExitStack()
    try:
        value = _opened(rooms, opened, wanted, path)
    except HttpRefusal as refusal:
        if path != _PIXEL_DATA or refusal.status != 406:
            raise
        # What cannot be decoded can still be had as it is.
        return pixels_of(rooms, request, wanted)
    try:
        if value is None:
            raise HttpRefusal(404, "there is no such bulk data")
        if has_it:
            opened.close()
            return Response(status_code=304, headers=headers)
        location = f"{url_of(service_root(request), wanted)}/bulkdata/{path}"
        headers["Content-Location"] = location
        if multipart:
            ranges = wanted_ranges(request, value.length, etag, rooms.limits.ranges_max)
            return sent(opened.close, *_in_parts(value, ranges, headers, location))
        body = Ranged(OCTETS, value.length, etag, value.value.pieces, opened.close)
        return in_ranges(request, body, headers, rooms.limits.ranges_max)
    except BaseException:
        opened.close()
        raise


def _opened(rooms: Retrieval, opened: ExitStack, wanted: Wanted, path: str) -> PlainValue | None:
    try:
        return opened.enter_context(rooms.bulk_data.opened(wanted, path.split("/")))
    except OSError as error:
        rooms.retriever.note_unreadable(wanted, error)
        raise unreadable() from error
    except Refused as error:
        if error.because is Because.CANNOT_PERFORM_SUB_OPERATIONS:
            raise HttpRefusal(406, f"the pixel data can only be had as frames: {error}") from error
        raise


def _in_parts(
    value: PlainValue, ranges: Sequence[Range] | None, headers: Mapping[str, str], location: str
) -> tuple[int, dict[str, str], Iterator[bytes]]:
    """``multipart/related``: the value as its part, or a part for each range."""
    writer = MultipartWriter()
    parts = []
    for one in ranges or [(0, value.length)]:
        fields = {"Content-Type": OCTETS, "Content-Location": location, "Content-Length": str(one[1])}
        if ranges:
            fields["Content-Range"] = content_range(one, value.length)
        parts.append((writer.begin(fields), one))
    length = sum(len(begin) + size for begin, (_, size) in parts) + len(writer.end)
    written = {"Content-Type": writer.content_type(OCTETS), "Content-Length": str(length)}
    return 206 if ranges else 200, {**headers, **written}, _framed(value, parts, writer.end)


def _framed(value: PlainValue, parts: Sequence[tuple[bytes, Range]], end: bytes) -> Iterator[bytes]:
    for begin, (first, size) in parts:
        yield begin
        yield from value.value.pieces(first, size)
    yield end


def _all(rooms: Retrieval, request: Request, *uids: str) -> Response:
    """Each value as a part, with the URI that metadata gives it; the first is there before anything is answered."""
    if not _wants_multipart(request, only=True):
        raise HttpRefusal(406, f'all bulk data is answered as {MULTIPART_RELATED}; type="{OCTETS}"')
    wanted = found(rooms, *uids)
    service = service_root(request)
    fitting = [one for one in wanted if can_be_plain(one)]
    missing = len(wanted) - len(fitting)
    failures: list[Exception] = []
    writer = MultipartWriter()
    pieces = _each(rooms, fitting, service, writer, failures)
    first = next(pieces, None)
    if first is None:
        if failures:
            raise failures[0]
        if missing:
            raise HttpRefusal(406, "the pixel data can only be had as frames")
        raise HttpRefusal(404, "there is no bulk data")
    headers = {**RETRIEVED_HEADERS, "Content-Type": writer.content_type(OCTETS)}
    if missing:
        headers["Warning"] = f"299 {service}: the pixel data of {missing} instances can only be had as frames"
    return FileStream(_whole(first, pieces, writer, failures), 206 if missing else 200, headers)


def _whole(
    first: Piece, rest: Generator[Piece], writer: MultipartWriter, failures: Sequence[Exception]
) -> Generator[Piece]:
    """All parts; without its end where some failed."""
    with closing(rest):
        yield first
        yield from rest
    if failures:
        raise Incomplete(f"{len(failures)} values or instances could not be had: {failures[0]}")
    yield writer.end


def _each(
    rooms: Retrieval, wanted: Sequence[Wanted], service: str, writer: MultipartWriter, failures: list[Exception]
) -> Generator[Piece]:
    """The parts of what can be had; ``failures`` gets the others."""
    known = {one.sop_instance_uid: one for one in wanted}
    told = 0
    for lines in rooms.metadata.lines(wanted):
        for line in lines:
            told += 1
            for uri in bulk_data_uris(orjson.loads(line)):
                resource, _, path = uri.partition("/bulkdata/")
                with ExitStack() as opened:
                    try:
                        value = _opened(rooms, opened, known[resource.rpartition("/")[2]], path)
                    except HttpRefusal as refusal:
                        failures.append(refusal)
                        continue
                    if value is None:
                        raise Incomplete("a value that the metadata names is not there")
                    fields = {"Content-Type": OCTETS, "Content-Location": f"{service}{uri}"}
                    yield writer.begin({**fields, "Content-Length": str(value.length)})
                    yield from value.value.pieces(0, value.length)
    failures.extend(unreadable() for _ in range(len(wanted) - told))


def _wants_frames(request: Request) -> bool:
    """Whether pixel data is wanted most as it is compressed, in a media type or transfer syntax of Table 8.7.3-5."""
    for one in accepted(request.headers.getlist("accept"), request.query_params.getlist("accept")):
        name = one.part_type if one.name == MULTIPART_RELATED else one.name
        if name.startswith(("image/", "video/")) or one.parameters.get("transfer-syntax", EXPLICIT) != EXPLICIT:
            return True
        if name in ("", "*/*", "application/*", OCTETS):
            return False
    return False


def _wants_multipart(request: Request, *, only: bool = False) -> bool:
    """Whether the answer is ``multipart/related``; a single part where both are equal (8.7.3.3). Raises 406."""
    for one in accepted(request.headers.getlist("accept"), request.query_params.getlist("accept")):
        if one.covers(OCTETS) and not only:
            return False
        if one.covers(MULTIPART_RELATED) and one.part_type in ("", OCTETS, "*/*"):
            return True
    if only:
        return False
    raise HttpRefusal(406, f'bulk data is answered as {OCTETS} or {MULTIPART_RELATED}; type="{OCTETS}"')
