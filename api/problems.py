"""Errors as HTTP answers: one place, ``application/problem+json`` (RFC 9457), also as the standard's Status Report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from domain.errors import (
    AnnalsError,
    Because,
    InvalidInput,
    NotAcceptable,
    NotThere,
    Refused,
    ToldTogether,
    TooBroad,
    TooLarge,
    Unavailable,
)

_LOG = logging.getLogger("annals.http")
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
_CODES = {
    Because.OUT_OF_RESOURCES: 503,
    Because.CANNOT_COUNT_MATCHES: 413,
    Because.CANNOT_PERFORM_SUB_OPERATIONS: 503,
    Because.MOVE_DESTINATION_UNKNOWN: 404,
    Because.IDENTIFIER_DOES_NOT_MATCH: 400,
    Because.CANNOT_UNDERSTAND: 400,
    Because.TRANSFER_SYNTAX_NOT_SUPPORTED: 415,
    Because.SOP_CLASS_NOT_SUPPORTED: 409,
    Because.NOT_AUTHORISED: 403,
    Because.INVALID_UID: 400,
    Because.INVALID_ARGUMENT: 400,
    Because.NO_SUCH_OBJECT_INSTANCE: 404,
    Because.NO_SUCH_ACTION: 400,
    Because.DUPLICATE_TRANSACTION_UID: 409,
}


class HttpRefusal(AnnalsError):
    """A refusal that only HTTP knows (404, 406, 412, 415 ...). Its text holds no patient data."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})


def status_of(error: Exception) -> int:
    """The one HTTP code of an error."""
    match error:
        case HttpRefusal():
            return error.status
        case TooBroad() | TooLarge():
            return 413
        case Refused():
            return _CODES[error.because]
        case InvalidInput():
            return 400
        case NotThere():
            return 404
        case NotAcceptable():
            return 406
        case Unavailable():
            return 503
        case HTTPException():
            return error.status_code
        case _:
            return 500


def problem(status: int, detail: str, faults: Sequence[str] = (), headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer; 503 says when to come again."""
    said: dict[str, object] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        said["detail"] = detail
    if faults:
        said["faults"] = list(faults)
    retry = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    return Response(orjson.dumps(said), status, {**retry, **(headers or {})}, MEDIA_TYPE)


def answer(error: Exception) -> Response:
    """The answer to an error. What nobody foresaw is 500 and says nothing of its inside."""
    status = status_of(error)
    match error:
        case InvalidInput():
            return problem(status, "the request has faults", error.faults)
        case HttpRefusal():
            return problem(status, str(error), headers=error.headers)
        case HTTPException():
            return problem(status, error.detail, headers=error.headers)
        case AnnalsError():
            return problem(status, str(error))
        case _:
            return problem(status, "the request failed for a reason that was logged")


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    async def refuse(request: Request, error: Exception) -> Response:
        said = answer(error)
        if said.status_code >= 500:
            is_told = any(isinstance(one, ToldTogether) for one in (error, error.__cause__))
            level = logging.DEBUG if is_told else logging.WARNING
            _LOG.log(
                level, "%a of %s answered %d: %s", request.method, _peer(request), said.status_code, ascii(str(error))
            )
        return said

    async def fail(request: Request, error: Exception) -> Response:
        _LOG.error("%a of %s failed", request.method, _peer(request), exc_info=error)
        return answer(error)

    async def refuse_parameters(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(InvalidInput([f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]))

    app.add_exception_handler(AnnalsError, refuse)
    app.add_exception_handler(HTTPException, refuse)
    app.add_exception_handler(RequestValidationError, refuse_parameters)
    app.add_exception_handler(Exception, fail)


def _peer(request: Request) -> str:
    return request.client.host if request.client else "nobody"
