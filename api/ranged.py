"""A body of known length, whole or in the ranges that are asked for (RFC 9110 14)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request

from api.file_stream import FileStream
from api.pieces import Piece
from api.ranges import Range, content_range, wanted_ranges


@dataclass(frozen=True, slots=True)
class Ranged:
    """``cut`` gives so many bytes from one on; ``close`` lets go of what they come from, and may be called twice."""

    media_type: str
    length: int
    etag: str
    cut: Callable[[int, int], Iterator[Piece]]
    close: Callable[[], None]


def in_ranges(request: Request, body: Ranged, headers: Mapping[str, str], ranges_max: int) -> FileStream:
    """The answer, which closes the body. Raises 416, and then has closed it."""
    headers = {**headers, "ETag": body.etag, "Accept-Ranges": "bytes"}
    try:
        ranges = wanted_ranges(request, body.length, body.etag, ranges_max)
    except BaseException:
        body.close()
        raise
    if ranges is not None and len(ranges) > 1:
        media_type, length, pieces = _byte_ranges(body, ranges)
        headers |= {"Content-Type": media_type, "Content-Length": str(length)}
        return sent(body.close, 206, headers, pieces)
    first, size = ranges[0] if ranges else (0, body.length)
    if ranges:
        headers["Content-Range"] = content_range((first, size), body.length)
    headers |= {"Content-Type": body.media_type, "Content-Length": str(size)}
    return sent(body.close, 206 if ranges else 200, headers, body.cut(first, size))


def sent(close: Callable[[], None], status: int, headers: Mapping[str, str], body: Iterator[Piece]) -> FileStream:
    """The answer of a body; ``close`` is called when it is sent, or never will be."""

    def pieces() -> Generator[Piece]:
        try:
            yield b""
            yield from body
        finally:
            close()

    # Begun now: what has begun is closed also where nobody asks for a byte of it.
    begun = pieces()
    next(begun)
    return FileStream(begun, status, headers)


def _byte_ranges(body: Ranged, ranges: Sequence[Range]) -> tuple[str, int, Iterator[Piece]]:
    """``multipart/byteranges`` (RFC 9110 14.6): its media type, length and pieces."""
    boundary = f"annals-{secrets.token_hex(16)}"
    parts = [
        (
            f"\r\n--{boundary}\r\nContent-Type: {body.media_type}\r\n"
            f"Content-Range: {content_range(one, body.length)}\r\n\r\n".encode("ascii"),
            one,
        )
        for one in ranges
    ]
    end = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = sum(len(begin) + size for begin, (_, size) in parts) + len(end)

    def pieces() -> Iterator[Piece]:
        for begin, one in parts:
            yield begin
            yield from body.cut(*one)
        yield end

    return f"multipart/byteranges; boundary={boundary}", length, pieces()
