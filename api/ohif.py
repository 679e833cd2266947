"""The OHIF viewer beside DICOMweb: the files of a build made for ``/ohif`` (:mod:`ui.ohif`), set to ask this server."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from api.problems import HttpRefusal
from domain.errors import InvalidInput

PREFIX = "/ohif"
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
# Codecs are WebAssembly in workers made from blobs; styles are put in by the page's own scripts.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob: {inline}; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; frame-ancestors 'none'"
)


class _Build(StaticFiles):
    """The build's files. What has its digest in its name is kept by the browser."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        if ".bundle." in path or path.endswith((".wasm", ".woff2")):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def create_router(folder: Path, service: str) -> APIRouter:
    """The viewer of a build's folder, asking the DICOMweb service at the path ``service``.

    Raises :class:`InvalidInput` where the folder holds no build.
    """
    try:
        page = (folder / "index.html").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([f"ohif: {str(folder)!a} holds no build of the viewer: see 'make ohif'"]) from error
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in _INLINE.findall(page))
    policy = _POLICY.format(inline=" ".join(f"'sha256-{digest}'" for digest in digests))
    configuration = b"window.config = " + orjson.dumps(_configuration(service)) + b";\n"
    build = _Build(directory=folder)
    files = {one.name for one in folder.iterdir()} - {"index.html"}

    async def answer(request: Request) -> Response:
        """A file of the build, its settings, or the page for each route of the page's own."""
        path: str = request.path_params.get("path", "")
        first = path.partition("/")[0]
        if path == "app-config.js":
            return Response(configuration, media_type="text/javascript", headers=_HEADERS)
        if first in files:
            return await build.get_response(path, request.scope)
        if "." in first and first != "index.html":
            raise HttpRefusal(404, "the viewer has no such file")
        return HTMLResponse(page, headers={**_HEADERS, "Content-Security-Policy": policy})

    router = APIRouter(prefix=PREFIX, include_in_schema=False)
    for path in ("", "/{path:path}"):
        router.add_api_route(path, answer, methods=["GET", "HEAD"])
    return router


def _configuration(service: str) -> dict[str, Any]:
    """One data source: this server. What would load from elsewhere stays off."""
    return {
        "name": "annals",
        "routerBasename": PREFIX,
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 3,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "groupEnabledModesFirst": True,
        "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": "annals",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "annals",
                "configuration": {
                    "friendlyName": "Annals",
                    "name": "annals",
                    "wadoUriRoot": f"{service}/wado",
                    "qidoRoot": service,
                    "wadoRoot": service,
                    "qidoSupportsIncludeField": True,
                    "supportsReject": False,
                    "supportsStow": True,
                    "supportsFuzzyMatching": True,
                    "supportsWildcard": True,
                    "imageRendering": "wadors",
                    "thumbnailRendering": "thumbnail",
                    "thumbnailRequestStrategy": "fetch",
                    "enableStudyLazyLoad": True,
                    "singlepart": "bulkdata,pdf,video",
                    "bulkDataURI": {"enabled": True},
                    "omitQuotationForMultipartRequest": True,
                },
            }
        ],
    }
