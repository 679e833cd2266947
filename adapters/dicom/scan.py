"""The bounded scan: checks the structure of a whole data set without reading its pixels (reliability D20, stage 1).

It knows no attribute's meaning. It walks tags, VRs and lengths on an explicit stack, jumps over values by their
length, and hands out the raw values of the attributes that are indexed. What it refuses, it refuses with C000.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from pydicom._dicom_dict import DicomDictionary

from adapters.dicom.source import Read, Window, inflated
from adapters.dicom.syntaxes import Encoding
from domain.errors import Because, Refused
from domain.limits import Limits

Items = list["dict[int, tuple[bytes, bytes | Items]]"]
Values = dict[int, tuple[bytes, bytes | Items]]
"""Raw values by tag: VR (empty in implicit VR) and bytes, or the items of a sequence."""

PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)
VALUE_MAX_FACTOR = 8
"""A value is handed out up to so many bytes for each character that is indexed."""

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_FIRST_DATA_SET_TAG = 0x00040000
_FIRST_DELIMITER_TAG = 0xFFFE0000
_CAPTURED_DEPTH_MAX = 8
_LITTLE = (struct.Struct("<HH2sH"), struct.Struct("<HHI"), struct.Struct("<I"))
_BIG = (struct.Struct(">HH2sH"), struct.Struct(">HHI"), struct.Struct(">I"))
_SHORT_FORM, _LONG_FORM, _SEQUENCE_FORM = 0, 1, 2
_FORMS: dict[bytes, int] = (
    dict.fromkeys(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(), _SHORT_FORM)
    | dict.fromkeys(b"OB OD OF OL OV OW SV UC UN UR UT UV".split(), _LONG_FORM)
    | {b"SQ": _SEQUENCE_FORM}
)
_BINARY_SIZES = {b"AT": 4, b"FD": 8, b"FL": 4, b"SL": 4, b"SS": 2, b"UL": 4, b"US": 2}
_FRAGMENTED = frozenset((b"OB", b"OW", b"OD", b"OF", b"OL", b"OV"))
_ELEMENTS, _ITEMS, _FRAGMENTS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixel data element: ``length`` is None for encapsulated, with ``fragments`` counted without offset table."""

    tag: int
    length: int | None
    fragments: int = 0


@dataclass(slots=True)
class Scan:
    """What a scan found."""

    values: Values
    big_endian: bool
    pixels: Pixels | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Frame:
    """One open container: a data set, an item, a sequence or encapsulated pixel data."""

    kind: int
    end: int
    delimited: bool
    implicit: bool
    big: bool
    want: Container[int] = ()
    values: Values | None = None
    items: Items | None = None
    last: int = _FIRST_DATA_SET_TAG - 1
    seen: set[int] = field(default_factory=set)
    tag: int = 0
    unknown: bool = False


class _Everything:
    """Contains every tag that can stand in an indexed item."""

    def __contains__(self, _tag: object) -> bool:
        return True


class Scanner:
    """Scans data sets for the attributes in ``wanted`` (tags as numbers)."""

    def __init__(self, wanted: Iterable[int], limits: Limits) -> None:
        self._wanted = frozenset(wanted) | frozenset(PIXEL_DATA)
        self._limits = limits
        self._sequences = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")

    def scan(self, head: bytes, read: Read, size: int, encoding: Encoding) -> Scan:
        """Check a data set of ``size`` bytes. ``head`` is its beginning, ``read`` gives more of it. Raises C000."""
        window = inflated(head, read, size, self._limits) if encoding.deflated else Window(head, read, size)
        return _Walk(window, encoding, self._wanted, self._sequences, self._limits).run()


