"""The bytes of one value of a stored data set, as the web gets them: little endian, text in UTF-8."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from adapters.dicom.byte_order import swapped
from adapters.dicom.source import Read

_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BytesValue:
    """A value that was read."""

    data: bytes

    @property
    def length(self) -> int | None:
        """In bytes."""
        return len(self.data)

    def pieces(self, start: int, length: int) -> Iterator[bytes]:
        """A range of it."""
        yield self.data[start : start + length]


@dataclass(frozen=True, slots=True)
class FileValue:
    """A value where it lies. ``open`` gives a reader for one pass, by rising offsets."""

    open: Callable[[], Read]
    start: int
    length: int | None
    swapped_vr: bytes = b""

    def pieces(self, start: int, length: int) -> Iterator[bytes]:
        """A range of it, some at a time; where it is big endian, in whole words."""
        read = self.open()
        end = start + length
        at = start - start % 8
        while at < end:
            piece = _exactly(read, self.start + at, min(_PIECE, (self.length or 0) - at))
            plain = swapped(piece, self.swapped_vr) if self.swapped_vr else piece
            yield plain[max(0, start - at) : end - at]
            at += len(piece)


@dataclass(frozen=True, slots=True)
class EncapsulatedValue:
    """Encapsulated pixel data: fragments, of which only frames can be given out."""

    length: int | None = None

    def pieces(self, _start: int, _length: int) -> Iterator[bytes]:
        """None."""
        return iter(())


def _exactly(read: Read, offset: int, length: int) -> bytes:
    pieces: list[bytes] = []
    while length > 0:
        piece = read(offset, length)
        if not piece:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
