"""How many HTTP connections there may be, each served by the real protocol (B44, D21)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.wire import server
from domain.limits import Limits
from tests.edges import edges


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(status_code=204)(scope, receive, send)


@contextmanager
def serving(limits: Limits) -> Iterator[tuple[str, int]]:
    """The address of a server within these limits."""
    running = server(served, limits, 5)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            running.should_exit = True
            thread.join()


@edges
@pytest.mark.parametrize("limit", ["http_connections_max", "http_connections_per_address_max"])
def test_D21_B44_past_the_connections_at_once_the_next_is_503(limit: str, off: int) -> None:
    per_address = limit == "http_connections_per_address_max"
    with serving(Limits(**{limit: 3})) as address, ExitStack() as held:
        answers = []
        for number in range(3 + off):
            source = "127.0.0.1" if per_address else f"127.0.0.{2 + number}"
            peer = held.enter_context(socket.create_connection(address, 60, (source, 0)))
            peer.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answers.append(peer.recv(12).decode())
        assert answers == ["HTTP/1.1 204"] * min(3, 3 + off) + ["HTTP/1.1 503"] * max(0, off)
        if per_address:
            with socket.create_connection(address, 60, ("127.0.0.9", 0)) as other:
                other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert other.recv(12) == b"HTTP/1.1 204"
