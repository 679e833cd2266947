"""Where the scan reads from: a window over a data set that moves forward only, inflated on the way where deflated."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from domain.errors import Because, Refused
from domain.limits import Limits

Read = Callable[[int, int], bytes]
"""Bytes from an offset, at most so many; fewer only at the end."""

_PIECE = 64 * 1024
_HOP = 4 * 1024
_TRAILER = 8
_HELD_MAX = 4 * 1024 * 1024


class Window:
    """``data`` holds the bytes from ``base`` on, of ``size`` in all."""

    def __init__(self, head: bytes, read: Read, size: int) -> None:
        """``head`` is the beginning of the data set, already in memory."""
        self.data = head
        self.base = 0
        self.size = size
        self._read = read

    def move(self, position: int, needed: int = 0) -> bytes:
        """Let the window begin at ``position``, with at least ``needed`` bytes or all that is left; its bytes."""
        end = self.base + len(self.data)
        if position <= end:
            kept, length = self.data[position - self.base :], _PIECE
        else:
            kept, length = b"", _HOP
        missing = min(max(length, needed - len(kept)), self.size - position - len(kept))
        pieces = [kept]
        at = position + len(kept)
        while missing > 0:
            piece = self._read(at, missing)
            if not piece:
                raise Refused(Because.CANNOT_UNDERSTAND, "the data set is shorter than it was")
            pieces.append(piece)
            at += len(piece)
            missing -= len(piece)
        self.data, self.base = b"".join(pieces), position
        return self.data


def inflated(head: bytes, read: Read, size: int, limits: Limits) -> Window:
    """A window over a deflated data set (PS3.5 A.5), its whole length inflated once to be checked and measured.

    Raises C000 where it is cut, damaged or a bomb: past ``inflated_size_max``, or past both ``deflate_ratio_from`` and
    ``deflate_ratio_max`` times its own size. At most 4 MiB of it are held.
    """
    allowed = min(limits.inflated_size_max, max(limits.deflate_ratio_from, limits.deflate_ratio_max * size))
    inflater = _Inflater(head, read, size)
    held: list[bytes] = []
    total = 0
    while piece := inflater.next():
        total += len(piece)
        if total > allowed:
            raise Refused(Because.CANNOT_UNDERSTAND, "the deflated data set inflates past the limit")
        if total <= _HELD_MAX:
            held.append(piece)
    inflater.finish(total)
    if total <= _HELD_MAX:
        return Window(b"".join(held), read, total)
    return Window(b"", _Forward(_Inflater(head, read, size)), total)


def inflated_whole(encoded: bytes, size_max: int) -> bytes | None:
    """A small deflated data set at once; None where it has more than ``size_max`` bytes. Raises zlib.error."""
    # One byte more is asked for: zlib may have read all of the input and still hold some of the output.
    found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded, size_max + 1)
    return found if len(found) <= size_max else None


def inflated_reader(read: Read, size: int) -> Read:
    """Reads a deflated data set by rising offsets, as if it were not; it was checked by :func:`inflated` before."""
    return _Forward(_Inflater(b"", read, size))


class _Inflater:
    """The pieces of an inflated data set, each of at most 64 KiB."""

    def __init__(self, head: bytes, read: Read, size: int) -> None:
        self._head = head
        self._read = read
        self._size = size
        self._at = 0
        self._pending = b""
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)

    def next(self) -> bytes:
        """The next piece, empty at the end of the deflated stream."""
        while not self._zlib.eof:
            try:
                piece = self._zlib.decompress(self._pending, _PIECE)
            except zlib.error:
                raise Refused(Because.CANNOT_UNDERSTAND, "the deflated data set is damaged") from None
            self._pending = self._zlib.unconsumed_tail
            if piece:
                return piece
            if not self._pending and not self._zlib.eof:
                self._pending = self._input()
        return b""

    def finish(self, total: int) -> None:
        """Check that nothing but one byte of padding, or a gzip trailer (some writers leave it), follows the stream."""
        left = self._zlib.unused_data
        if self._at < self._size and len(left) <= _TRAILER:
            left += self._input()
        trailer = left[4:_TRAILER] == (total & 0xFFFFFFFF).to_bytes(4, "little")
        if self._at < self._size or len(left) > (_TRAILER + 1 if trailer else 1):
            raise Refused(Because.CANNOT_UNDERSTAND, "there are bytes after the end of the deflated data set")

    def _input(self) -> bytes:
        if self._at >= self._size:
            raise Refused(Because.CANNOT_UNDERSTAND, "the deflated data set is cut")
        piece = self._head[self._at : self._at + _PIECE] or self._read(self._at, min(_PIECE, self._size - self._at))
        self._at += len(piece)
        return piece


class _Forward:
    """Reads an inflated data set by rising offsets; what lies between is thrown away."""

    def __init__(self, inflater: _Inflater) -> None:
        self._inflater = inflater
        self._piece = b""
        self._base = 0

    def __call__(self, offset: int, length: int) -> bytes:
        while offset >= self._base + len(self._piece):
            self._base += len(self._piece)
            self._piece = self._inflater.next()
            if not self._piece:
                return b""
        start = offset - self._base
        return self._piece[start : start + length]
