"""The OpenAPI description of the DICOMweb routes, complete: every answer with its media types, errors as problems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.problems import MEDIA_TYPE

_NAMED = re.compile(r"{(\w+)}")
_UID = {"type": "string", "pattern": "^[0-9.]{1,64}$", "maxLength": 64, "example": "1.2.840.10008.1"}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "faults": {"type": "array", "items": {"type": "string"}},
    },
}
_AS_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_REFUSED = {
    "description": "Refused for what any request is refused for: its form, size or pace, who asks, or how many do",
    "content": _AS_PROBLEM,
}


def described(routes: Sequence[APIRoute]) -> dict[str, Any]:
    """A description of the routes alone, their paths as they stand in their router."""
    return _completed(get_openapi(title="DICOMweb", version="1", routes=routes))


def describe(app: FastAPI) -> None:
    """Let the application give a complete description in place of FastAPI's."""
    incomplete = app.openapi
    made: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not made:
            made.append(_completed(incomplete()))
        return made[0]

    app.openapi = openapi  # type: ignore[method-assign]


def _of_path(name: str) -> dict[str, Any]:
    schema = _UID if name.endswith("_uid") else {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _completed(said: dict[str, Any]) -> dict[str, Any]:
    said.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _PROBLEM
    for path, operations in said["paths"].items():
        for operation in operations.values():
            # FastAPI knows only the names that the endpoint itself asks for.
            others = [one for one in operation.get("parameters", ()) if one["in"] != "path"]
            operation["parameters"] = [*map(_of_path, _NAMED.findall(path)), *others]
            # Answered by 400 (problems.py): the validation of FastAPI's own has no voice of its own here.
            operation["responses"].pop("422", None)
            if partial := operation["responses"].get("206"):
                partial.setdefault("content", operation["responses"]["200"].get("content", {}))
            for code, answer in operation["responses"].items():
                if code >= "400":
                    answer["content"] = {**answer.get("content", {}), **_AS_PROBLEM}
            operation["responses"]["default"] = _REFUSED
    return said
