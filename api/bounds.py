"""What a request may be before any route sees it: its target, its header, its declared body, its turn (B43-B47)."""

from __future__ import annotations

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from api.origin import Origin
from api.problems import HttpRefusal, answer
from domain.limits import Limits


class Bounds:
    """ASGI middleware. Each request is looked at in the order of what its refusal costs."""

    def __init__(self, app: ASGIApp, origin: Origin, limits: Limits) -> None:
        self._app = app
        self._origin = origin
        self._limits = limits
        self._running = 0
        self._of_address: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
            self._origin.establish(scope)
        except HttpRefusal as refusal:
            await answer(refusal)(scope, receive, send)
            return
        address = scope["client"][0] if scope["client"] else ""
        if (
            self._running >= self._limits.http_requests_max
            or self._of_address[address] >= self._limits.http_requests_per_address_max
        ):
            await answer(HttpRefusal(503, "too many requests at once"))(scope, receive, send)
            return
        self._running += 1
        self._of_address[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def _check(self, scope: Scope) -> None:
        limits = self._limits
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        query: bytes = scope["query_string"]
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if not raw_path.startswith(b"/") or raw_path.startswith(b"//") or b"\\" in raw_path or b"%00" in raw_path:
            raise HttpRefusal(400, "the request target is not a path of this server")
        if len(raw_path) + len(query) > limits.http_url_max:
            raise HttpRefusal(414, "the URL is longer than http_url_max")
        if query.count(b"&") >= limits.http_query_parameters_max:
            raise HttpRefusal(414, "the query has more parameters than http_query_parameters_max")
        if sum(len(name) + len(value) + 4 for name, value in headers) > limits.http_header_size_max:
            raise HttpRefusal(431, "the header is longer than http_header_size_max")
        names = [name for name, _ in headers]
        close = {"Connection": "close"}
        if b"content-length" in names and b"transfer-encoding" in names:
            raise HttpRefusal(400, "Content-Length and Transfer-Encoding contradict each other", close)
        if any(name == b"content-encoding" and value.strip().lower() != b"identity" for name, value in headers):
            raise HttpRefusal(415, "encoded request bodies are not accepted", {"Accept-Encoding": "identity", **close})
        for name, value in headers:
            if name == b"content-length" and int(value) > limits.request_body_max:
                raise HttpRefusal(413, "the body is longer than request_body_max", close)
