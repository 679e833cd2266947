"""A client that takes answers at the least cost: it shares the cores with the server, which is what is measured."""

from __future__ import annotations

import hashlib
import http.client
import mmap
import re
import socket
import struct
from collections.abc import Iterable

_WAKE_AT = 512 * 1024
_ROOM = 1 << 30
_TIMEOUT_SECONDS = 600
_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def take(port: int, path: str, accept: str, times: int, length: int) -> None:
    """Ask so often for the same, each time over a connection of its own, and count what comes to the end.

    The kernel throws the bytes away where they lie (MSG_TRUNC, tcp(7)), and wakes the client for half a megabyte.
    Raises RuntimeError where an answer is not 200 or its body has another length.
    """
    with mmap.mmap(-1, _ROOM) as room:
        for _ in range(times):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(_request(port, path, accept))
                taken = _count_body(connection, room)
            if taken != length:
                raise RuntimeError(f"the answer has {taken} bytes, where {length} are the whole")


def whole(port: int, path: str, accept: str) -> tuple[list[str], int]:
    """The digests of the data sets of one answer, sorted, and the length of its body, read and taken apart."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    connection.request("GET", path, headers=_fields(accept))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    boundary = answer.headers.get_boundary()
    if answer.status != 200 or boundary is None:
        raise RuntimeError(f"answered {answer.status}, {answer.headers.get_content_type()}")
    parts = body.split(f"--{boundary}".encode())[1:-1]
    return digests(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts), len(body)


def digests(files: Iterable[bytes]) -> list[str]:
    """The digests of the data sets of Part 10 files, sorted: each server writes file meta information of its own."""
    found = []
    for file in files:
        # The preamble, "DICM" and the File Meta Information Group Length (PS3.10 7.1).
        (meta,) = struct.unpack_from("<I", file, 140)
        found.append(hashlib.sha256(memoryview(file)[144 + meta :]).hexdigest())
    return sorted(found)


def _fields(accept: str) -> dict[str, str]:
    return {"Accept": accept, "Accept-Encoding": "identity", "Connection": "close"}


def _request(port: int, path: str, accept: str) -> bytes:
    fields = {"Host": f"127.0.0.1:{port}", **_fields(accept)}
    lines = (f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def _count_body(connection: socket.socket, room: mmap.mmap) -> int:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _TIMEOUT_SECONDS, 0))
    begun = b""
    while b"\r\n\r\n" not in begun and (piece := connection.recv(65_536)):
        begun += piece
    head, _, body = begun.partition(b"\r\n\r\n")
    status = _STATUS.match(head)
    if not status or status[1] != b"200" or b"\r\ntransfer-encoding:" in head.lower():
        raise RuntimeError(f"an answer that cannot be counted: {head[:400]!r}")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _WAKE_AT)
    taken = len(body)
    while more := connection.recv_into(room, 0, socket.MSG_TRUNC | socket.MSG_WAITALL):
        taken += more
    if (announced := _LENGTH.search(head)) and int(announced[1]) != taken:
        raise RuntimeError(f"the answer has {taken} bytes and announces {announced[1].decode()}")
    return taken
