"""Data sets as bytes: elements found, copied as they are, or written in another encoding (PS3.5 section 7).

What has no reason to change is never decoded. Structure was checked on receipt; what is wrong here is Unfit.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from adapters.codecs.unfit import Unfit
from adapters.dicom.byte_order import swapped
from adapters.dicom.frames import (
    BIG,
    FORMS,
    ITEM,
    ITEM_END,
    LITTLE,
    LONG_FORM,
    SEQUENCE_END,
    SEQUENCE_FORM,
    SHORT_FORM,
    UNDEFINED,
)

PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA = (0x7FE00008, 0x7FE00009)
"""Of single and of double precision."""

_WINDOW = 16 * 1024
_PIECE = 1024 * 1024
_DEPTH_MAX = 64
_LONG_HEADER = 12
_SHORT_LENGTH_MAX = 0xFFFF
_LONG_FORMS = (LONG_FORM, SEQUENCE_FORM)


@dataclass(frozen=True, slots=True)
class Form:
    """How elements are written."""

    implicit: bool
    big: bool

    @property
    def order(self) -> str:
        """The byte order as ``struct`` names it."""
        return ">" if self.big else "<"


class Element(NamedTuple):
    """Where an element stands. ``vr`` is empty in implicit form; ``length`` is UNDEFINED where a delimiter ends it."""

    tag: int
    vr: bytes
    start: int
    value: int
    length: int
    end: int


class Source:
    """A part of a file, read through a window: the bytes that were read last, from ``base`` on."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor
        self._offset = offset
        self.base = 0
        self.window = b""

    def read(self, position: int, length: int) -> bytes:
        """Exactly so many bytes. Raises Unfit past the end."""
        at = position - self.base
        if at >= 0 and at + length <= len(self.window):
            return self.window[at : at + length]
        if position < 0 or position + length > self.size:
            raise Unfit("the object ends in the middle of a value")
        if length > _WINDOW:
            return self._pread(position, length)
        self.window, self.base = self._pread(position, min(_WINDOW, self.size - position)), position
        return self.window[:length]

    def peek(self, position: int, length: int) -> bytes:
        """As :meth:`read`, for few bytes far from all others: the window stays where it is."""
        at = position - self.base
        if at >= 0 and at + length <= len(self.window):
            return self.window[at : at + length]
        if position < 0 or position + length > self.size:
            raise Unfit("the object ends in the middle of a value")
        return self._pread(position, length)

    def _pread(self, position: int, length: int) -> bytes:
        pieces, got = [], 0
        while got < length:
            piece = os.pread(self._descriptor, length - got, self._offset + position + got)
            if not piece:
                raise Unfit("the object is shorter than it was")
            pieces.append(piece)
            got += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def elements(source: Source, form: Form, position: int, end: int, depth: int = 0) -> Iterator[Element]:
    """The elements of a data set or item, up to its end or to its delimiter, which is not among them."""
    explicit, _, long_length = BIG if form.big else LITTLE
    forms = {} if form.implicit else FORMS
    new = tuple.__new__
    while position < end:
        # Most are explicit, of a known length, their header in the window: for those no function of Python is called.
        window, at = source.window, position - source.base
        if 0 <= at <= len(window) - _LONG_HEADER:
            group, number, vr, length = explicit.unpack_from(window, at)
            kind = forms.get(vr)
            if kind is not None:
                value = position + 8
                if kind != SHORT_FORM:
                    (length,) = long_length.unpack_from(window, at + 8)
                    value += 4
                after = value + length
                if group != 0xFFFE and length != UNDEFINED and after <= end:
                    yield new(Element, (group << 16 | number, vr, position, value, length, after))
                    position = after
                    continue
        element = element_at(source, form, position, end, depth)
        if element.tag == ITEM_END:
            return
        yield element
        position = element.end


def element_at(source: Source, form: Form, position: int, end: int, depth: int = 0) -> Element:
    """The element at a position. One of undefined length is walked over to find its end; the image's pixels are not."""
    if position + 8 > end:
        raise Unfit("the object ends in the middle of an element")
    explicit, implicit, long_length = BIG if form.big else LITTLE
    first = source.read(position, 8)
    group, number, vr, length = explicit.unpack(first)
    tag, value = group << 16 | number, position + 8
    if form.implicit or group == 0xFFFE:
        vr, (_, _, length) = b"", implicit.unpack(first)
    elif (kind := FORMS.get(vr)) is None:
        raise Unfit("the object has a VR that is not known")
    elif kind in _LONG_FORMS:
        (length,) = long_length.unpack(source.read(value, 4))
        value += 4
    if length == UNDEFINED:
        if tag == PIXEL_DATA and not depth:
            return Element(tag, vr, position, value, length, value)
        inner = Form(True, False) if vr == b"UN" else form
        return Element(tag, vr, position, value, length, _end_of_items(source, inner, value, end, depth))
    if value + length > end:
        raise Unfit("a value is longer than the object")
    return Element(tag, vr, position, value, length, value + length)


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a sequence: from its tag to the end of its delimiter, if it has one."""

    value: int
    length: int
    content_end: int
    end: int


def items(source: Source, form: Form, position: int, end: int, depth: int) -> Iterator[Item]:
    """The items of a sequence; ends at the delimiter or at ``end``."""
    if depth > _DEPTH_MAX:
        raise Unfit("the sequences are nested too deep")
    while position < end:
        group, number, length = struct.unpack(f"{form.order}HHI", source.read(position, 8))
        tag, value = group << 16 | number, position + 8
        if tag == SEQUENCE_END:
            return
        if tag != ITEM:
            raise Unfit("no item where one must be")
        content_end = value + length
        if length == UNDEFINED:
            content_end = value
            for element in elements(source, form, value, end, depth + 1):
                content_end = element.end
            position = content_end + 8
        else:
            position = content_end
        if position > end:
            raise Unfit("an item is longer than its sequence")
        yield Item(value, length, content_end, position)


def _end_of_items(source: Source, form: Form, position: int, end: int, depth: int) -> int:
    for item in items(source, form, position, end, depth + 1):
        position = item.end
    return position + 8


def header(tag: int, vr: bytes, length: int, form: Form) -> bytes:
    """An element's tag, VR and length."""
    group, number = tag >> 16, tag & 0xFFFF
    if form.implicit:
        return struct.pack("<HHI", group, number, length)
    if FORMS[vr] == SHORT_FORM:
        return struct.pack(f"{form.order}HH2sH", group, number, vr, length)
    return struct.pack(f"{form.order}HH2sHI", group, number, vr, 0, length)