class _Walk:
    """One scan under way."""

    def __init__(
        self, window: Window, encoding: Encoding, wanted: frozenset[int], sequences: frozenset[int], limits: Limits
    ) -> None:
        self.window = window
        self.limits = limits
        self.sequences = sequences
        self.value_max = limits.indexed_text_max * VALUE_MAX_FACTOR
        self.position = 0
        self.elements = 0
        self.items = 0
        self.fragments = 0
        self.captured = 0
        self.found = Scan({}, encoding.big_endian)
        root = _Frame(_ELEMENTS, window.size, False, encoding.implicit, encoding.big_endian, wanted, self.found.values)
        self.stack = [root]

    def run(self) -> Scan:
        """Walk all containers."""
        steps = (self._walk_elements, self._walk_items, self._walk_fragments)
        while self.stack:
            frame = self.stack[-1]
            steps[frame.kind](frame)
        for tag in PIXEL_DATA:
            if (short := self.found.values.pop(tag, None)) is not None:
                self.found.pixels = Pixels(tag, len(short[1]))
        return self.found

    def _walk_elements(self, frame: _Frame) -> None:
        """Walk elements up to the end of the container, or to the next sequence. The hot loop: all in locals."""
        window = self.window
        data, base, size = window.data, window.base, window.size
        loaded = len(data)
        position, end, implicit = self.position, frame.end, frame.implicit
        explicit_header, implicit_header, long_length = _BIG if frame.big else _LITTLE
        want, values, last, seen = frame.want, frame.values, frame.last, frame.seen
        forms, sequences = _FORMS, self.sequences
        count, count_max = self.elements, self.limits.elements_max
        while position < end:
            at = position - base
            if at + 12 > loaded and base + loaded < size:
                data, base, at = window.move(position), position, 0
                loaded = len(data)
            start = position + 8
            if start > end:
                raise self._cut(position)
            group, element, vr, length = explicit_header.unpack_from(data, at)
            tag = group << 16 | element
            if last < tag < _FIRST_DELIMITER_TAG:
                last = tag
            elif tag == _ITEM_END:
                self._end_item(frame, position, data, at)
                self.elements = count
                return
            else:
                self._disorder(frame, tag, last, position)
            seen.add(tag)
            form = None
            if implicit:
                vr = b""
                length = implicit_header.unpack_from(data, at)[2]
                form = _SEQUENCE_FORM if tag in sequences else _LONG_FORM
            else:
                form = forms.get(vr)
                if form is None:
                    self.position = position
                    vr, length, start = self._unknown_vr(frame, vr, length)
                    data, base = window.data, window.base
                    loaded = len(data)
                elif form:
                    start += 4
                    if start > end:
                        raise self._cut(position)
                    (length,) = long_length.unpack_from(data, at + 8)
            count += 1
            if count > count_max:
                raise _refused("the data set has more elements than elements_max")
            if length & 1:
                if length == _UNDEFINED:
                    self._open_undefined(frame, tag, vr, start)
                    frame.last, self.elements = last, count
                    return
                self._odd(tag, vr, length, position)
            following = start + length
            if following > end:
                raise self._cut(position)
            if form == _SEQUENCE_FORM:
                self._open_sequence(frame, tag, start, following)
                frame.last, self.elements = last, count
                return
            if values is not None and tag in want:
                if following <= base + loaded and length <= self.value_max:
                    values[tag] = (vr, data[start - base : following - base])
                    if len(self.stack) > 1:
                        self._count_captured(frame, length)
                        values = frame.values
                else:
                    self._capture_long(frame, tag, vr, start, length)
                    data, base = window.data, window.base
                    loaded = len(data)
            position = following
        self.elements = count
        self.position = position
        self._end_by_length(frame)

    def _walk_items(self, frame: _Frame) -> None:
        """Walk the items of a sequence up to its end, or to the next item that is not empty."""
        header = (_BIG if frame.big else _LITTLE)[1]
        while self.position < frame.end:
            position = self.position
            group, element, length = header.unpack_from(self._bytes(position, 8, frame.end))
            tag, start = group << 16 | element, position + 8
            if tag == _SEQUENCE_END and frame.delimited and not length:
                self.position = start
                self.stack.pop()
                return
            if tag != _ITEM:
                raise _refused(f"at byte {position} is no item where one must be")
            self.items += 1
            if self.items > self.limits.sequence_items_max:
                raise _refused("the data set has more items than sequence_items_max")
            values = self._captured_item(frame)
            self.position = start
            if length:
                self._open_item(frame, start, length, values)
                return
        self._end_by_length(frame)

    def _walk_fragments(self, frame: _Frame) -> None:
        """Jump over the fragments of encapsulated pixel data (PS3.5 A.4)."""
        header = (_BIG if frame.big else _LITTLE)[1]
        window, position, end = self.window, self.position, frame.end
        data, base = window.data, window.base
        fragments = 0
        while position + 8 <= end:
            at = position - base
            if at + 8 > len(data):
                data, base, at = window.move(position), position, 0
            group, element, length = header.unpack_from(data, at)
            tag = group << 16 | element
            position += 8
            if tag == _ITEM and not length & 1:
                position += length
                fragments += 1
                if self.fragments + fragments > self.limits.fragments_max:
                    raise _refused("the pixel data has more fragments than fragments_max")
            elif tag == _SEQUENCE_END and not length:
                if len(self.stack) == 2 and frame.tag in PIXEL_DATA:
                    self.found.pixels = Pixels(frame.tag, None, max(0, fragments - 1))
                self.fragments += fragments
                self.position = position
                self.stack.pop()
                return
            else:
                raise _refused(f"at byte {position - 8} is no fragment where one must be")
        raise self._cut(position)

    def _open_sequence(self, frame: _Frame, tag: int, start: int, end: int, delimited: bool = False) -> None:
        if len(self.stack) >= 2 * self.limits.sequence_depth_max:
            raise _refused("the sequences are nested deeper than sequence_depth_max")
        items: Items | None = None
        if frame.values is not None and tag in frame.want and len(self.stack) < 2 * _CAPTURED_DEPTH_MAX:
            items = []
            frame.values[tag] = (b"SQ", items)
        self.position = start
        self.stack.append(_Frame(_ITEMS, end, delimited, frame.implicit, frame.big, items=items, tag=tag))

    def _open_undefined(self, frame: _Frame, tag: int, vr: bytes, start: int) -> None:
        """Open a value of undefined length: a sequence or fragments, by its VR (PS3.5 7.1.3, 6.2.2 note 6)."""
        if vr in _FRAGMENTED or (not vr and tag in PIXEL_DATA):
            self.position = start
            self.stack.append(_Frame(_FRAGMENTS, frame.end, True, frame.implicit, frame.big, tag=tag))
            return
        if vr not in (b"SQ", b"UN", b""):
            raise _refused(f"{_name(tag)} has an undefined length")
        self._open_sequence(frame, tag, start, frame.end, delimited=True)
        sequence = self.stack[-1]
        if vr == b"UN":
            sequence.unknown = True
            if frame.big:
                sequence.big, sequence.implicit, sequence.items = False, True, None
        elif not vr:
            sequence.implicit = True

    def _open_item(self, frame: _Frame, start: int, length: int, values: Values | None) -> None:
        delimited = length == _UNDEFINED
        end = frame.end if delimited else start + length
        if end > frame.end:
            raise self._cut(start - 8)
        if length & 1 and not delimited:
            raise _refused(f"the item at byte {start - 8} has an odd length")
        implicit = frame.implicit
        if not implicit and end - start >= 8:
            vr = self._bytes(start, 6, end)[4:6]
            implicit = not (vr.isalpha() and vr.isupper())
            if implicit and not frame.unknown and vr != b"\0\0":
                self._warn("an item is encoded in implicit VR")
        want: Container[int] = _Everything() if values is not None else ()
        self.stack.append(_Frame(_ELEMENTS, end, delimited, implicit, frame.big, want, values))

    def _captured_item(self, frame: _Frame) -> Values | None:
        if frame.items is None:
            return None
        if len(frame.items) >= self.limits.indexed_items_max or self.captured > self.limits.indexed_sequences_max:
            self._warn(f"{_name(frame.tag)}: not all items are indexed")
            frame.items = None
            return None
        values: Values = {}
        frame.items.append(values)
        return values

    def _capture_long(self, frame: _Frame, tag: int, vr: bytes, start: int, length: int) -> None:
        """Hand out the beginning of a value that is large or not in the window."""
        if tag in PIXEL_DATA:
            if len(self.stack) == 1:
                self.found.pixels = Pixels(tag, length)
            return
        assert frame.values is not None
        shown = min(length, self.value_max)
        frame.values[tag] = (vr, self.window.move(start, shown)[:shown])
        if len(self.stack) > 1:
            self._count_captured(frame, shown)

    def _count_captured(self, frame: _Frame, length: int) -> None:
        self.captured += length + 32
        if self.captured > self.limits.indexed_sequences_max:
            self._warn("the indexed sequences are larger than indexed_sequences_max")
            frame.values = None

    def _end_item(self, frame: _Frame, position: int, data: bytes, at: int) -> None:
        if not frame.delimited or data[at + 4 : at + 8] != b"\0\0\0\0":
            raise _refused(f"at byte {position} is an item delimiter where none may be")
        self.position = position + 8
        self.stack.pop()

    def _end_by_length(self, frame: _Frame) -> None:
        if frame.delimited:
            raise self._cut(self.position)
        self.stack.pop()

    def _disorder(self, frame: _Frame, tag: int, last: int, position: int) -> None:
        """Look at a tag that is not above all before it: duplicates are refused, the rest is noted."""
        if tag >= _FIRST_DELIMITER_TAG:
            raise _refused(f"at byte {position} is {_name(tag)}, which is no element")
        if tag in frame.seen:
            raise _refused(f"{_name(tag)} stands twice in one data set")
        if tag < _FIRST_DATA_SET_TAG:
            self._warn(f"the data set holds elements of group {tag >> 16:04X}")
        elif tag < last:
            self._warn("the elements are not in the order of their tags")

    def _unknown_vr(self, frame: _Frame, vr: bytes, length: int) -> tuple[bytes, int, int]:
        """VR, length and start of an element whose VR is in no table (B17, PS3.5 6.2.2 and 7.1.2).

        Two capital letters are a VR of a later edition, or a private one: written with a short length, or with the
        long one after two zero bytes. Anything else is an element that was written in implicit VR.
        """
        position = self.position
        packed = (_BIG if frame.big else _LITTLE)[2]
        ahead = self._bytes(position, min(14, frame.end - position), frame.end)
        if not (vr.isalpha() and vr.isupper()):
            (long,) = packed.unpack_from(ahead, 4)
            if long == _UNDEFINED or position + 8 + long <= frame.end:
                self._warn("elements are encoded in implicit VR")
                return b"", long, position + 8
        self._warn("elements have an unknown VR")
        if length or len(ahead) < 12 or ahead[12:14] in _FORMS:
            return b"UN", length, position + 8
        return b"UN", packed.unpack_from(ahead, 8)[0], position + 12

    def _odd(self, tag: int, vr: bytes, length: int, position: int) -> None:
        """Refuse an odd length; a number cut short is only not indexed (B18)."""
        if not vr:
            vr = str(DicomDictionary.get(tag, ("",))[0]).encode()
        if length > _BINARY_SIZES.get(vr, 0):
            raise _refused(f"{_name(tag)} at byte {position} has an odd length")
        self._warn(f"{_name(tag)}: has a wrong length")

    def _bytes(self, position: int, length: int, end: int) -> bytes:
        """Some bytes of the data set, moving the window where it does not hold them."""
        if position + length > end:
            raise self._cut(position)
        window = self.window
        at = position - window.base
        if at + length > len(window.data):
            window.move(position)
            at = 0
        return window.data[at : at + length]

    def _cut(self, position: int) -> Refused:
        return _refused(f"the data set is cut: what begins at byte {position} goes past the end of what holds it")

    def _warn(self, text: str) -> None:
        if text not in self.found.warnings and len(self.found.warnings) < self.limits.header_warnings_max:
            self.found.warnings.append(text)


def _refused(text: str) -> Refused:
    return Refused(Because.CANNOT_UNDERSTAND, text)


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
