"""WADO-RS of pixel data (PS3.18 10.4.1.1.6, 10.4.3.3.6): of studies, series and instances, and their frames."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any

from fastapi import APIRouter, Request, Response

from api.dicomweb.frame_parts import WHOLE, FramePart, FrameSource
from api.dicomweb.media_types import MULTIPART_RELATED, MediaType, accepted
from api.dicomweb.multipart import MultipartWriter
from api.dicomweb.rooms import Authorise, Retrieval, allowed
from api.dicomweb.targets import INSTANCE, LEVELS, RETRIEVED_HEADERS, add_resource, found, url_of
from api.file_stream import FileStream
from api.origin import service_root
from api.pieces import Incomplete, Piece, cut
from api.problems import HttpRefusal
from api.ranged import Ranged, in_ranges, sent
from api.ranges import is_known
from domain.device import Right
from domain.errors import AnnalsError, Because, InvalidInput, NotThere, Refused, ToldTogether
from domain.frame_media import ANYTHING, OCTETS, SYNTAXES, frame_order
from domain.transcoding import WEB_DEFAULT
from processes.retrieve import Wanted

_CONTENT: dict[str, Any] = {name: {} for name in (MULTIPART_RELATED, "multipart/byteranges", OCTETS, *SYNTAXES)}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The pixel data", "content": _CONTENT},
    206: {"description": "That of the instances of which it can be had, or the ranges", "content": _CONTENT},
    304: {"description": "The asker has it"},
    400: {"description": "The request has faults: all are named"},
    403: {"description": "The asker may not retrieve"},
    404: {"description": "There is no such instance, or no pixel data"},
    406: {"description": "No acceptable media type or transfer syntax"},
    412: {"description": "It is another than the asker means"},
    416: {"description": "There are no such bytes"},
    503: {"description": "Come again"},
}
_NOT_SO = "the frames cannot be had as they were asked for"
_LOG = logging.getLogger("annals.http")


Form = tuple[bool, str, str, float]
"""Whether a range of Accept asks for a single part, its media type and transfer syntax, its weight."""


def create_router(rooms: Retrieval, authorise: Authorise) -> APIRouter:
    """The resources of Table 10.4.1-6."""
    router = APIRouter(dependencies=[allowed(authorise, Right.DOWNLOAD)])
    for path, what in LEVELS.items():
        work = _of_one if path == INSTANCE else _of_all
        add_resource(router, f"{path}/pixeldata", f"Retrieve all pixel data of {what}", work, rooms, _ANSWERS)
    add_resource(
        router, f"{INSTANCE}/frames/{{frames}}", "Retrieve frames by number, from 1 on", _of_one, rooms, _ANSWERS
    )
    return router


def asked_frames(rooms: Retrieval, request: Request) -> list[int]:
    """The frame numbers that the URL names (10.4.1.1.5): positive, each once; none where it has none.

    Raises InvalidInput.
    """
    text, maximum = request.path_params.get("frames"), rooms.limits.frames_a_request_max
    if text is None:
        return []
    parts = text.split(",", maximum)
    if len(parts) > maximum:
        raise InvalidInput([f"frames: more than frames_a_request_max ({maximum})"])
    if not all(part.isascii() and part.isdigit() and len(part) < 10 and int(part) for part in parts):
        raise InvalidInput(["frames: is not a list of numbers from 1 on, separated by commas"])
    numbers = [int(part) for part in parts]
    if len(set(numbers)) != len(numbers):
        raise InvalidInput(["frames: names a frame twice"])
    return numbers


def pixels_of(rooms: Retrieval, request: Request, wanted: Wanted, asked: Sequence[int] = ()) -> Response:
    """The frames of an instance, all where none is named, as they are acceptable. Raises 400, 404, 406."""
    source = FrameSource(rooms, wanted)
    try:
        if asked and max(asked) > source.count:
            raise InvalidInput([f"frames: the instance has {source.count}"])
        is_single, first, rest = _chosen(source, _forms(request), asked)
    except BaseException:
        source.close()
        raise
    url = url_of(service_root(request), wanted)
    if is_single:
        return _single(rooms, request, wanted, url, first, rest, is_stored=first.transfer_syntax_uid == source.syntax)
    writer = MultipartWriter()
    headers = RETRIEVED_HEADERS | {"Content-Type": writer.content_type(first.media_type)}
    return FileStream(_body(writer, ((url, part) for part in chain((first,), rest))), headers=headers)


def _single(
    rooms: Retrieval,
    request: Request,
    wanted: Wanted,
    url: str,
    part: FramePart,
    rest: Generator[FramePart],
    *,
    is_stored: bool,
) -> Response:
    """The only part as the body: in ranges and known again where it is as it is stored, which never changes."""
    headers = RETRIEVED_HEADERS | _fields(url, part)
    if not is_stored:
        return sent(rest.close, 200, headers, iter(part.pieces))
    named = f"{wanted.content.digest} {part.resource} {headers['Content-Type']}"
    etag = f'"{hashlib.sha256(named.encode()).hexdigest()[:32]}"'
    try:
        if is_known(request, etag):
            rest.close()
            return Response(status_code=304, headers={**RETRIEVED_HEADERS, "ETag": etag})
    except BaseException:
        rest.close()
        raise
    body = Ranged(headers["Content-Type"], part.length, etag, partial(cut, part.pieces), rest.close)
    return in_ranges(request, body, headers, rooms.limits.ranges_max)


def _of_one(rooms: Retrieval, request: Request, *uids: str) -> Response:
    frames = asked_frames(rooms, request)
    (wanted,) = found(rooms, *uids)
    return pixels_of(rooms, request, wanted, frames)


def _of_all(rooms: Retrieval, request: Request, *uids: str) -> Response:
    """That of each instance that has any; what cannot be had as it is asked for is left out and told of."""
    wanted = found(rooms, *uids)
    service = service_root(request)
    forms = [form for form in _forms(request) if not form[0]]
    asked = [form[1:] for form in forms]
    fitting = [one for one in wanted if frame_order(one.content.transfer_syntax_uid, asked)]
    failures: list[Exception] = []
    parts = _of_each(rooms, fitting, forms, service, failures)
    first = next(parts, None)
    missing = len(wanted) - len(fitting) + len(failures)
    if first is None:
        if failures:
            raise failures[-1]
        raise HttpRefusal(406, _NOT_SO) if missing else HttpRefusal(404, "there is no pixel data")

    def whole() -> Generator[tuple[str, FramePart]]:
        known = len(failures)
        with closing(parts):
            yield first
            yield from parts
        if failed := len(failures) - known:
            raise Incomplete(f"the pixel data of {failed} instances could not be had")

    writer = MultipartWriter()
    headers = RETRIEVED_HEADERS | {"Content-Type": writer.content_type(first[1].media_type)}
    if missing:
        headers["Warning"] = f"299 {service}: the pixel data of {missing} instances cannot be had, or not as asked for"
    return FileStream(_body(writer, whole()), 206 if missing else 200, headers)


def _of_each(
    rooms: Retrieval, wanted: Sequence[Wanted], forms: Sequence[Form], service: str, failures: list[Exception]
) -> Generator[tuple[str, FramePart]]:
    for one in wanted:
        source: FrameSource | None = None
        try:
            source = FrameSource(rooms, one)
            _, first, rest = _chosen(source, forms, ())
            for part in chain((first,), rest):
                yield url_of(service, one), part
        except NotThere:
            continue
        except (AnnalsError, OSError) as error:
            level = logging.DEBUG if isinstance(error, ToldTogether) else logging.WARNING
            _LOG.log(level, "pixel data of instance %s cannot be sent: %s", one.sop_instance_uid, error)
            failures.append(error)
        finally:
            if source is not None:
                source.close()


def _body(writer: MultipartWriter, parts: Iterable[tuple[str, FramePart]]) -> Generator[Piece]:
    for url, part in parts:
        yield writer.begin(_fields(url, part))
        yield from part.pieces
    yield writer.end


def _forms(request: Request) -> list[Form]:
    asked = accepted(request.headers.getlist("accept"), request.query_params.getlist("accept"))
    return [form for one in asked for form in _forms_of(one)]


def _forms_of(wanted: MediaType) -> Iterator[Form]:
    """A range of images or videos is each of them (RFC 9110 12.5.1)."""
    syntax = wanted.parameters.get("transfer-syntax") or WEB_DEFAULT
    is_single = not wanted.covers(MULTIPART_RELATED)
    name = wanted.name if is_single else wanted.part_type.removeprefix("*/*") or ANYTHING
    if is_single and wanted.covers(OCTETS):
        name = OCTETS
    if not name.endswith("/*"):
        yield is_single, name, syntax, wanted.q
        return
    for media in SYNTAXES:
        if media.startswith(name[:-1]) and (wanted.covers(media) or not is_single):
            yield is_single, media, syntax, wanted.q


def _chosen(
    source: FrameSource, forms: Sequence[Form], asked: Sequence[int]
) -> tuple[bool, FramePart, Generator[FramePart]]:
    """The most wanted form, its first part, so that what cannot be had is known at once, and the others."""
    why: Exception | str = "none is supported"
    for is_single in dict.fromkeys(single for single, *_ in forms):
        these = [(media, syntax, weight) for single, media, syntax, weight in forms if single == is_single]
        for frames in frame_order(source.syntax, these):
            is_one = source.is_one and frames[1] == source.syntax
            numbers = asked or ([WHOLE] if is_one else range(1, source.count + 1))
            if is_single and len(numbers) > 1:
                why = "several frames are no single part"
                continue
            parts = source.parts(frames, numbers)
            try:
                first = next(parts)
                source.leave_to_parts()
                return is_single, first, parts
            except Refused as refused:
                if refused.because is not Because.CANNOT_PERFORM_SUB_OPERATIONS:
                    raise
                why = refused
    raise HttpRefusal(406, f"{_NOT_SO}: {why}")


def _fields(url: str, part: FramePart) -> dict[str, str]:
    return {
        "Content-Type": f"{part.media_type}; transfer-syntax={part.transfer_syntax_uid}",
        "Content-Length": str(part.length),
        "Content-Location": f"{url}/{part.resource}",
    }
