"""One walk over the elements, items and fragments of a data set, on an explicit stack (PS3.5 section 7).

Longer than a module should be: the three loops share what they keep, and each call between them would be paid a tag.
"""

from __future__ import annotations

from collections.abc import Container

from pydicom._dicom_dict import DicomDictionary

from adapters.dicom.findings import PIXEL_DATA, Items, Pixels, Scan, Values
from adapters.dicom.frames import (
    BIG,
    BINARY_SIZES,
    ELEMENTS,
    FIRST_DATA_SET_TAG,
    FIRST_DELIMITER_TAG,
    FORMS,
    FRAGMENTED,
    FRAGMENTS,
    ITEM,
    ITEM_END,
    ITEMS,
    LITTLE,
    LONG_FORM,
    SEQUENCE_END,
    SEQUENCE_FORM,
    UNDEFINED,
    Everything,
    Frame,
    refused,
    tag_name,
)
from adapters.dicom.source import Window
from adapters.dicom.syntaxes import Encoding
from domain.errors import Refused
from domain.limits import Limits

_VALUE_MAX_FACTOR = 8
"""A value is handed out up to so many bytes for each character that is indexed."""

_CAPTURED_DEPTH_MAX = 8


class Walk:
    """One scan under way."""

    captured_depth_max = _CAPTURED_DEPTH_MAX
    counts_root = False

    def __init__(
        self, window: Window, encoding: Encoding, wanted: Container[int], sequences: frozenset[int], limits: Limits
    ) -> None:
        self.window = window
        self.limits = limits
        self.sequences = sequences
        self.value_max = limits.indexed_text_max * _VALUE_MAX_FACTOR
        self.position = 0
        self.elements = 0
        self.items = 0
        self.fragments = 0
        self.captured = 0
        self.found = Scan({}, encoding.big_endian)
        root = Frame(ELEMENTS, window.size, False, encoding.implicit, encoding.big_endian, wanted, self.found.values)
        self.stack = [root]

    def run(self) -> Scan:
        """Walk all containers."""
        self._walk()
        for tag in PIXEL_DATA:
            if isinstance(short := self.found.values.pop(tag, (b"", None))[1], bytes):
                self.found.pixels = Pixels(tag, len(short))
        return self.found

    def _walk(self) -> None:
        steps = (self._walk_elements, self._walk_items, self._walk_fragments)
        while self.stack:
            frame = self.stack[-1]
            steps[frame.kind](frame)

    def _walk_elements(self, frame: Frame) -> None:
        """Walk elements up to the end of the container, or to the next sequence. The hot loop: all in locals."""
        window = self.window
        data, base, size = window.data, window.base, window.size
        loaded = len(data)
        position, end, implicit = self.position, frame.end, frame.implicit
        explicit_header, implicit_header, long_length = BIG if frame.big else LITTLE
        want, values, last, seen = frame.want, frame.values, frame.last, frame.seen
        forms, sequences = FORMS, self.sequences
        counted = self.counts_root or len(self.stack) > 1
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
            if last < tag < FIRST_DELIMITER_TAG:
                last = tag
            elif tag == ITEM_END:
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
                form = SEQUENCE_FORM if tag in sequences else LONG_FORM
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
                raise refused("the data set has more elements than elements_max")
            if length & 1:
                if length == UNDEFINED:
                    self._open_undefined(frame, tag, vr, start)
                    frame.last, self.elements = last, count
                    return
                self._odd(tag, vr, length, position)
            following = start + length
            if following > end:
                raise self._cut(position)
            if form == SEQUENCE_FORM:
                self._open_sequence(frame, tag, start, following)
                frame.last, self.elements = last, count
                return
            if values is not None and tag in want:
                if following <= base + loaded and length <= self.value_max:
                    values[tag] = (vr, data[start - base : following - base])
                    if counted:
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

    def _walk_items(self, frame: Frame) -> None:
        """Walk the items of a sequence up to its end, or to the next item that is not empty."""
        header = (BIG if frame.big else LITTLE)[1]
        while self.position < frame.end:
            position = self.position
            group, element, length = header.unpack_from(self._bytes(position, 8, frame.end))
            tag, start = group << 16 | element, position + 8
            if tag == SEQUENCE_END and frame.delimited and not length:
                self.position = start
                self.stack.pop()
                return
            if tag != ITEM:
                raise refused(f"at byte {position} is no item where one must be")
            self.items += 1
            if self.items > self.limits.sequence_items_max:
                raise refused("the data set has more items than sequence_items_max")
            values = self._captured_item(frame)
            self.position = start
            if length:
                self._open_item(frame, start, length, values)
                return
        self._end_by_length(frame)

    def _walk_fragments(self, frame: Frame) -> None:
        """Jump over the fragments of encapsulated pixel data (PS3.5 A.4)."""
        header = (BIG if frame.big else LITTLE)[1]
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
            if tag == ITEM and not length & 1:
                position += length
                fragments += 1
                if self.fragments + fragments > self.limits.fragments_max:
                    raise refused("the pixel data has more fragments than fragments_max")
            elif tag == SEQUENCE_END and not length:
                if len(self.stack) == 2 and frame.tag in PIXEL_DATA:
                    self.found.pixels = Pixels(frame.tag, None, max(0, fragments - 1))
                self.fragments += fragments
                self.position = position
                self.stack.pop()
                return
            else:
                raise refused(f"at byte {position - 8} is no fragment where one must be")
        raise self._cut(position)

    def _open_sequence(self, frame: Frame, tag: int, start: int, end: int, delimited: bool = False) -> None:
        if len(self.stack) >= 2 * self.limits.sequence_depth_max:
            raise refused("the sequences are nested deeper than sequence_depth_max")
        items: Items | None = None
        if frame.values is not None and tag in frame.want and len(self.stack) < 2 * self.captured_depth_max:
            items = []
            frame.values[tag] = (b"SQ", items)
        self.position = start
        self.stack.append(Frame(ITEMS, end, delimited, frame.implicit, frame.big, items=items, tag=tag))

    def _open_undefined(self, frame: Frame, tag: int, vr: bytes, start: int) -> None:
        """Open a value of undefined length: a sequence or fragments, by its VR (PS3.5 7.1.3, 6.2.2 note 6)."""
        if vr in FRAGMENTED or (not vr and tag in PIXEL_DATA):
            self.position = start
            self.stack.append(Frame(FRAGMENTS, frame.end, True, frame.implicit, frame.big, tag=tag))
            return
        if vr not in (b"SQ", b"UN", b""):
            raise refused(f"{tag_name(tag)} has an undefined length")
        self._open_sequence(frame, tag, start, frame.end, delimited=True)
        sequence = self.stack[-1]
        if vr == b"UN":
            sequence.unknown = True
            if frame.big:
                sequence.big, sequence.implicit, sequence.items = False, True, None
        elif not vr:
            sequence.implicit = True

    def _open_item(self, frame: Frame, start: int, length: int, values: Values | None) -> None:
        delimited = length == UNDEFINED
        end = frame.end if delimited else start + length
        if end > frame.end:
            raise self._cut(start - 8)
        if length & 1 and not delimited:
            raise refused(f"the item at byte {start - 8} has an odd length")
        implicit = frame.implicit
        if not implicit and end - start >= 8:
            vr = self._bytes(start, 6, end)[4:6]
            implicit = not (vr.isalpha() and vr.isupper())
            if implicit and not frame.unknown and vr != b"\0\0":
                self._warn("an item is encoded in implicit VR")
        want: Container[int] = Everything() if values is not None else ()
        self.stack.append(Frame(ELEMENTS, end, delimited, implicit, frame.big, want, values))

    def _captured_item(self, frame: Frame) -> Values | None:
        if frame.items is None:
            return None
        if len(frame.items) >= self.limits.indexed_items_max or self.captured > self.limits.indexed_sequences_max:
            self._warn(f"{tag_name(frame.tag)}: not all items are indexed")
            frame.items = None
            return None
        values: Values = {}
        frame.items.append(values)
        return values

    def _capture_long(self, frame: Frame, tag: int, vr: bytes, start: int, length: int) -> None:
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

    def _count_captured(self, frame: Frame, length: int) -> None:
        self.captured += length + 32
        if self.captured > self.limits.indexed_sequences_max:
            self._warn("the indexed sequences are larger than indexed_sequences_max")
            frame.values = None

    def _end_item(self, frame: Frame, position: int, data: bytes, at: int) -> None:
        if not frame.delimited or data[at + 4 : at + 8] != b"\0\0\0\0":
            raise refused(f"at byte {position} is an item delimiter where none may be")
        self.position = position + 8
        self.stack.pop()

    def _end_by_length(self, frame: Frame) -> None:
        if frame.delimited:
            raise self._cut(self.position)
        self.stack.pop()

    def _disorder(self, frame: Frame, tag: int, last: int, position: int) -> None:
        """Look at a tag that is not above all before it: duplicates are refused, the rest is noted."""
        if tag >= FIRST_DELIMITER_TAG:
            raise refused(f"at byte {position} is {tag_name(tag)}, which is no element")
        if tag in frame.seen:
            raise refused(f"{tag_name(tag)} stands twice in one data set")
        if tag < FIRST_DATA_SET_TAG:
            self._warn(f"the data set holds elements of group {tag >> 16:04X}")
        elif tag < last:
            self._warn("the elements are not in the order of their tags")

    def _unknown_vr(self, frame: Frame, vr: bytes, length: int) -> tuple[bytes, int, int]:
        """VR, length and start of an element whose VR is in no table (B17, PS3.5 6.2.2 and 7.1.2).

        Two capital letters are a VR of a later edition, or a private one: written with a short length, or with the
        long one after two zero bytes. Anything else is an element that was written in implicit VR.
        """
        position = self.position
        packed = (BIG if frame.big else LITTLE)[2]
        ahead = self._bytes(position, min(14, frame.end - position), frame.end)
        if not (vr.isalpha() and vr.isupper()):
            (long,) = packed.unpack_from(ahead, 4)
            if long == UNDEFINED or position + 8 + long <= frame.end:
                self._warn("elements are encoded in implicit VR")
                return b"", long, position + 8
        self._warn("elements have an unknown VR")
        if length or len(ahead) < 12 or ahead[12:14] in FORMS:
            return b"UN", length, position + 8
        return b"UN", packed.unpack_from(ahead, 8)[0], position + 12

    def _odd(self, tag: int, vr: bytes, length: int, position: int) -> None:
        """Refuse an odd length; a number cut short is only not indexed (B18)."""
        if not vr:
            vr = str(DicomDictionary.get(tag, ("",))[0]).encode()
        if length > BINARY_SIZES.get(vr, 0):
            raise refused(f"{tag_name(tag)} at byte {position} has an odd length")
        self._warn(f"{tag_name(tag)}: has a wrong length")

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
        return refused(f"the data set is cut: what begins at byte {position} goes past the end of what holds it")

    def _warn(self, text: str) -> None:
        if text not in self.found.warnings and len(self.found.warnings) < self.limits.header_warnings_max:
            self.found.warnings.append(text)
