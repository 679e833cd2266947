"""One request's bulk data in a temp file, and the objects that are made of metadata with it (PS3.18 10.5.2)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, count, takewhile
from typing import Any

from adapters.codecs.fragments import (
    DELIMITER,
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    extended,
    item_header,
    needs_extended,
    offset_table,
)
from adapters.composing.encoding import DataSetWriter, encoded, fault, header, refused, tag_of
from adapters.composing.media import Media, is_compressed, is_frame, media
from adapters.composing.native import TRANSFORMED, Native, Unpack
from adapters.dicom.frames import UNDEFINED
from adapters.files.temporary import TemporaryFolder
from domain.errors import Because, Refused, TooLarge
from domain.identifiers import uid_fault
from domain.limits import Limits
from domain.transcoding import EXPLICIT
from processes.pixel_ports import Span
from processes.ports import ComposedObject

_PIXEL_DATA, _DOCUMENT, _DOCUMENT_TYPE, _DOCUMENT_LENGTH = "7FE00010", "00420011", "00420012", "00420015"
_FRAMES = "00280008"
_OF_OTHER_FRAGMENTS = ("7FE00001", "7FE00002", "7FE00003")
_IDENTITY = (("SOPClassUID", "00080016"), ("SOPInstanceUID", "00080018"))
_OCTETS = "application/octet-stream"
_PIECE = 1024 * 1024
_FRAGMENT_MAX = 0xFFFFFFFE


@dataclass(slots=True)
class _Bulk:
    location: str
    offset: int
    media_type: str
    transfer_syntax_uid: str
    length: int = 0
    used: bool = False
    lost: str = ""


class Composition:
    """Fills :class:`processes.ports.Composition`. Bulk data comes from one thread; objects are made by many."""

    def __init__(self, limits: Limits, unpack: Unpack, folder: TemporaryFolder) -> None:
        self._limits = limits
        self._unpack = unpack
        self._folder = folder
        self._open = ExitStack()
        self._descriptor = -1
        self._size = 0
        self._bulks: dict[str, list[_Bulk]] = {}
        self._current: _Bulk | None = None

    def begin_bulk(self, location: str, media_type: str, transfer_syntax_uid: str) -> None:
        """A bulk data item begins. Raises C000 where it has no location, or one that came before.

        Only frames share one: images of one media type, in their order (PS3.18 8.7.3.3.2).
        """
        self._current = None
        before = self._bulks.get(location, [])
        if not location or any(
            not (is_frame(media_type) or media_type in TRANSFORMED) or one.media_type != media_type for one in before
        ):
            raise refused("a bulk data part has no Content-Location of its own")
        if transfer_syntax_uid and (wrong := uid_fault(transfer_syntax_uid)):
            raise refused(f"the transfer syntax of a bulk data part {wrong}")
        self._current = _Bulk(location, self._size, media_type or _OCTETS, transfer_syntax_uid)

    def write(self, data: bytes | memoryview) -> None:
        """The next bytes of the item. Raises A700; the item is lost then, and with it every object that names it."""
        bulk = self._current
        if bulk is None:
            return
        try:
            if bulk.length + len(data) > self._limits.object_size_max:
                raise TooLarge("the bulk data is larger than object_size_max")
            self._append(data)
        except Refused as refusal:
            bulk.lost, bulk.used = str(refusal), True
            self.end_bulk()
            raise
        bulk.length += len(data)
        self._size += len(data)

    def _append(self, data: bytes | memoryview) -> None:
        if self._descriptor < 0:
            self._descriptor = self._open.enter_context(self._folder.file())
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise Refused(Because.OUT_OF_RESOURCES, f"the temp file of bulk data: {error.strerror}") from error

    def end_bulk(self) -> None:
        """The item is whole; before, no object can name it."""
        if self._current is not None:
            self._bulks.setdefault(self._current.location, []).append(self._current)
            self._current = None

    def compose(self, attributes: Mapping[str, Any]) -> ComposedObject:
        """An object of these attributes, in the DICOM JSON Model. Raises C000, C122."""
        complete = {f"{tag_of(name):08X}": element for name, element in attributes.items()}
        if len(complete) != len(attributes):
            raise refused("the metadata has an attribute twice")
        # JSON and XML are Unicode, whatever the attribute says of where they come from.
        complete["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        sop_class_uid, sop_instance_uid = (_uid(complete, name, tag) for name, tag in _IDENTITY)
        syntax = EXPLICIT
        frames: list[tuple[_Bulk, Media]] = []
        native: Native | None = None
        pixels = self._pixels(complete)
        for bulk in chain.from_iterable(self._bulks.values()):
            if bulk.transfer_syntax_uid not in ("", EXPLICIT) and not is_compressed(bulk.media_type):
                raise Refused(Because.TRANSFER_SYNTAX_NOT_SUPPORTED, "uncompressed bulk data is not little endian")
        if pixels and pixels[0].media_type in TRANSFORMED:
            native = Native(self._folder)
            for one in pixels:
                if not one.length:
                    raise refused("a picture has no bytes")
                native.add(self._unpack, self._descriptor, Span(one.offset, one.length), one.media_type, complete)
            native.describe(complete)
        elif pixels and is_compressed(pixels[0].media_type):
            frames = self._described(pixels, complete)
            syntax = frames[0][1].transfer_syntax_uid
        elif pixels and (pixels[0].media_type != _OCTETS or len(pixels) > 1):
            raise Refused(Because.TRANSFER_SYNTAX_NOT_SUPPORTED, "no transfer syntax holds the pixel data's media type")
        self._describe_document(complete)
        data_set = self._data_set(complete, frames, native)
        return ComposedObject(sop_class_uid, sop_instance_uid, syntax, data_set)

    def unused(self) -> int:
        """How many items no object has named."""
        return sum(not bulk.used for bulk in chain.from_iterable(self._bulks.values()))

    def close(self) -> None:
        """Give the temp file up; may be called twice."""
        # Whoever still reads shall not read another file that gets this number.
        self._descriptor = -1
        self._open.close()

    def _described(self, pixels: Sequence[_Bulk], attributes: dict[str, Any]) -> list[tuple[_Bulk, Media]]:
        """The frames, each a bulk data item; what they tell of the image is put to the attributes that do not."""
        frames = [
            (one, media(one.media_type, one.transfer_syntax_uid, self._reader(one), one.length)) for one in pixels
        ]
        first = frames[0][1]
        if any(
            (one.transfer_syntax_uid, one.attributes) != (first.transfer_syntax_uid, first.attributes)
            for _, one in frames
        ):
            raise refused("the frames of an image are not alike")
        told = dict(first.attributes)
        if len(frames) > 1:
            told[_FRAMES] = {"vr": "IS", "Value": [len(frames)]}
        for tag, element in told.items():
            if _is_empty(attributes.get(tag, {})):
                attributes[tag] = element
        said = encoded(int(_FRAMES, 16), "IS", attributes.get(_FRAMES, {}).get("Value", []))
        if is_frame(pixels[0].media_type) and (said.strip() or b"1") != b"%d" % len(frames):
            raise fault(int(_FRAMES, 16), "is not the number of the frames that came")
        return frames

    def _data_set(
        self, attributes: Mapping[str, Any], frames: Sequence[tuple[_Bulk, Media]], native: Native | None
    ) -> Iterator[bytes]:
        writer = DataSetWriter(self._named, self._limits)
        if not frames and native is None:
            yield from writer.pieces(attributes)
            return
        before = {tag: one for tag, one in attributes.items() if tag < _PIXEL_DATA and tag not in _OF_OTHER_FRAGMENTS}
        behind = {tag: one for tag, one in attributes.items() if tag > _PIXEL_DATA}
        yield from writer.pieces(before)
        yield from native.element() if native else self._encapsulated(frames)
        yield from writer.pieces(behind)

    def _encapsulated(self, frames: Sequence[tuple[_Bulk, Media]]) -> Iterator[bytes]:
        lengths = [one.length + (one.length & 1) for _, one in frames]
        if max(lengths) > _FRAGMENT_MAX:
            raise fault(int(_PIXEL_DATA, 16), "is longer than a fragment may be")
        if needs_extended(lengths):
            for tag, value in zip((EXTENDED_OFFSETS, EXTENDED_LENGTHS), extended(lengths), strict=True):
                yield header(tag, "OV", len(value)) + value
        yield header(int(_PIXEL_DATA, 16), "OB", UNDEFINED) + offset_table(lengths)
        for (bulk, one), length in zip(frames, lengths, strict=True):
            yield item_header(length)
            yield from self._bytes(bulk, one.offset, one.length)
            yield b"\0" * (length - one.length)
        yield DELIMITER

    def _pixels(self, attributes: Mapping[str, Any]) -> list[_Bulk]:
        element = attributes.get(_PIXEL_DATA)
        uri = element.get("BulkDataURI") if isinstance(element, Mapping) else None
        return self._find(uri) if isinstance(uri, str) else []

    def _describe_document(self, attributes: dict[str, Any]) -> None:
        """What a document's part says of it, where the metadata does not (PS3.3 C.24.2)."""
        element = attributes.get(_DOCUMENT)
        uri = element.get("BulkDataURI") if isinstance(element, Mapping) else None
        if not isinstance(uri, str):
            return
        document = self._alone(uri)
        if document.media_type != _OCTETS:
            named = attributes.setdefault(_DOCUMENT_TYPE, {"vr": "LO", "Value": [document.media_type]})
            if encoded(int(_DOCUMENT_TYPE, 16), "LO", named.get("Value", [])).decode().lower() != document.media_type:
                raise fault(int(_DOCUMENT_TYPE, 16), "is not the media type of the document's part")
        attributes.setdefault(_DOCUMENT_LENGTH, {"vr": "UL", "Value": [document.length]})

    def _named(self, uri: str) -> tuple[int, Iterator[bytes]]:
        bulk = self._alone(uri)
        return bulk.length, self._bytes(bulk, 0, bulk.length)

    def _alone(self, uri: str) -> _Bulk:
        found = self._find(uri)
        if len(found) > 1:
            raise refused("a BulkDataURI that is no compressed pixel data names several parts")
        return found[0]

    def _find(self, uri: str) -> list[_Bulk]:
        """The items of a URI, or of its frames. Raises A700 where one was lost.

        What did not come with the request is never fetched (B60).
        """
        found = self._bulks.get(uri) or [
            one
            for located in takewhile(bool, (self._bulks.get(f"{uri}/frames/{number}") for number in count(1)))
            for one in located or ()
        ]
        if not found:
            raise refused("a BulkDataURI names no part of the request")
        for one in found:
            if one.lost:
                raise Refused(Because.OUT_OF_RESOURCES, one.lost)
            one.used = True
        return found

    def _reader(self, bulk: _Bulk) -> Any:
        def read(offset: int, length: int) -> bytes:
            wanted = max(0, min(length, bulk.length - offset))
            return os.pread(self._descriptor, wanted, bulk.offset + offset) if wanted else b""

        return read

    def _bytes(self, bulk: _Bulk, offset: int, length: int) -> Iterator[bytes]:
        read = self._reader(bulk)
        end = offset + length
        while offset < end:
            piece = read(offset, min(_PIECE, end - offset))
            if not piece:
                raise Refused(Because.OUT_OF_RESOURCES, "the temp file of bulk data is shorter than it was")
            yield piece
            offset += len(piece)


def _uid(attributes: Mapping[str, Any], name: str, tag: str) -> str:
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    uid = values[0] if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str) else ""
    uid = uid.rstrip("\0 ")
    if wrong := uid_fault(uid):
        raise refused(f"{name} {wrong}")
    return uid


def _is_empty(element: Any) -> bool:
    return isinstance(element, Mapping) and not element.keys() - {"vr"}
