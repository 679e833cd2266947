"""The boxes of which MP4 and JP2 files are made (ISO/IEC 14496-12 4.2, T.800 I.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

Read = Callable[[int, int], bytes]
"""Bytes of the bulk data from an offset, fewer only at its end."""

Box = tuple[bytes, int, int]
"""Its kind, and where its content begins and ends."""

_BOX_MAX = 4096


def inside(read: Read, start: int, end: int, path: tuple[bytes, ...]) -> list[Box]:
    """The boxes within the first box at the end of a path of kinds."""
    for kind in path:
        found = next(((first, last) for one, first, last in boxes(read, start, end) if one == kind), None)
        if found is None:
            return []
        start, end = found
    return list(boxes(read, start, end))


def boxes(read: Read, at: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets. Raises ValueError where one is longer than what holds it."""
    for _ in range(_BOX_MAX):
        if at + 8 > end:
            return
        length, kind = struct.unpack(">I4s", read(at, 8))
        start = at + 8
        if length == 1:
            (length,) = struct.unpack(">Q", read(start, 8))
            start += 8
        following = end if length == 0 else at + length
        if following < start or following > end:
            raise ValueError("a box is longer than what holds it")
        yield kind, start, following
        at = following
    raise ValueError("too many boxes")
