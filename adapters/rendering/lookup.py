"""Look-up tables: modality, VOI and palette (PS3.3 C.11.1, C.11.2, C.7.6.3.1.5, C.7.9.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.unfit import Unfit
from adapters.rendering.attributes import Attributes, required

DESCRIPTOR, DATA = 0x00283002, 0x00283006
_WHOLE = 65_536
_SEGMENTS_MAX = 65_536
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table; values below ``first`` or above the last entry take the first or last entry."""

    first: int
    entries: Array
    bits: int

    def of(self, values: Array) -> Array:
        """The entries for values, which are rounded to whole numbers."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        found: Array = self.entries[index]
        return found

    @property
    def highest(self) -> int:
        """The highest value that an entry can have."""
        return (1 << self.bits) - 1


def lookup(item: Attributes, *, signed: bool) -> Lookup:
    """The table of a Modality or VOI LUT Sequence's item; ``signed``: what goes in can be negative."""
    descriptor = required(item.words(DESCRIPTOR), 3, "a LUT descriptor")
    count = int(descriptor[0]) or _WHOLE
    bits = int(descriptor[2])
    if not 8 <= bits <= 16:
        raise Unfit("a LUT has entries of a depth that is not supported")
    data = item.words(DATA)
    if len(data) < count <= 2 * len(data) and bits == 8:
        data = np.frombuffer(item.bytes_of_words(DATA), np.uint8)
    entries = required(data, count, "a LUT").astype(np.uint16)
    return Lookup(_first(descriptor[1], signed=signed), entries, bits)


def palette(attributes: Attributes, *, signed: bool) -> tuple[Lookup, Lookup, Lookup]:
    """The three tables of PALETTE COLOR with entries of 8 bits. Raises Unfit where one is missing or short (B16)."""
    red, green, blue = (_colour(attributes, number, signed=signed) for number in range(3))
    return red, green, blue


def _colour(attributes: Attributes, number: int, *, signed: bool) -> Lookup:
    descriptor = required(attributes.words(0x00281101 + number), 3, "a palette's descriptor")
    count, bits = int(descriptor[0]) or _WHOLE, int(descriptor[2])
    if bits not in (8, 16):
        raise Unfit("a palette has entries of neither 8 nor 16 bits")
    data, segmented = 0x00281201 + number, 0x00281221 + number
    if segmented in attributes:
        wide = bits == 16
        raw = attributes.words(segmented) if wide else np.frombuffer(attributes.bytes_of_words(segmented), np.uint8)
        entries = _expanded(raw.tolist(), count, wide=wide)
    else:
        entries = attributes.words(data)
        if len(entries) < count and bits == 8:
            entries = np.frombuffer(attributes.bytes_of_words(data), np.uint8)
    entries = required(entries, count, "a palette")
    # The depth of many palettes is not the one that they declare: high bytes that are used decide.
    if entries.max(initial=0) > 0xFF:
        entries = entries >> 8
    return Lookup(_first(descriptor[1], signed=signed), entries.astype(np.uint8), 8)


def _first(word: int, *, signed: bool) -> int:
    first = int(word)
    return first - _WHOLE if signed and first >= _WHOLE // 2 else first


def _expanded(raw: list[int], count: int, *, wide: bool) -> Array:
    """A segmented table as entries (C.7.9.2)."""
    entries: list[int] = []
    _expand(raw, 0, _SEGMENTS_MAX, entries, count, wide=wide, may_refer=True)
    return np.array(entries[:count], np.uint16)


def _expand(
    raw: list[int], at: int, segments: int, entries: list[int], count: int, *, wide: bool, may_refer: bool
) -> None:
    while at + 1 < len(raw) and len(entries) < count and segments > 0:
        opcode, length = raw[at], raw[at + 1]
        at += 2
        segments -= 1
        if opcode == _DISCRETE:
            entries.extend(raw[at : at + length])
            at += length
        elif opcode == _LINEAR and at < len(raw) and entries and length:
            begin, end = entries[-1], raw[at]
            entries.extend(round(begin + (end - begin) * step / length) for step in range(1, length + 1))
            at += 1
        elif opcode == _INDIRECT and may_refer:
            size = 2 if wide else 4
            parts = raw[at : at + size]
            at += size
            offset = sum(part << (16 if wide else 8) * place for place, part in enumerate(parts))
            _expand(raw, offset // (2 if wide else 1), length, entries, count, wide=wide, may_refer=False)
        else:
            raise Unfit("a segmented palette is damaged")
