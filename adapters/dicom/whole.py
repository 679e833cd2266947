"""A walk that hands out every element of a data set: what is short as bytes, what is long as where it lies."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from pydicom._dicom_dict import DicomDictionary

from adapters.dicom.findings import Items, Scan, Span, Values
from adapters.dicom.frames import FRAGMENTS, Everything, Frame, refused
from adapters.dicom.source import Read, Window, inflated
from adapters.dicom.syntaxes import encoding_of
from adapters.dicom.walk import Walk
from domain.errors import Refused
from domain.limits import Limits
from domain.transcoding import IMPLICIT

_SEQUENCES = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


@dataclass(frozen=True, slots=True)
class Whole:
    """All elements of a data set; spans count from its first byte, of a deflated one inflated."""

    values: Values
    big_endian: bool
    deflated: bool


def whole(head: bytes, read: Read, size: int, transfer_syntax_uid: str, limits: Limits) -> Whole:
    """Walk a data set of ``size`` bytes without reading long values. ``head`` is its beginning. Raises C000."""
    encoding = encoding_of(transfer_syntax_uid)
    window = inflated(head, read, size, limits) if encoding.deflated else Window(head, read, size)
    found = _WholeWalk(window, encoding, Everything(), _SEQUENCES, _without_cropping(limits)).run()
    return Whole(found.values, encoding.big_endian, encoding.deflated)


def unknown_items(tag: int, value: bytes) -> bytes | Items:
    """The items in a value that was sent as UN: implicit VR little endian (PS3.5 6.2.2 note 2); else the value."""
    element = struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    encoding = encoding_of(IMPLICIT)
    try:
        window = Window(element, lambda _offset, _length: b"", len(element))
        found = _WholeWalk(window, encoding, Everything(), _SEQUENCES | {tag}, Limits()).run()
    except Refused:
        return value
    items = found.values[tag][1]
    return items if isinstance(items, list) else value


def _without_cropping(limits: Limits) -> Limits:
    return replace(limits, indexed_items_max=limits.sequence_items_max, indexed_sequences_max=limits.header_size_max)


class _WholeWalk(Walk):
    counts_root = True

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.captured_depth_max = self.limits.sequence_depth_max
        self.value_max = self.limits.metadata_value_max

    def run(self) -> Scan:
        self._walk()
        return self.found

    def _capture_long(self, frame: Frame, tag: int, vr: bytes, start: int, length: int) -> None:
        assert frame.values is not None
        if length > self.value_max:
            frame.values[tag] = (vr, Span(start, length, frame.big))
            self._count_captured(frame, 0)
            return
        frame.values[tag] = (vr, self.window.move(start, length)[:length])
        self._count_captured(frame, length)

    def _open_undefined(self, frame: Frame, tag: int, vr: bytes, start: int) -> None:
        super()._open_undefined(frame, tag, vr, start)
        if self.stack[-1].kind == FRAGMENTS and frame.values is not None:
            frame.values[tag] = (vr or b"OW", Span(start, None, False))

    def _count_captured(self, _frame: Frame, length: int) -> None:
        self.captured += length + 32
        if self.captured > self.limits.indexed_sequences_max:
            raise refused("the header is larger than header_size_max")
