"""What this service can do: the Retrieve Capabilities transaction (PS3.18 8.9), in WADL or OpenAPI."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api.dicomweb.description import described
from api.dicomweb.media_types import accepted
from api.origin import service_root
from api.problems import HttpRefusal

WADL = "application/vnd.sun.wadl+xml"
_XML = (WADL, "application/xml", "text/xml")
_JSON = ("application/json",)
_METHODS = frozenset(("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT", "TRACE"))


def create_router(routes: Sequence[BaseRoute]) -> APIRouter:
    """OPTIONS of the service and of every resource."""
    router = APIRouter()
    known = [route for route in routes if isinstance(route, APIRoute)]
    everything = described(known)
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": "What there is", "content": {name: {} for name in (*_XML, *_JSON)}}
    }

    def capabilities(allow: str) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            """The resources and methods of this service."""
            wanted = accepted(request.headers.getlist("accept"), request.query_params.getlist("accept"))
            served = next((name for one in wanted for name in (*_XML, *_JSON) if one.covers(name)), None)
            if served is None:
                raise HttpRefusal(406, f"capabilities are answered as {WADL} or {_JSON[0]}")
            body = orjson.dumps(everything) if served in _JSON else _wadl(service_root(request), everything)
            return Response(body, media_type=served, headers={"Allow": allow, "Vary": "Accept"})

        return answer

    # One for each resource, not one for any path: a path that is none stays unknown (404).
    for path in ("/", *dict.fromkeys(route.path for route in known)):
        methods = {"OPTIONS"}.union(*(route.methods or () for route in known if path in ("/", route.path)))
        allow = ", ".join(sorted(methods))
        answer = capabilities(allow)
        router.add_api_route(path, answer, methods=["OPTIONS"], response_class=Response, responses=answers)
        others = _METHODS - methods if path != "/" else _METHODS - {"OPTIONS"}
        router.add_api_route(path, _refusing(allow), methods=list(others), include_in_schema=False)
    return router


def _refusing(allow: str) -> Callable[[], None]:
    """405 with the methods of all routes of a path (RFC 9110 15.5.6): each route alone knows its own."""

    def refuse() -> None:
        raise HttpRefusal(405, "the resource has no such method", {"Allow": allow})

    return refuse


def _wadl(base: str, everything: Mapping[str, Any]) -> bytes:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<application xmlns="http://wadl.dev.java.net/2009/02" xmlns:xs="http://www.w3.org/2001/XMLSchema">',
        f" <resources base={quoteattr(base)}>",
    ]
    for path, operations in sorted(everything["paths"].items()):
        lines.append(f"  <resource path={quoteattr(path.lstrip('/'))}>")
        lines += [line for method, operation in sorted(operations.items()) for line in _method(method, operation)]
        lines.append("  </resource>")
    return "\n".join([*lines, " </resources>", "</application>", ""]).encode()


def _method(method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"   <method name={quoteattr(method.upper())} id={quoteattr(operation['operationId'])}>"
    yield "    <request>"
    for parameter in operation.get("parameters", ()):
        style = "template" if parameter["in"] == "path" else parameter["in"]
        kind = parameter["schema"].get("type", "string")
        yield f'     <param name={quoteattr(parameter["name"])} style="{style}" type="xs:{kind}"/>'
    for name in operation.get("requestBody", {}).get("content", {}):
        yield f"     <representation mediaType={quoteattr(name)}/>"
    yield "    </request>"
    for code, answer in operation["responses"].items():
        if code != "default":
            yield f'    <response status="{code}">'
            yield from (f"     <representation mediaType={quoteattr(name)}/>" for name in answer.get("content", {}))
            yield "    </response>"
    yield "   </method>"
