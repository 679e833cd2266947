"""The client of the bench throws bodies away, and still notices each that is not whole."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from adapters.dicom.part10 import file_header
from bench.taking import digests, take, whole
from tests.dicom.encoding import CT_CLASS, EXPLICIT, image

_OK = b"HTTP/1.1 200 OK\r\n"
_BODY = bytes(range(256)) * 12_345


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a server that gives this to each that asks, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                peer, _ = listening.accept()
                # Who has seen enough goes before it has all.
                with peer, suppress(ConnectionError):
                    if not peer.recv(4096):
                        return
                    peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        try:
            yield port
        finally:
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


@pytest.mark.parametrize("fields", [b"", b"Content-Length: %d\r\n" % len(_BODY)])
def test_a_whole_body_is_counted_each_time(fields: bytes) -> None:
    with answering(_OK + fields + b"\r\n" + _BODY) as port:
        take(port, "/", "*/*", 3, len(_BODY))


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (_OK + b"\r\n" + _BODY[:-1], "has 3160319 bytes"),
        (_OK + b"\r\n" + _BODY + b"x", "has 3160321 bytes"),
        (_OK + b"content-length: 3160321\r\n\r\n" + _BODY, "announces 3160321"),
        (_OK + b"Transfer-Encoding: chunked\r\n\r\n" + _BODY, "cannot be counted"),
        (b"HTTP/1.1 206 Partial Content\r\n\r\n" + _BODY, "cannot be counted"),
        (b"", "cannot be counted"),
    ],
    ids=["short", "long", "announced", "chunked", "partial", "nothing"],
)
def test_an_answer_that_is_not_the_whole_is_an_error(answer: bytes, fault: str) -> None:
    with answering(answer) as port, pytest.raises(RuntimeError, match=fault):
        take(port, "/", "*/*", 1, len(_BODY))


def test_the_parts_of_an_answer_are_told_by_their_data_sets() -> None:
    """Each server writes file meta information of its own."""
    sent = [
        file_header(CT_CLASS, "1.2.3", EXPLICIT, source) + image(size, size) for source, size in (("A", 4), ("B", 8))
    ]
    kept = [file_header(CT_CLASS, "1.2.3", EXPLICIT, "OTHER") + image(size, size) for size in (8, 4)]
    body = b"".join(b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n" + file for file in kept) + b"\r\n--x--\r\n"
    answer = _OK + b'Content-Type: multipart/related; boundary="x"\r\n\r\n' + body
    with answering(answer) as port:
        assert whole(port, "/", "*/*") == (digests(sent), len(body))
    assert digests(kept[:1] * 2) != digests(sent)
