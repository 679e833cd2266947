"""The DICOMweb routes, to be mounted behind any door that can tell who asks: port 8010 by address, 8000 by session."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.dicomweb import bulk_data, capabilities, commitments, frames, instances, metadata, rendered, search, store, uri
from api.dicomweb.rooms import Authorise, Retrieval, Storing
from api.origin import set_mount


def create_router(retrieval: Retrieval, storing: Storing, authorise: Authorise) -> APIRouter:
    """All services. What a service answers as a URL begins with where this router is mounted."""
    router = APIRouter()
    services = [
        search.create_router(retrieval.finder, retrieval.limits, authorise),
        *(
            service.create_router(retrieval, authorise)
            for service in (instances, metadata, bulk_data, frames, rendered, uri)
        ),
        store.create_router(storing, authorise),
        commitments.create_router(storing.commitments, storing.limits, authorise),
    ]
    routes = [route for service in services for route in service.routes]
    heads = _heads(routes)
    for one in (*services, heads, capabilities.create_router([*routes, *heads.routes])):
        router.include_router(one)
    return router


def _heads(routes: Iterable[BaseRoute]) -> APIRouter:
    """HEAD wherever there is GET (RFC 9110 9.3.2): the same endpoint; its answer leaves its body out."""
    router = APIRouter(include_in_schema=False)
    for route in routes:
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            router.add_api_route(
                route.path, route.endpoint, methods=["HEAD"], dependencies=route.dependencies, response_class=Response
            )
    return router


def mount(app: FastAPI, router: APIRouter, prefix: str, *, in_schema: bool = True) -> None:
    """Put the routes below a prefix; what they answer as URLs begins there (:func:`api.origin.service_root`)."""

    def remember(request: Request) -> None:
        set_mount(request, prefix)

    app.include_router(router, prefix=prefix, dependencies=[Depends(remember)], include_in_schema=in_schema)
    if prefix:
        app.router.routes.append(Route(prefix, _WithSlash(app.router, prefix)))


class _WithSlash:
    """Answers the mount itself as with a slash behind it; a redirection would be lost on who sends OPTIONS."""

    def __init__(self, router: ASGIApp, path: str) -> None:
        self._router = router
        self._path = f"{path}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router({**scope, "path": self._path, "raw_path": self._path.encode()}, receive, send)
