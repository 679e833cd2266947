"""The DICOMweb service on its own port: CORS, so that a page may read refusals too, then bounds, then the routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from api import problems
from api.bounds import Bounds
from api.dicomweb.description import describe
from api.dicomweb.router import mount
from api.origin import Origin
from domain.limits import Limits

BASE_PATH = "/dicom-web"
_METHODS = ("GET", "HEAD", "POST", "OPTIONS")
_ASKED = ("Accept", "Authorization", "Content-Type", "If-Match", "If-None-Match", "If-Range", "Range")
_EXPOSED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "Warning",
)


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """Which web pages of other servers may use this one (CORS); none by default."""

    origins: Sequence[str] = ()


def create_app(
    router: APIRouter,
    origin: Origin,
    cross_origin: CrossOrigin,
    limits: Limits,
    version: str,
    viewer: APIRouter | None = None,
) -> ASGIApp:
    """The application. The routes also stand at the root: the manual's viewers leave the base path blank."""
    app = FastAPI(
        title="Annals DICOMweb",
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{BASE_PATH}/openapi.json",
        redirect_slashes=False,
    )
    if viewer is not None:
        app.include_router(viewer)
    mount(app, router, BASE_PATH)
    mount(app, router, "", in_schema=False)
    problems.install(app)
    describe(app)
    bounded = Bounds(app, origin, limits)
    if not cross_origin.origins:
        return bounded
    return CORSMiddleware(
        bounded,
        allow_origins=cross_origin.origins,
        allow_methods=_METHODS,
        allow_headers=_ASKED,
        expose_headers=_EXPOSED,
    )
