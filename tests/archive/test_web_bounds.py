"""HTTP that is slow, lying or too long, and searches that are too broad, are refused and harm nobody (B43 to B46)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.stow import part10, store
from tests.dicom.encoding import minimal

_HEAD = b"GET /dicom-web/openapi.json HTTP/1.1\r\nHost: localhost\r\n"
_POST = b"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    settings = {
        **SMALL,
        "ANNALS_LIMITS__HTTP_HEADER_TIMEOUT_SECONDS": "1",
        "ANNALS_LIMITS__HTTP_SEND_TIMEOUT_SECONDS": "1",
        "ANNALS_LIMITS__REQUEST_BODY_TIMEOUT_SECONDS": "1",
        "ANNALS_LIMITS__HTTP_CONNECTIONS_PER_ADDRESS_MAX": "20",
        "ANNALS_LIMITS__QUERY_TIMEOUT_SECONDS": "0.1",
        "ANNALS_LIMITS__QUERY_PAGE": "1",
        "ANNALS_DIMSE__ACCEPT_UNKNOWN_SOP_CLASSES": "no",
    }
    with running_archive(settings) as running:
        yield running


def _said(archive: Archive, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
        connection.sendall(sent)
        said = b""
        while (piece := connection.recv(65536)) != b"":
            said += piece
            if b"\r\n\r\n" in said:
                break
        return said.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b" 400 "),
        (b"GET / HTTP/1.1\r\n\r\n", b" 400 "),
        (_HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\n", b" 431 "),
        (b"GET /dicom-web/studies?a=" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 414 "),
        (b"GET http://evil/dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 400 "),
        (_POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b" 400 "),
        (_POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", b" 400 "),
        # RFC 9112 5.2: an obsolete fold is a space; what it hides is seen.
        (_HEAD + b"X: folded\r\n over lines\r\n\r\n", b" 200 "),
        (_POST + b"Content-Length: 3\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", b" 400 "),
        (b"GET /dicom-web/studies HTTP/1.1\r\n folded: x\r\nHost: localhost\r\n\r\n", b" 400 "),
        (_POST + b"Content-Length: 1099511627776\r\n\r\n", b" 413 "),
        (_POST + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", b" 415 "),
        (_HEAD, b" 408 "),
        (b"", b" 408 "),
    ],
)
def test_B43_to_B46_refused_with_its_code(archive: Archive, sent: bytes, status: bytes) -> None:
    assert status in _said(archive, sent)


@pytest.mark.parametrize("body", [b"", b"x"])
def test_B44_a_body_that_nobody_wants_must_not_come_slowly_either(archive: Archive, body: bytes) -> None:
    """A GET takes no body; one that is announced and does not come is not waited for."""
    head = _HEAD + b"Content-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
        connection.sendall(head + body)
        said = b""
        while piece := connection.recv(65536):
            said += piece
    assert said.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 408 "))


def test_B44_who_does_not_read_is_let_go_of(archive: Archive) -> None:
    """Answers that are asked for and not taken are not kept for longer than http_send_timeout_seconds."""
    asked = _HEAD + b"\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", archive.dicomweb_port))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(asked * 100_000)
    assert b" 200 " in _said(archive, asked)


def test_B44_many_silent_peers_are_told_to_come_again(archive: Archive) -> None:
    address = ("127.0.0.1", archive.dicomweb_port)
    silent = [socket.create_connection(address, timeout=60) for _ in range(60)]
    heard = [one.recv(100).partition(b"\r\n")[0] for one in silent]
    for one in silent:
        one.close()
    assert any(b" 503 " in line for line in heard)
    assert all(b" 503 " in line or b" 408 " in line for line in heard)
    assert b" 200 " in _said(archive, _HEAD + b"\r\n")


def test_NET_5_C7_11_an_unknown_SOP_class_is_refused_by_setting_at_both_doors(archive: Archive, tmp_path: Path) -> None:
    """10.5.3.1: 409; Table I.2-2: 0122."""
    path = tmp_path / "private.dcm"
    path.write_bytes(part10(minimal(sop_class="1.2.3.4.5"), sop_class="1.2.3.4.5"))
    answer = store(archive.dicomweb_port, path.read_bytes())
    assert (answer.status, answer.failed) == (409, {"1.2.3.4": 0x0122})
    assert archive.dcmtk("storescu", str(path)).returncode != 0


def test_C7_3_a_search_that_is_too_broad_is_413(archive: Archive) -> None:
    """Table 10.6.3-1: 413, the search was too broad. Pages of one record take longer than this archive may search."""
    many = (part10(minimal(instance=f"1.2.3.4.{number}"), f"1.2.3.4.{number}") for number in range(1000))
    assert store(archive.dicomweb_port, *many).status == 200
    asked = b"GET /dicom-web/instances HTTP/1.1\r\nHost: localhost\r\n\r\n"
    until(lambda: b" 413 " in _said(archive, asked), 60, "nothing but the breadth of the search is in the way")
