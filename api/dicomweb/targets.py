"""What a URL of the studies service names (PS3.18 10.1): the instances there, and the URL of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from api.dicomweb.rooms import Retrieval
from api.file_stream import in_stream_thread
from api.origin import target
from api.problems import HttpRefusal
from domain.attributes import Level
from domain.errors import InvalidInput
from domain.identifiers import uid_fault
from processes.metadata import location
from processes.retrieve import Wanted

INSTANCE = "/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}"
LEVELS = {
    "/studies/{study_uid}": "a study",
    "/studies/{study_uid}/series/{series_uid}": "a series",
    INSTANCE: "an instance",
}
"""The paths of resources, and what is there (Table 10.4.1-1)."""

RETRIEVED_HEADERS = {"Cache-Control": "no-cache", "Vary": "Accept", "X-Content-Type-Options": "nosniff"}
"""With whatever is retrieved as it is stored."""

_LEVELS = (Level.STUDY, Level.SERIES, Level.IMAGE)
_UIDS = ("study_uid", "series_uid", "instance_uid")


def add_resource(
    router: APIRouter,
    path: str,
    summary: str,
    work: Callable[..., Response],
    rooms: Retrieval,
    answers: dict[int | str, dict[str, Any]],
    parameters: Sequence[Mapping[str, Any]] = (),
) -> None:
    """A resource to be retrieved: ``work`` gets the rooms, the request and the UIDs of its path, in a thread.

    An answer that holds it says which it is (8.4.2: Content-Location), unless ``work`` has said it more closely.
    """

    async def retrieve(request: Request) -> Response:
        uids = (request.path_params[name] for name in _UIDS if name in request.path_params)
        answer = await in_stream_thread(work, rooms, request, *uids)
        if answer.status_code in (200, 206):
            answer.headers.setdefault("Content-Location", target(request))
        return answer

    router.add_api_route(
        path,
        retrieve,
        methods=["GET"],
        summary=summary,
        response_class=Response,
        responses=answers,
        openapi_extra={"parameters": list(parameters)} if parameters else None,
    )


def found(rooms: Retrieval, *uids: str) -> list[Wanted]:
    """The instances under a study, a series of it or an instance of that, in reading order.

    Raises InvalidInput for what is no UID, 404 where there is nothing, Refused (A701) for more than can be counted.
    """
    faults = [
        f"{level.name.lower()}: {fault}" for level, uid in zip(_LEVELS, uids, strict=False) if (fault := uid_fault(uid))
    ]
    if faults:
        raise InvalidInput(faults)
    wanted = rooms.retriever.under({level: (uid,) for level, uid in zip(_LEVELS, uids, strict=False)})
    if not wanted:
        # Never told apart: unknown, elsewhere, taken away (B52).
        raise HttpRefusal(404, "there is no such study, series or instance")
    return wanted


def url_of(service: str, wanted: Wanted) -> str:
    """The URL of an instance."""
    return service + location(wanted)
