"""An answer of known length to a peer that goes as soon as it has it all."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Generator

import pytest
from starlette.types import Receive, Scope, Send

from api.file_stream import FileStream
from api.pieces import Piece
from api.wire import server
from domain.limits import Limits
from tests.archive.conftest import until


def test_B44_a_peer_that_has_all_and_goes_leaves_no_error(caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()

    def pieces() -> Generator[Piece]:
        yield b"abc"
        until(lambda: not serving.server_state.connections, 60, "the server has seen that the peer is gone")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await FileStream(pieces(), headers={"content-length": "3"})(scope, receive, send)
        finally:
            ended.set()

    serving = server(app, Limits(), 5)
    with socket.create_server(("127.0.0.1", 0)) as listening, caplog.at_level(logging.WARNING):
        thread = threading.Thread(target=serving.run, args=([listening],))
        thread.start()
        try:
            with socket.create_connection(listening.getsockname()) as peer:
                peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                answer = b""
                while not answer.endswith(b"abc"):
                    answer += peer.recv(4096)
            assert ended.wait(60)
        finally:
            serving.should_exit = True
            thread.join()
    assert caplog.records == []


def test_F46_an_answer_that_is_cut_off_is_closed_by_the_thread_that_still_writes_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_cut_off, is_closed = threading.Event(), threading.Event()
    closed_by: list[threading.Thread] = []

    def pieces() -> Generator[Piece]:
        writes = threading.current_thread()
        try:
            yield b"abc"
            assert is_cut_off.wait(60)
            yield b"def"
        finally:
            closed_by.extend((writes, threading.current_thread()))
            is_closed.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await FileStream(pieces(), headers={"content-length": "6"})(scope, receive, send)

    serving = server(app, Limits(), 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serving.run, args=([listening],), daemon=True)
        thread.start()
        with socket.create_connection(listening.getsockname()) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while not answer.endswith(b"abc"):
                answer += peer.recv(4096)
            serving.should_exit = True
            thread.join(60)
            is_cut_off.set()
            assert is_closed.wait(60)
    writes, closes = closed_by
    assert writes is closes
    assert not [one for one in caplog.records if one.exc_info and isinstance(one.exc_info[1], ValueError)]