def element_bytes(tag: int, vr: bytes, value: bytes, form: Form) -> bytes:
    """A whole element; ``value`` is little endian and of even length."""
    return header(tag, vr, len(value), form) + (swapped(value, vr) if form.big else value)


class Rewriting:
    """Writes elements of one form in another; values stay, lengths and byte orders follow."""

    def __init__(self, source: Source, old: Form, new: Form, *, signed: bool) -> None:
        self._source = source
        self._old = old
        self._new = new
        self._signed = signed

    def pieces(self, element: Element) -> Iterator[bytes]:
        """The element in the new form, a long value in pieces."""
        vr = self.vr(element)
        if element.length in range(_PIECE, UNDEFINED) and vr != b"SQ" and FORMS[vr] == LONG_FORM:
            yield header(element.tag, vr, element.length, self._new)
            for position in range(element.value, element.end, _PIECE):
                value = self._source.read(position, min(_PIECE, element.end - position))
                yield swapped(value, vr) if self._old.big != self._new.big else value
        else:
            yield self.element(element)

    def element(self, element: Element, depth: int = 0) -> bytes:
        """The element in the new form; nothing where it is a group length, which told the old one."""
        if element.tag & 0xFFFF == 0:
            return b""
        vr = self.vr(element)
        if vr == b"SQ":
            return self._sequence(element, depth)
        if element.length == UNDEFINED:
            if element.tag == PIXEL_DATA:
                raise Unfit("a sequence has compressed pixels")
            value = self._source.read(element.value, element.end - element.value)
            return header(element.tag, vr, UNDEFINED, self._new) + value
        value = self._source.read(element.value, element.length)
        if not self._new.implicit and FORMS[vr] == SHORT_FORM and len(value) > _SHORT_LENGTH_MAX:
            vr = b"UN"
        if self._old.big != self._new.big:
            value = swapped(value, vr)
        return header(element.tag, vr, len(value), self._new) + value

    def vr(self, element: Element) -> bytes:
        """The VR of an element, also of one that came without."""
        return element.vr or self._vr(element)

    def items(self, element: Element, depth: int = 0) -> bytes:
        """The items of a sequence in the new form, those of undefined length with their delimiters."""
        pieces = []
        order = self._new.order
        for item in items(self._source, self._old, element.value, element.end, depth + 1):
            content = b"".join(
                self.element(inner, depth + 1)
                for inner in elements(self._source, self._old, item.value, item.content_end, depth + 1)
            )
            if item.length == UNDEFINED:
                pieces += [struct.pack(f"{order}HHI", 0xFFFE, 0xE000, UNDEFINED), content]
                pieces.append(struct.pack(f"{order}HHI", ITEM_END >> 16, ITEM_END & 0xFFFF, 0))
            else:
                pieces += [struct.pack(f"{order}HHI", 0xFFFE, 0xE000, len(content)), content]
        return b"".join(pieces)

    def _sequence(self, element: Element, depth: int) -> bytes:
        value = self.items(element, depth)
        if element.length == UNDEFINED:
            value += struct.pack(f"{self._new.order}HHI", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
        length = UNDEFINED if element.length == UNDEFINED else len(value)
        return header(element.tag, b"SQ", length, self._new) + value

    def _vr(self, element: Element) -> bytes:
        """The VR of an element that came without one (PS3.5 7.1.3, 6.2.2)."""
        from pydicom.datadict import dictionary_VR

        tag = element.tag
        if tag >> 16 & 1:
            if element.length == UNDEFINED:
                return b"SQ"
            return b"LO" if 0x10 <= tag & 0xFFFF <= 0xFF else b"UN"
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            return b"SQ" if element.length == UNDEFINED else b"UN"
        if " or " not in vr:
            return vr.encode()
        if "OW" in vr:
            return b"OW"
        return b"SS" if self._signed else b"US"
