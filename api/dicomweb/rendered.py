"""Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4): studies, series, instances and frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from api.dicomweb.frames import asked_frames
from api.dicomweb.media_types import MediaType, accepted
from api.dicomweb.outgoing import unreadable
from api.dicomweb.rendering_parameters import media_types_of, rendering_parameters, thumbnail_parameters
from api.dicomweb.rooms import Authorise, Retrieval, allowed
from api.dicomweb.showing import Part, answer, etag, unchanged
from api.dicomweb.targets import INSTANCE, LEVELS, add_resource, found, url_of
from api.origin import service_root
from api.problems import HttpRefusal
from api.ranges import is_known
from domain.device import Right
from domain.errors import InvalidInput, NotAcceptable, NotThere
from domain.rendering import (
    ALL_FRAMES,
    GIF,
    HTML,
    IMAGES,
    JPEG,
    PLAIN,
    PNG,
    REPRESENTATIVE,
    Rendering,
    chosen,
    is_presentation_state,
)
from processes.pixel_ports import Shown
from processes.presentation_states import Presented
from processes.retrieve import Wanted

_NOT_FOR_DIAGNOSIS = "A thumbnail is not for diagnosis"
_CONTENT: dict[str, Any] = {name: {} for name in (JPEG, PNG, GIF, HTML, PLAIN)}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "What the resource is shown as", "content": _CONTENT},
    206: {"description": "The ranges of it that were asked for", "content": _CONTENT},
    304: {"description": "The asker has it"},
    400: {"description": "The request has faults: all are named"},
    403: {"description": "The asker may not retrieve"},
    404: {"description": "There is no such resource"},
    406: {"description": "It cannot be shown in an acceptable media type"},
    412: {"description": "It is another than the asker means"},
    416: {"description": "There are no such bytes"},
    503: {"description": "Come again"},
}
_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("accept", "charset", "window", "viewport", "quality", "annotation", "iccprofile")
]


def create_router(rooms: Retrieval, authorise: Authorise) -> APIRouter:
    """The resources at every level."""
    router = APIRouter(dependencies=[allowed(authorise, Right.DOWNLOAD)])
    for path, what in (LEVELS | {f"{INSTANCE}/frames/{{frames}}": "frames"}).items():
        for name, summary, work in (
            ("rendered", f"Retrieve {what} as it is shown", _rendered),
            ("thumbnail", f"Retrieve a small picture of {what}", _thumbnail),
        ):
            add_resource(router, f"{path}/{name}", summary, work, rooms, _ANSWERS, _PARAMETERS)
    return router


def _rendered(rooms: Retrieval, request: Request, *uids: str) -> Response:
    frames = asked_frames(rooms, request) or [ALL_FRAMES]
    wanted = negotiated(request)
    query_string = request.scope["query_string"]
    asked = rendering_parameters(query_string, media_types_of(wanted), rooms.limits)
    named = found(rooms, *uids)
    parts: list[Part] = []
    shown: list[Wanted] = []
    for one in named:
        if not is_presentation_state(one.sop_class_uid):
            shown.append(one)
            parts += (part(rooms, request, Presented(one, frame), asked) for frame in frames)
        elif len(uids) > 1:
            # Of a study's images each is shown once, as it is.
            try:
                presented = _presented(rooms, request, one, asked)
            except NotAcceptable:
                if len(named) == 1:
                    raise
                continue
            shown += (one, *(each.image for each in presented))
            parts += (part(rooms, request, each, asked) for each in presented)
    tag = etag(shown, asked, frames)
    if is_known(request, tag):
        return unchanged(tag)
    if len(frames) > 1:
        parts = _with_last_frame(rooms, parts, named[0], asked, frames)
    return answer(request, parts, wanted, tag, rooms.limits)


def _presented(rooms: Retrieval, request: Request, state: Wanted, asked: Rendering) -> list[Presented]:
    """What a presentation state shows. Raises 400 and 404 for what only an image can be asked for."""
    faults = [
        f"{name}: is not for a presentation state (8.3.5.1)"
        for name, value in (("window", asked.window), ("viewport", asked.region))
        if value is not None
    ]
    if faults:
        raise InvalidInput(faults)
    if "frames" in request.path_params:
        raise NotThere("a presentation state has no frames")
    return rooms.presentation_states.presented(state)


def part(rooms: Retrieval, request: Request, one: Presented, asked: Rendering) -> Part:
    """One object to be shown."""
    frame = f"/frames/{one.frame}" if one.frame > REPRESENTATIVE and one.state is None else ""
    location = f"{url_of(service_root(request), one.state or one.image)}{frame}/rendered"
    return Part(location, lambda: show(rooms, one.image, replace(asked, frame=one.frame), one.state))


def show(rooms: Retrieval, wanted: Wanted, asked: Rendering, state: Wanted | None = None) -> Shown:
    """The object as it is asked for. What cannot be read is recorded (F14)."""
    try:
        return rooms.renderer.shown(wanted, asked, state)
    except OSError as error:
        rooms.retriever.note_unreadable(wanted, error)
        raise unreadable() from error


def _with_last_frame(
    rooms: Retrieval, parts: list[Part], wanted: Wanted, asked: Rendering, frames: Sequence[int]
) -> list[Part]:
    """The last frame is shown before the answer begins: where it is there, all are, and none is missing half-way."""
    last = frames.index(max(frames))
    shown = show(rooms, wanted, replace(asked, frame=frames[last]))
    parts[last] = Part(parts[last].location, lambda: shown)
    return parts


def _thumbnail(rooms: Retrieval, request: Request, *uids: str) -> Response:
    frames = asked_frames(rooms, request)
    wanted = negotiated(request)
    asked = thumbnail_parameters(request.scope["query_string"], media_types_of(wanted), rooms.limits)
    named = found(rooms, *uids)
    is_one = len(uids) == len(LEVELS)
    frame = frames[0] if frames else REPRESENTATIVE
    if is_one and is_presentation_state(named[0].sop_class_uid):
        candidates = _presented(rooms, request, named[0], asked)[:1]
    else:
        candidates = [Presented(one, frame) for one in (named if is_one else rooms.renderer.representing(*uids))]
    tag = etag([*(one.image for one in candidates), *(one.state for one in candidates if one.state)], asked, frame)
    if is_known(request, tag):
        return unchanged(tag)
    shown = _first_shown(rooms, candidates, asked, keeps=not is_one)
    location = f"{service_root(request)}/studies{request.scope['path'].partition('/studies')[2]}"
    return answer(request, [Part(location, lambda: shown)], wanted, tag, rooms.limits, [_NOT_FOR_DIAGNOSIS])


def _first_shown(rooms: Retrieval, candidates: Sequence[Presented], asked: Rendering, *, keeps: bool) -> Shown:
    """The first of the candidates that can be shown as a picture. ``keeps``: it stands for a series or study."""
    pictures = tuple(one for one in asked.media_types if one == "*/*" or one.startswith("image/"))
    if not pictures:
        raise NotAcceptable(f"thumbnails are shown as {', '.join(IMAGES)}")
    pictures = tuple("image/*" if one == "*/*" else one for one in pictures)
    if keeps and replace(asked, media_types=(chosen(pictures, IMAGES),)) == rooms.thumbnails.kept:
        with suppress(OSError):
            return rooms.thumbnails.of([one.image for one in candidates])
    for one in candidates:
        try:
            return show(rooms, one.image, replace(asked, media_types=pictures, frame=one.frame), one.state)
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
