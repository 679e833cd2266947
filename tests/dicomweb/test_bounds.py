"""What a request may be and how many there may be at once, each at its limit (B43 to B47, D21)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.bounds import Bounds
from api.origin import Origin
from domain.limits import Limits
from tests.edges import edges

HOST = (b"host", b"localhost")


def request(
    target: str = "/", headers: Sequence[tuple[bytes, bytes]] = (HOST,), address: str = "192.0.2.7"
) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": list(headers),
        "client": (address, 1),
    }


async def status(bounded: Bounds, asked: dict[str, Any]) -> int:
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    await bounded(asked, receive, send)
    return int(said[0]["status"])


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(status_code=204)(scope, receive, send)


def answered(asked: dict[str, Any], **limits: int) -> int:
    return asyncio.run(status(Bounds(served, Origin(), Limits(**limits)), asked))


@edges
@pytest.mark.parametrize("target", ["/{}", "/?{}"], ids=["path", "query"])
def test_D21_B46_a_URL_past_its_length_is_414(target: str, off: int) -> None:
    asked = request(target.format("x" * (99 + off)))
    assert answered(asked, http_url_max=100) == (204 if off <= 0 else 414)


@edges
def test_D21_B46_a_query_of_too_many_parameters_is_414(off: int) -> None:
    asked = request("/?" + "&".join(["a=1"] * (10 + off)))
    assert answered(asked, http_query_parameters_max=10) == (204 if off <= 0 else 414)


@edges
def test_D21_B43_a_header_past_its_size_is_431(off: int) -> None:
    """Counted as it is sent: with a colon, a space and a line end for each field."""
    rest = 1000 - len(b"host: localhost\r\n") - len(b"x: \r\n")
    asked = request(headers=[HOST, (b"x", b"x" * (rest + off))])
    assert answered(asked, http_header_size_max=1000) == (204 if off <= 0 else 431)


@edges
def test_D21_B45_a_body_that_is_announced_past_its_size_is_413(off: int) -> None:
    asked = request(headers=[HOST, (b"content-length", str(1000 + off).encode())])
    assert answered(asked, request_body_max=1000) == (204 if off <= 0 else 413)


@edges
@pytest.mark.parametrize(
    ("limit", "addresses"), [("http_requests_max", 10), ("http_requests_per_address_max", 1)], ids=["all", "address"]
)
def test_D21_B44_past_the_requests_at_once_the_next_is_503_and_only_for_now(
    limit: str, addresses: int, off: int
) -> None:
    async def tried() -> list[int]:
        ended = asyncio.Event()
        inside = 0

        async def waits(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal inside
            inside += 1
            await ended.wait()
            await served(scope, receive, send)

        bounded = Bounds(waits, Origin(), Limits(**{limit: 3}))
        asked = [
            asyncio.create_task(status(bounded, request(address=f"192.0.2.{number % addresses}")))
            for number in range(3 + off)
        ]
        while inside + sum(one.done() for one in asked) < len(asked):
            await asyncio.sleep(0)
        ended.set()
        codes = await asyncio.gather(*asked)
        assert await status(bounded, request()) == 204
        return codes

    assert asyncio.run(tried()) == [204] * min(3, 3 + off) + [503] * max(0, off)
