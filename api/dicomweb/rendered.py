"""Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4): studies, series, instances and frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from api.dicomweb.media_types import MediaType, accepted
from api.dicomweb.rendering_parameters import media_types_of, rendering_parameters, thumbnail_parameters
from api.dicomweb.rooms import Authorise, Rooms, allowed
from api.dicomweb.showing import Part, answer, etag, is_known, unchanged
from api.dicomweb.targets import found, url_of
from api.file_stream import in_stream_thread
from api.origin import service_root
from api.problems import HttpRefusal
from domain.device import Right
from domain.errors import InvalidInput, NotAcceptable, NotThere
from domain.rendering import ALL_FRAMES, GIF, HTML, IMAGES, JPEG, PLAIN, PNG, REPRESENTATIVE, Rendering, chosen
from processes.ports import Shown
from processes.retrieve import Wanted

_INSTANCE = "/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}"
_NOT_FOR_DIAGNOSIS = "A thumbnail is not for diagnosis"
_CONTENT: dict[str, Any] = {name: {} for name in (JPEG, PNG, GIF, HTML, PLAIN)}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "What the resource is shown as", "content": _CONTENT},
    304: {"description": "The asker has it"},
    400: {"description": "The request has faults: all are named"},
    403: {"description": "The asker may not retrieve"},
    404: {"description": "There is no such resource"},
    406: {"description": "It cannot be shown in an acceptable media type"},
    503: {"description": "Come again"},
}
_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("accept", "charset", "window", "viewport", "quality", "annotation", "iccprofile")
]


def create_router(rooms: Rooms, authorise: Authorise) -> APIRouter:
    """The resources at every level."""
    router = APIRouter(dependencies=[allowed(authorise, Right.DOWNLOAD)])

    async def rendered_study(request: Request, study_uid: str) -> Response:
        """Retrieve a study as it is shown."""
        return await in_stream_thread(_rendered, rooms, request, study_uid)

    async def rendered_series(request: Request, study_uid: str, series_uid: str) -> Response:
        """Retrieve a series as it is shown."""
        return await in_stream_thread(_rendered, rooms, request, study_uid, series_uid)

    async def rendered_instance(request: Request, study_uid: str, series_uid: str, instance_uid: str) -> Response:
        """Retrieve an instance as it is shown."""
        return await in_stream_thread(_rendered, rooms, request, study_uid, series_uid, instance_uid)

    async def rendered_frames(
        request: Request, study_uid: str, series_uid: str, instance_uid: str, frames: str
    ) -> Response:
        """Retrieve frames as they are shown."""
        return await in_stream_thread(
            _rendered, rooms, request, study_uid, series_uid, instance_uid, frames=_frames(frames, rooms)
        )

    async def study_thumbnail(request: Request, study_uid: str) -> Response:
        """Retrieve a small picture that stands for a study."""
        return await in_stream_thread(_thumbnail, rooms, request, study_uid)

    async def series_thumbnail(request: Request, study_uid: str, series_uid: str) -> Response:
        """Retrieve a small picture that stands for a series."""
        return await in_stream_thread(_thumbnail, rooms, request, study_uid, series_uid)

    async def instance_thumbnail(request: Request, study_uid: str, series_uid: str, instance_uid: str) -> Response:
        """Retrieve a small picture of an instance."""
        return await in_stream_thread(_thumbnail, rooms, request, study_uid, series_uid, instance_uid)

    async def frame_thumbnail(
        request: Request, study_uid: str, series_uid: str, instance_uid: str, frames: str
    ) -> Response:
        """Retrieve a small picture of a frame."""
        first = _frames(frames, rooms)[0]
        return await in_stream_thread(_thumbnail, rooms, request, study_uid, series_uid, instance_uid, frame=first)

    for path, rendered, thumbnail in (
        ("/studies/{study_uid}", rendered_study, study_thumbnail),
        ("/studies/{study_uid}/series/{series_uid}", rendered_series, series_thumbnail),
        (_INSTANCE, rendered_instance, instance_thumbnail),
        (f"{_INSTANCE}/frames/{{frames}}", rendered_frames, frame_thumbnail),
    ):
        for name, endpoint in (("rendered", rendered), ("thumbnail", thumbnail)):
            router.add_api_route(
                f"{path}/{name}",
                endpoint,
                methods=["GET"],
                response_class=Response,
                responses=_ANSWERS,
                openapi_extra={"parameters": _PARAMETERS},
            )
    return router


def _rendered(rooms: Rooms, request: Request, *uids: str, frames: Sequence[int] = (ALL_FRAMES,)) -> Response:
    wanted = negotiated(request)
    query_string = request.scope["query_string"]
    asked, annotations = rendering_parameters(query_string, media_types_of(wanted), rooms.limits)
    named = found(rooms, *uids)
    tag = etag(named, asked, frames)
    if is_known(request, tag):
        return unchanged(tag)
    parts = [part(rooms, request, one, replace(asked, frame=frame)) for one in named for frame in frames]
    if len(frames) > 1:
        parts = _with_last_frame(rooms, parts, named[0], asked, frames)
    return answer(request, parts, wanted, tag, notes_of(annotations))


def part(rooms: Rooms, request: Request, wanted: Wanted, asked: Rendering) -> Part:
    """One object to be shown."""
    frame = f"/frames/{asked.frame}" if asked.frame > REPRESENTATIVE else ""
    location = f"{url_of(service_root(request), wanted)}{frame}/rendered"
    return Part(location, lambda: show(rooms, wanted, asked))


def show(rooms: Rooms, wanted: Wanted, asked: Rendering) -> Shown:
    """The object as it is asked for. What cannot be read is recorded (F14)."""
    try:
        return rooms.renderer.shown(wanted, asked)
    except OSError as error:
        rooms.retriever.note_unreadable(wanted, error)
        raise HttpRefusal(500, "the stored bytes cannot be read; it was recorded") from error


def _with_last_frame(
    rooms: Rooms, parts: list[Part], wanted: Wanted, asked: Rendering, frames: Sequence[int]
) -> list[Part]:
    """The last frame is shown before the answer begins: where it is there, all are, and none is missing half-way."""
    last = frames.index(max(frames))
    shown = show(rooms, wanted, replace(asked, frame=frames[last]))
    parts[last] = Part(parts[last].location, lambda: shown)
    return parts


def notes_of(annotations: Sequence[str]) -> list[str]:
    """What is said of annotations: none is burned in (8.3.5.1.1)."""
    if not annotations:
        return []
    return [f"The following annotation values are not supported: {' '.join(annotations)}"]


def _thumbnail(rooms: Rooms, request: Request, *uids: str, frame: int = REPRESENTATIVE) -> Response:
    wanted = negotiated(request)
    asked = thumbnail_parameters(request.scope["query_string"], media_types_of(wanted), rooms.limits)
    named = found(rooms, *uids)
    candidates = named if len(uids) == 3 else rooms.renderer.representing(*uids)
    tag = etag(candidates, asked, frame)
    if is_known(request, tag):
        return unchanged(tag)
    shown = _first_shown(rooms, candidates, replace(asked, frame=frame), keeps=len(uids) < 3)
    location = f"{service_root(request)}/studies{request.scope['path'].partition('/studies')[2]}"
    return answer(request, [Part(location, lambda: shown)], wanted, tag, [_NOT_FOR_DIAGNOSIS])


def _first_shown(rooms: Rooms, candidates: Sequence[Wanted], asked: Rendering, *, keeps: bool) -> Shown:
    """The first of the candidates that can be shown as a picture. ``keeps``: it stands for a series or study."""
    pictures = tuple(one for one in asked.media_types if one == "*/*" or one.startswith("image/"))
    if not pictures:
        raise NotAcceptable(f"thumbnails are shown as {', '.join(IMAGES)}")
    pictures = tuple("image/*" if one == "*/*" else one for one in pictures)
    plain = replace(asked, media_types=(chosen(pictures, IMAGES),))
    if keeps and plain == rooms.thumbnails.kept:
        with suppress(OSError):
            return rooms.thumbnails.of(candidates)
    for one in candidates:
        try:
            return show(rooms, one, replace(asked, media_types=pictures))
        except (NotAcceptable, HttpRefusal):
            continue
    raise NotThere("there is nothing of which a thumbnail could be made")


def negotiated(request: Request) -> list[MediaType]:
    """What the asker accepts, and that UTF-8 is what texts come in."""
    check_charset(request.query_params.getlist("charset"))
    return accepted(request.headers.getlist("accept"), request.query_params.getlist("accept"))


def check_charset(charsets: Sequence[str]) -> None:
    """Raise 406 where the texts that are asked for are not UTF-8 (8.8)."""
    names = [one.partition(";")[0].strip().lower() for text in charsets for one in text.split(",")]
    if names and not any(name in ("utf-8", "utf8", "*") for name in names):
        raise HttpRefusal(406, "rendered texts are answered in UTF-8")


def _frames(text: str, rooms: Rooms) -> list[int]:
    """Frame numbers from 1 on (10.4.1.1.6). Raises :class:`InvalidInput`."""
    parts = text.split(",")
    if len(parts) > rooms.limits.frames_a_request_max:
        raise InvalidInput(["frames: are more than frames_a_request_max"])
    if not all(one.isascii() and one.isdigit() and len(one) <= 10 and int(one) > 0 for one in parts):
        raise InvalidInput(["frames: are not whole numbers from 1 on"])
    return [int(one) for one in parts]
