"""``/health/live`` and ``/health/ready``: ready means that a store would succeed now."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse

from api import problems
from domain.errors import AnnalsError

Check = Callable[[], Mapping[str, object]]
"""Looks at one part; returns what it measured, raises :class:`AnnalsError` when a store would fail because of it."""

_LOG = logging.getLogger("annals.health")
_REMEMBERED_SECONDS = 1.0


def create_app(
    checks: Mapping[str, Check], version: str, is_stopping: Callable[[], bool], routers: Sequence[APIRouter] = ()
) -> FastAPI:
    """The health application, with more routes. Each check runs at most once a second, however often it is asked."""
    app = FastAPI(title="Annals", version=version, docs_url=None, redoc_url=None, openapi_url=None)
    problems.install(app)
    for router in routers:
        app.include_router(router)
    readiness = _Readiness(checks)

    @app.get("/health/live")
    def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live", "version": version}

    @app.get("/health/ready")
    def ready() -> JSONResponse:
        """Every part that a store needs answers; 503 and the reasons otherwise."""
        if is_stopping():
            return JSONResponse({"status": "stopping", "parts": {}}, 503)
        fine, parts = readiness.look()
        return JSONResponse({"status": "ready" if fine else "not ready", "parts": parts}, 200 if fine else 503)

    return app


class _Readiness:
    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._lock = threading.Lock()
        self._seen: tuple[float, bool, dict[str, object]] = (float("-inf"), False, {})

    def look(self) -> tuple[bool, dict[str, object]]:
        with self._lock:
            at, fine, parts = self._seen
            if time.monotonic() - at > _REMEMBERED_SECONDS:
                fine, parts = self._ask()
                self._seen = (time.monotonic(), fine, parts)
            return fine, parts

    def _ask(self) -> tuple[bool, dict[str, object]]:
        fine = True
        parts: dict[str, object] = {}
        for name, check in self._checks.items():
            try:
                parts[name] = {"ok": True, **check()}
            except (AnnalsError, OSError) as error:
                fine = False
                parts[name] = {"ok": False, "reason": str(error)}
            except Exception as error:  # noqa: BLE001 - the door's one place for what nobody foresaw
                _LOG.exception("the check of %s failed", name)
                fine = False
                parts[name] = {"ok": False, "reason": type(error).__name__}
        return fine, parts
