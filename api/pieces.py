"""What the body of an answer is made of: bytes, and ranges of files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domain.errors import AnnalsError

_AT_ONCE = 1024 * 1024


class Incomplete(AnnalsError):
    """A part of the answer that was begun cannot be had: the connection is broken, so that nobody takes it as whole."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """Some bytes of an open file. The descriptor stays its giver's."""

    descriptor: int
    offset: int
    length: int


Piece = bytes | FileRange


def bytes_of(piece: Piece) -> Iterator[bytes]:
    """The bytes of a piece, at most 1 MiB of a file at once. Raises :class:`Incomplete` and OSError."""
    if isinstance(piece, bytes):
        yield piece
        return
    offset, end = piece.offset, piece.offset + piece.length
    while offset < end:
        data = os.pread(piece.descriptor, min(_AT_ONCE, end - offset), offset)
        if not data:
            raise Incomplete("a file became shorter while it was sent")
        yield data
        offset += len(data)


def cut(pieces: Sequence[Piece], first: int, size: int) -> Iterator[Piece]:
    """Those of the pieces' bytes that are ``size`` from ``first`` on."""
    at = 0
    for piece in pieces:
        length = len(piece) if isinstance(piece, bytes) else piece.length
        begin, end = max(first - at, 0), min(first + size - at, length)
        at += length
        if begin < end and isinstance(piece, bytes):
            yield piece[begin:end]
        elif begin < end and isinstance(piece, FileRange):
            yield FileRange(piece.descriptor, piece.offset + begin, end - begin)
