"""Attributes that are written anew: values little endian, elements and items explicit too (PS3.5 7.1.2, 7.5)."""

from __future__ import annotations

import struct

from adapters.codecs.elements import Element, Form, Rewriting, element_bytes
from adapters.codecs.object import StoredObject
from adapters.dicom.frames import ITEM

Change = tuple[bytes, bytes] | None
"""VR and little endian value of an element, or None where it goes."""

EXPLICIT_FORM = Form(implicit=False, big=False)
_CODE_VALUE, _CODING_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104


def text(value: str, padding: bytes = b" ") -> bytes:
    """A text value of even length; texts come as :class:`StoredObject` reads them, a character for each byte."""
    raw = value.encode("latin-1")
    return raw + padding * (len(raw) % 2)


def text_element(tag: int, vr: bytes, value: str) -> bytes:
    """A whole element with a text."""
    return element_bytes(tag, vr, text(value, b"\0" if vr == b"UI" else b" "), EXPLICIT_FORM)


def item(*whole: bytes) -> bytes:
    """An item of these elements."""
    content = b"".join(whole)
    return struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content


def sequence_element(tag: int, *whole: bytes) -> bytes:
    """A sequence of these items."""
    return element_bytes(tag, b"SQ", b"".join(whole), EXPLICIT_FORM)


def code(value: str, meaning: str) -> bytes:
    """An item with a code of the DICOM Controlled Terminology (PS3.3 8.8, PS3.16 D)."""
    return item(
        text_element(_CODE_VALUE, b"SH", value),
        text_element(_CODING_SCHEME, b"SH", "DCM"),
        text_element(_CODE_MEANING, b"LO", meaning),
    )


def rewriting_of(stored: StoredObject, element: Element) -> tuple[Rewriting, Form]:
    """What writes the items of a sequence in the explicit form, and the form they have now (PS3.5 6.2.2 for UN)."""
    old = Form(implicit=True, big=False) if element.vr == b"UN" else stored.form
    return Rewriting(stored.source, old, EXPLICIT_FORM, signed=stored.is_signed), old


def appended(stored: StoredObject, tag: int, last: bytes) -> Change:
    """A sequence of the object with one item more."""
    earlier = stored.element(tag)
    if earlier is None:
        return b"SQ", last
    rewriting, _ = rewriting_of(stored, earlier)
    return b"SQ", rewriting.items(earlier) + last
