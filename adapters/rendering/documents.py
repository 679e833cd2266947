"""What an object holds ready made: encapsulated documents and video, as they were stored (PS3.18 8.7.2, PS3.3 A.45)."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.codecs.elements import Source
from adapters.codecs.fragments import Frames
from adapters.codecs.object import StoredObject
from adapters.codecs.unfit import Unfit
from adapters.dicom.frames import UNDEFINED
from adapters.rendering.attributes import Attributes
from domain.rendering import PDF

DOCUMENT, MIME_TYPE = 0x00420011, 0x00420012
_LENGTH = 0x00420015
_PIECE = 1024 * 1024
_BEGINS = {
    PDF: b"%PDF-",
    "text/xml": b"<",
    "application/xml": b"<",
    "model/stl": b"",
    "model/obj": b"",
    "model/mtl": b"",
    "model/gltf-binary": b"glTF",
}
"""The types of documents that are given out as what they say to be, and what each begins with."""


def document_type(whole: Attributes) -> str:
    """The media type of an encapsulated document, in lower case. Raises Unfit where it is not what it says to be."""
    said = whole.text(MIME_TYPE).lower()
    begin = _BEGINS.get(said)
    if begin is None:
        raise Unfit("the encapsulated document is of a type that is not given out")
    element = whole.element(DOCUMENT)
    assert element
    head = whole.source.read(element.value, min(1024, element.length)) if element.length != UNDEFINED else b""
    if begin not in head:
        raise Unfit("the encapsulated document is not of the type that it says")
    return said


def document(whole: Attributes) -> Iterator[bytes]:
    """The document without the padding behind it."""
    element = whole.element(DOCUMENT)
    assert element
    said = next(iter(whole.longs(_LENGTH)), 0)
    length = min(said or element.length, element.length)
    return _pieces(whole.source, element.value, length)


def video(stored: StoredObject) -> Iterator[bytes]:
    """The stream of a video: its fragments, joined."""
    assert stored.pixels
    if stored.pixels.length != UNDEFINED:
        raise Unfit("the pixel data is not encapsulated")
    # However many frames it has: they are all in one stream (PS3.5 8.2.5).
    for position, length in Frames(stored.source, stored.pixels.value, 1, stored.limits).fragments(0):
        yield from _pieces(stored.source, position, length)


def _pieces(source: Source, position: int, length: int) -> Iterator[bytes]:
    end = position + length
    while position < end:
        piece = source.read(position, min(_PIECE, end - position))
        yield piece
        position += len(piece)
