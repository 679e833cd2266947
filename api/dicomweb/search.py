"""QIDO-RS (PS3.18 10.6): the searches at every nesting, one room with C-FIND."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from api.dicomweb.media_types import MULTIPART_RELATED
from api.dicomweb.model_types import JSON, XML, model_type
from api.dicomweb.multipart import MultipartWriter
from api.dicomweb.native_xml import native_xml
from api.dicomweb.results import Selection, unsupported
from api.dicomweb.rooms import Authorise, Rooms, allowed
from api.dicomweb.search_parameters import Search, search_parameters
from api.origin import service_root
from api.problems import HttpRefusal
from domain.attributes import Level
from domain.device import Right
from domain.errors import InvalidInput
from domain.identifiers import uid_fault
from domain.matching import Key, query

_UPPER = {"study": "0020000D", "series": "0020000E"}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The matching resources, perhaps none", "content": {JSON: {}, MULTIPART_RELATED: {}}},
    204: {"description": "Nothing matches, and the answer would be multipart"},
    400: {"description": "The query has faults: all are named"},
    403: {"description": "The asker may not search"},
    406: {"description": "No acceptable media type"},
    413: {"description": "The search is too broad"},
    503: {"description": "Come again"},
}


def create_router(rooms: Rooms, authorise: Authorise) -> APIRouter:
    """The searches. What is shown beside a level's own attributes depends on what the URL names (10.6.3.3)."""
    router = APIRouter(dependencies=[allowed(authorise, Right.FIND)])
    study, series, image = Level.STUDY, Level.SERIES, Level.IMAGE

    def studies(request: Request) -> Response:
        """Search for studies."""
        return _answer(rooms, request, study, (study,))

    def all_series(request: Request) -> Response:
        """Search for series of all studies."""
        return _answer(rooms, request, series, (study, series))

    def all_instances(request: Request) -> Response:
        """Search for instances of all studies."""
        return _answer(rooms, request, image, (study, series, image))

    def series_of_study(request: Request, study_uid: str) -> Response:
        """Search for series of a study."""
        return _answer(rooms, request, series, (series,), study=study_uid)

    def instances_of_study(request: Request, study_uid: str) -> Response:
        """Search for instances of a study."""
        return _answer(rooms, request, image, (series, image), study=study_uid)

    def instances_of_series(request: Request, study_uid: str, series_uid: str) -> Response:
        """Search for instances of a series."""
        return _answer(rooms, request, image, (image,), study=study_uid, series=series_uid)

    for path, endpoint in (
        ("/studies", studies),
        ("/series", all_series),
        ("/instances", all_instances),
        ("/studies/{study_uid}/series", series_of_study),
        ("/studies/{study_uid}/instances", instances_of_study),
        ("/studies/{study_uid}/series/{series_uid}/instances", instances_of_series),
    ):
        router.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            response_class=Response,
            responses=_ANSWERS,
            openapi_extra={"parameters": _PARAMETERS},
        )
    return router


_PARAMETERS: list[Mapping[str, Any]] = [
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 0}},
    {"name": "offset", "in": "query", "schema": {"type": "integer", "minimum": 0}},
    {"name": "includefield", "in": "query", "schema": {"type": "string"}},
    *(
        {"name": name, "in": "query", "schema": {"type": "boolean"}}
        for name in ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
    ),
    *(
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("PatientID", "PatientName", "StudyDate", "AccessionNumber", "StudyInstanceUID", "Modality")
    ),
]


def _answer(rooms: Rooms, request: Request, level: Level, shown: tuple[Level, ...], **upper: str) -> Response:
    _check_charset(request)
    media_type, _ = model_type(request, "search results are")
    search = search_parameters(request.scope["query_string"], rooms.limits)
    keys = {**search.keys, **_upper_keys(upper, search)}
    service = service_root(request)
    asked = query(Level.PATIENT, level.name, keys, rooms.limits, relational=True, combined=True)
    found, remaining = rooms.finder.some(asked, search.offset, search.limit)
    headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
    if warnings := list(_warnings(search, level, remaining, rooms.limits.query_remaining_max)):
        headers["Warning"] = ", ".join(f"299 {service}: {text}" for text in warnings)
    if not found and media_type == XML:
        # A multipart body has at least one part (RFC 2046 5.1.1).
        return Response(status_code=204, headers=headers)
    selection = Selection(search, level, shown, service)
    records = [selection.of(record) for record in found]
    if media_type == XML:
        writer = MultipartWriter()
        return StreamingResponse(_parts(writer, records), headers=headers, media_type=writer.content_type(XML))
    return Response(orjson.dumps(records), headers=headers, media_type=media_type)


def _upper_keys(upper: Mapping[str, str], search: Search) -> dict[str, Key]:
    """The URL's UIDs as keys. Raises :class:`InvalidInput`, also where the query names another one."""
    faults = [f"{name}: {fault}" for name, uid in upper.items() if (fault := uid_fault(uid))]
    faults += [
        f"{name}: the query names another than the URL"
        for name, uid in upper.items()
        if (key := search.keys.get(_UPPER[name])) and key.values and uid not in key.values
    ]
    if faults:
        raise InvalidInput(faults)
    return {_UPPER[name]: Key("UI", (uid,)) for name, uid in upper.items()}


def _check_charset(request: Request) -> None:
    """Raise 400 where another character set than UTF-8 is asked for (8.3.3.2)."""
    charsets = request.query_params.getlist("charset")
    if any(one.strip().lower() not in ("utf-8", "utf8", "*") for text in charsets for one in text.split(",")):
        raise HttpRefusal(400, "search results are answered in UTF-8")


def _warnings(search: Search, level: Level, remaining: int, counted: int) -> Iterator[str]:
    """The texts of 8.3.4.4.1 and of what is not done as asked."""
    if remaining:
        many = f"more than {counted}" if remaining > counted else remaining
        yield f"There are {many} additional results that can be requested"
    if ignored := [*(ascii(name[:64])[1:-1] for name in search.ignored[:20]), *unsupported(search, level)]:
        names = " ".join("".join(c for c in name if c not in '",\\') for name in ignored)
        yield f"The following parameters are not supported and were not matched: {names}"


def _parts(writer: MultipartWriter, records: list[dict[str, Any]]) -> Iterator[bytes]:
    for record in records:
        yield writer.begin({"Content-Type": XML}) + native_xml(record)
    yield writer.end
