"""QIDO-RS (PS3.18 10.6): the searches at every nesting, one room with C-FIND."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from api.dicomweb.media_types import MULTIPART_RELATED
from api.dicomweb.model_types import JSON, XML, model_type
from api.dicomweb.multipart import MultipartWriter
from api.dicomweb.native_xml import native_xml
from api.dicomweb.results import Selection, unsupported
from api.dicomweb.rooms import Authorise, allowed
from api.dicomweb.search_parameters import Search, search_parameters
from api.origin import service_root
from api.problems import HttpRefusal
from domain.attributes import Level
from domain.device import Right
from domain.errors import InvalidInput
from domain.identifiers import uid_fault
from domain.limits import Limits
from domain.matching import Key, query
from processes.find import Finder

_UPPER = {"study_uid": "0020000D", "series_uid": "0020000E"}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The matching resources, perhaps none", "content": {JSON: {}, MULTIPART_RELATED: {}}},
    204: {"description": "Nothing matches, and the answer would be multipart"},
    400: {"description": "The query has faults: all are named"},
    403: {"description": "The asker may not search"},
    406: {"description": "No acceptable media type"},
    413: {"description": "The search is too broad"},
    503: {"description": "Come again"},
}


def create_router(finder: Finder, limits: Limits, authorise: Authorise) -> APIRouter:
    """The searches. What is shown beside a level's own attributes depends on what the URL names (10.6.3.3)."""
    router = APIRouter(dependencies=[allowed(authorise, Right.FIND)])
    study, series, image = Level.STUDY, Level.SERIES, Level.IMAGE
    for path, summary, *shown in (
        ("/studies", "Search for studies", study),
        ("/series", "Search for series of all studies", study, series),
        ("/instances", "Search for instances of all studies", study, series, image),
        ("/studies/{study_uid}/series", "Search for series of a study", series),
        ("/studies/{study_uid}/instances", "Search for instances of a study", series, image),
        ("/studies/{study_uid}/series/{series_uid}/instances", "Search for instances of a series", image),
    ):
        router.add_api_route(
            path,
            _searching(finder, limits, shown),
            methods=["GET"],
            summary=summary,
            response_class=Response,
            responses=_ANSWERS,
            openapi_extra={"parameters": _PARAMETERS},
        )
    return router


def _searching(finder: Finder, limits: Limits, shown: Sequence[Level]) -> Callable[[Request], Response]:
    """The endpoint of a search: the lowest of the levels that are shown is the one that is searched for."""

    def search(request: Request) -> Response:
        return _answer(finder, limits, request, shown)

    return search


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


def _answer(finder: Finder, limits: Limits, request: Request, shown: Sequence[Level]) -> Response:
    level = shown[-1]
    _check_charset(request)
    media_type, _ = model_type(request, "search results are")
    search = search_parameters(request.scope["query_string"], limits)
    keys = {**search.keys, **_upper_keys(request.path_params, search)}
    service = service_root(request)
    asked = query(Level.PATIENT, level.name, keys, limits, relational=True, combined=True)
    found, remaining = finder.some(asked, search.offset, search.limit)
    headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
    if warnings := list(_warnings(search, level, remaining, limits.query_remaining_max)):
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
    faults = [f"{name.removesuffix('_uid')}: {fault}" for name, uid in upper.items() if (fault := uid_fault(uid))]
    faults += [
        f"{name.removesuffix('_uid')}: the query names another than the URL"
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
        yield f"The following parameters are not supported and were not matched: {' '.join(map(_told, ignored))}"


def _told(name: str) -> str:
    """A parameter's name as a header field can hold it: nothing that ends its text, and no blank at its end."""
    return "".join(c for c in name if c not in '",\\').strip() or "_"


def _parts(writer: MultipartWriter, records: list[dict[str, Any]]) -> Iterator[bytes]:
    for record in records:
        yield writer.begin({"Content-Type": XML}) + native_xml(record)
    yield writer.end
