"""Encapsulated pixel data: which fragments are which frame's, and how frames are encapsulated (PS3.5 A.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate

from adapters.codecs.elements import Source
from adapters.codecs.unfit import Unfit
from adapters.dicom.frames import ITEM, SEQUENCE_END
from domain.limits import Limits

EXTENDED_OFFSETS, EXTENDED_LENGTHS, TOTAL_LENGTH = 0x7FE00001, 0x7FE00002, 0x7FE00003
_RLE_SEGMENTS_MAX, _RLE_HEADER = 15, 64
_STARTS = (
    *(b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP"),
    *(struct.pack("<II", segments, _RLE_HEADER) for segments in range(1, _RLE_SEGMENTS_MAX + 1)),
)
"""How the codestream of a frame begins: JPEG and JPEG-LS, JPEG 2000 alone and in its file format, RLE (PS3.5 G.5)."""

_START_MAX = max(map(len, _STARTS))
_BASIC_OFFSET_MAX = 0xFFFF_FFFE
_ITEM_HEADER = 8

Fragment = tuple[int, int]
"""Position of the first byte, length."""


class Frames:
    """The frames of encapsulated pixel data. An offset table leads to a frame; without one all fragments are walked."""

    def __init__(
        self, source: Source, position: int, frames: int, limits: Limits, extended_offsets: Sequence[int] = ()
    ) -> None:
        """``position`` is that of the basic offset table's item. Raises Unfit where there is none."""
        self._source = source
        self._limits = limits
        self._count = frames
        self._table = self._item(position)
        if self._table is None:
            raise Unfit("the fragments are damaged")
        at, length = self._table
        self._first = at + length
        basic = struct.unpack(f"<{length // 4}I", source.read(at, length // 4 * 4))
        offsets = extended_offsets or basic
        self._offsets = offsets if len(offsets) == frames and list(offsets) == sorted(set(offsets)) else ()
        self._walked: tuple[list[Fragment], int] | None = None
        self._by_walking: list[list[Fragment]] = []

    def frame(self, number: int) -> bytes:
        """The codestream of a frame, from 0 on. Raises Unfit where frames cannot be told apart."""
        return b"".join(self._source.read(position, length) for position, length in self.fragments(number))

    def fragments(self, number: int) -> list[Fragment]:
        """Where the codestream of a frame lies, from 0 on. Raises Unfit where frames cannot be told apart."""
        if found := self._by_table(number):
            return found
        if not self._by_walking:
            self._by_walking = self._grouped(self._all()[0])
        return self._by_walking[number]

    @property
    def end(self) -> int:
        """Where the pixel data's delimiter ends."""
        return self._all()[1]

    def _by_table(self, number: int) -> list[Fragment]:
        """The fragments between a frame's offset and the next one's; nothing where the table does not fit them."""
        if not self._offsets or self._offsets[0]:
            return []
        position = self._first + self._offsets[number]
        end = self._first + self._offsets[number + 1] if number + 1 < self._count else None
        found: list[Fragment] = []
        while position != end:
            item = self._item(position)
            if item is None:
                return found if end is None and self._is_end(position) else []
            found.append(item)
            position = sum(item)
            if (end is not None and position > end) or len(found) > self._limits.fragments_max:
                return []
        return found

    def _all(self) -> tuple[list[Fragment], int]:
        """All fragments, and where their delimiter ends. Raises Unfit where they are damaged."""
        if self._walked is None:
            position, found = self._first, []
            while item := self._item(position):
                found.append(item)
                position = sum(item)
                if len(found) > self._limits.fragments_max:
                    raise Unfit("the fragments are damaged")
            if not self._is_end(position):
                raise Unfit("the fragments are damaged")
            self._walked = found, position + _ITEM_HEADER
        return self._walked

    def _item(self, position: int) -> Fragment | None:
        """The value of the item at a position, None where there is no whole item."""
        group, number, length = self._header(position)
        value = position + _ITEM_HEADER
        return (value, length) if group << 16 | number == ITEM and value + length <= self._source.size else None

    def _is_end(self, position: int) -> bool:
        group, number, _ = self._header(position)
        return group << 16 | number == SEQUENCE_END

    def _header(self, position: int) -> tuple[int, int, int]:
        group, number, length = struct.unpack("<HHI", self._source.peek(position, _ITEM_HEADER))
        return group, number, length

    def _grouped(self, fragments: list[Fragment]) -> list[list[Fragment]]:
        frames = self._count
        if len(fragments) != frames:
            # An empty one holds nothing of any frame.
            fragments = [fragment for fragment in fragments if fragment[1]]
        if len(fragments) == frames:
            return [[fragment] for fragment in fragments]
        if len(fragments) < frames:
            raise Unfit("there are fewer fragments than frames")
        begins = [
            number
            for number, (position, length) in enumerate(fragments)
            if self._source.peek(position, min(_START_MAX, length)).startswith(_STARTS)
        ]
        if frames == 1 and len(begins) < 2:
            return [fragments]
        if len(begins) != frames or begins[0] != 0:
            raise Unfit("which fragments belong to which frame cannot be told")
        return [fragments[begin:end] for begin, end in zip(begins, [*begins[1:], len(fragments)], strict=True)]


def offsets_of(lengths: Sequence[int]) -> list[int]:
    """Where each frame's item begins, counted from the first."""
    return list(accumulate((length + _ITEM_HEADER for length in lengths[:-1]), initial=0))


def needs_extended(lengths: Sequence[int]) -> bool:
    """Whether the offsets are too large for a basic offset table (PS3.5 A.4, CP-1818)."""
    return len(lengths) > 1 and offsets_of(lengths)[-1] > _BASIC_OFFSET_MAX


def extended(lengths: Sequence[int]) -> tuple[bytes, bytes]:
    """Values of the Extended Offset Table and its lengths (PS3.3 C.7.6.3)."""
    count = len(lengths)
    return struct.pack(f"<{count}Q", *offsets_of(lengths)), struct.pack(f"<{count}Q", *lengths)


def offset_table(lengths: Sequence[int]) -> bytes:
    """The basic offset table's item: empty for one frame, and where the extended one is there."""
    if len(lengths) < 2 or needs_extended(lengths):
        return item_header(0)
    return item_header(4 * len(lengths)) + struct.pack(f"<{len(lengths)}I", *offsets_of(lengths))


def item_header(length: int) -> bytes:
    """The header of a fragment's item."""
    return struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, length)


DELIMITER = struct.pack("<HHI", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
