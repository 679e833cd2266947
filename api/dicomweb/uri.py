"""The URI service (WADO-URI, PS3.18 section 9): one instance, as it is shown or as it is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from api.dicomweb.acceptable import DICOM
from api.dicomweb.outgoing import Outgoing
from api.dicomweb.rendered import check_charset, part
from api.dicomweb.rooms import Authorise, Retrieval, allowed
from api.dicomweb.showing import answer, etag, unchanged
from api.dicomweb.targets import found, url_of
from api.dicomweb.uri_parameters import UriRequest, uri_request
from api.file_stream import FileStream, in_stream_thread
from api.origin import service_root
from api.problems import HttpRefusal
from api.ranges import is_known
from domain.attributes import Level
from domain.device import Right
from domain.errors import InvalidInput, NotAcceptable
from domain.rendering import GIF, HTML, JPEG, PLAIN, PNG, Rendering, is_presentation_state
from processes.presentation_states import Presented
from processes.retrieve import Wanted

_LEVELS = (Level.STUDY, Level.SERIES, Level.IMAGE)
_CONTENT: dict[str, Any] = {name: {} for name in (JPEG, PNG, GIF, HTML, PLAIN, DICOM)}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The instance", "content": _CONTENT},
    206: {"description": "The ranges of what is shown that were asked for", "content": _CONTENT},
    304: {"description": "The asker has it"},
    400: {"description": "The request has faults: all are named"},
    403: {"description": "The asker may not retrieve"},
    404: {"description": "There is no such instance or frame"},
    406: {"description": "It cannot be had in an acceptable media type or transfer syntax"},
    412: {"description": "It is another than the asker means"},
    416: {"description": "There are no such bytes"},
    503: {"description": "Come again"},
}
_PARAMETERS = [
    {"name": name, "in": "query", "required": required, "schema": {"type": "string"}}
    for required, names in (
        (True, "requestType studyUID seriesUID objectUID"),
        (False, "contentType charset anonymize annotation rows columns region windowCenter windowWidth frameNumber"),
        (False, "imageQuality presentationSeriesUID presentationUID transferSyntax"),
    )
    for name in names.split()
]


def create_router(rooms: Retrieval, authorise: Authorise) -> APIRouter:
    """``/wado``, below the service and at the root, where its clients look for it."""
    router = APIRouter(dependencies=[allowed(authorise, Right.DOWNLOAD)])

    async def wado(request: Request) -> Response:
        """Retrieve an instance, rendered or as it is."""
        return await in_stream_thread(_answer, rooms, request)

    router.add_api_route(
        "/wado",
        wado,
        methods=["GET"],
        response_class=Response,
        responses=_ANSWERS,
        openapi_extra={"parameters": _PARAMETERS},
    )
    return router


def _answer(rooms: Retrieval, request: Request) -> Response:
    asked = uri_request(request.scope["query_string"], request.headers.getlist("accept"), rooms.limits)
    check_charset([asked.charset] if asked.charset else [])
    if asked.anonymize:
        raise HttpRefusal(406, "this server does not anonymize what it gives out (9.4.2.3)")
    (wanted,) = found(rooms, *asked.uids)
    if asked.rendering is not None:
        try:
            return _shown(rooms, request, wanted, asked.rendering, asked)
        except NotAcceptable:
            if not asked.may_be_object:
                raise
    return _object(request, Outgoing(rooms, [wanted], [(asked.transfer_syntax, 1.0)]))


def _object(request: Request, outgoing: Outgoing) -> Response:
    """The instance as a file; its media type has no parameters here (9.1.3)."""
    one = outgoing.first
    headers = {
        "Content-Type": DICOM,
        "Content-Length": str(one.length),
        "Content-Location": url_of(service_root(request), one.wanted),
        "Content-Disposition": f'attachment; filename="{one.sop_instance_uid}.dcm"',
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return FileStream((piece for each in outgoing.each() for piece in each.pieces()), headers=headers)


def _shown(rooms: Retrieval, request: Request, wanted: Wanted, rendering: Rendering, asked: UriRequest) -> Response:
    notes: list[str] = []
    one = Presented(wanted, rendering.frame)
    if asked.presentation:
        one = _presented(rooms, wanted, asked.uids[0], *asked.presentation)
    elif is_presentation_state(wanted.sop_class_uid):
        if asked.for_images:
            raise InvalidInput([f"{name}: is not for a presentation state (9.5.2.3)" for name in asked.for_images])
        one, *others = rooms.presentation_states.presented(wanted)
        if others:
            notes.append("Only the first image of the presentation state is shown: its rendered resource has all")
    tag = etag([one.image, *([one.state] if one.state else ())], rendering)
    if is_known(request, tag):
        return unchanged(tag)
    return answer(request, [part(rooms, request, one, rendering)], (), tag, rooms.limits, notes)


def _presented(rooms: Retrieval, image: Wanted, *uids: str) -> Presented:
    """The image with the presentation state of these UIDs. Raises 400 where there is none for it (9.5.2.3)."""
    states = rooms.retriever.under({level: (uid,) for level, uid in zip(_LEVELS, uids, strict=True)})
    if not states or not is_presentation_state(states[0].sop_class_uid):
        raise InvalidInput(["presentationUID: there is no such presentation state"])
    for one in rooms.presentation_states.presented(states[0]):
        if one.image.sop_instance_uid == image.sop_instance_uid:
            return one
    raise InvalidInput(["presentationUID: the presentation state does not refer to the object"])
