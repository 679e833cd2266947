"""A stored data set in the DICOM JSON Model (PS3.18 Annex F), read without its bulk data.

What cannot be read becomes null, or an element without value: the answer is always valid JSON (reliability B18, B19).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson
from pydicom.datadict import dictionary_VR, private_dictionary_VR

from adapters.dicom.bulk_value import BytesValue, EncapsulatedValue, FileValue
from adapters.dicom.byte_order import swapped
from adapters.dicom.findings import PIXEL_DATA, Items, Span, Values
from adapters.dicom.frames import FIRST_DATA_SET_TAG, FORMS
from adapters.dicom.source import Read, inflated_reader
from adapters.dicom.text import CharacterSetReader
from adapters.dicom.values import CHARACTER_SET, ValueReader, element
from adapters.dicom.whole import Whole, unknown_items, whole
from domain.errors import Because, Refused
from domain.instance import Content
from domain.limits import Limits
from processes.ports import BulkValue

HEAD = 32 * 1024
"""How much of a data set is read at first: most headers end within."""

BINARY_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_CHARACTERS = frozenset(("DS", "IS", "LT", "ST", "UC", "UT"))
BULK_VRS = BINARY_VRS | _CHARACTERS | frozenset(("FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))
"""Whose values may be named by a BulkDataURI (10.4.3.3.2)."""

_PIXEL_REPRESENTATION = 0x00280103
_EXACT_MAX = 2**53 - 1
_UTF_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}
_LARGE_NUMBERS = ("SV", "UV")


class JsonModel:
    """Makes the model; one serves all threads of a process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # A text of at most so many characters as bytes: nothing is cropped that was read.
        self._uncropped = replace(limits, indexed_text_max=limits.metadata_value_max)
        self._sets = CharacterSetReader()

    def json(self, read: Read, content: Content, location: str) -> bytes:
        """The data set as JSON. ``read`` gives its bytes; bulk data is named by URIs below ``location``.

        Raises :class:`Refused` (C000) where it is damaged, and what ``read`` raises.
        """
        head = read(0, min(HEAD, content.size))
        found = whole(head, read, content.size, content.transfer_syntax_uid, self._limits)
        reader = self._reader(found)
        model = self._data_set(found.values, reader, False, f"{location}/bulkdata")
        model[f"{CHARACTER_SET:08X}"] = _UTF_8
        return orjson.dumps(dict(sorted(model.items())))

    def bulk_value(self, read: Read, content: Content, path: Sequence[str]) -> BulkValue | None:
        """What a BulkDataURI leads to: see :class:`processes.ports.DataSetModel`."""
        head = read(0, min(HEAD, content.size))
        found = whole(head, read, content.size, content.transfer_syntax_uid, self._limits)
        reader = self._reader(found)
        values, signed = found.values, False
        with ExitStack() as nested:
            for sequence, number in zip(path[::2], path[1::2], strict=False):
                items, signed = _items(values, reader, signed, int(sequence, 16))
                if not 1 <= int(number) <= len(items):
                    return None
                values = items[int(number) - 1]
                nested.enter_context(reader.within(values))
            for tag, vr, sent, raw, _ in resolved(values, reader, signed):
                if f"{tag:08X}" == path[-1] and not isinstance(raw, list):
                    if isinstance(raw, Span):
                        return self._long_value(read, content, found, reader, vr, sent, raw)
                    if raw and (vr in BINARY_VRS or tag in PIXEL_DATA):
                        return BytesValue(swapped(raw, sent) if found.big_endian else raw)
        return None

    def _long_value(
        self, read: Read, content: Content, found: Whole, reader: ValueReader, vr: str, sent: bytes, raw: Span
    ) -> BulkValue | None:
        if vr not in BULK_VRS:
            return None
        if raw.length is None:
            return EncapsulatedValue()

        def opened() -> Read:
            return inflated_reader(read, content.size) if found.deflated else read

        if vr in _CHARACTERS:
            if raw.length > self._limits.header_size_max:
                raise Refused(Because.CANNOT_COUNT_MATCHES, "the text is longer than header_size_max")
            stored = b"".join(FileValue(opened, raw.start, raw.length).pieces(0, raw.length))
            return BytesValue(reader.text(stored).encode())
        return FileValue(opened, raw.start, raw.length, sent if raw.big_endian else b"")

    def _reader(self, found: Whole) -> ValueReader:
        reader = ValueReader(
            self._sets, self._uncropped, found.big_endian, _unheard, numbers_max=self._limits.metadata_value_max
        )
        reader.use(found.values.get(CHARACTER_SET, (b"", None))[1])
        return reader

    def _data_set(self, values: Values, reader: ValueReader, signed: bool, location: str) -> dict[str, Any]:
        model: dict[str, Any] = {}
        for tag, vr, sent, raw, is_signed in resolved(values, reader, signed):
            name = f"{tag:08X}"
            if tag == CHARACTER_SET:
                model[name] = _UTF_8
            elif isinstance(raw, list):
                model[name] = self._sequence(raw, reader, is_signed, f"{location}/{name}")
            else:
                model[name] = self._element(tag, vr, sent, raw, reader, f"{location}/{name}")
        return model

    def _sequence(self, items: Items, reader: ValueReader, signed: bool, location: str) -> dict[str, Any]:
        made = []
        for number, item in enumerate(items, 1):
            with reader.within(item):
                made.append(dict(sorted(self._data_set(item, reader, signed, f"{location}/{number}").items())))
        return {"vr": "SQ", "Value": made} if made else {"vr": "SQ"}

    def _element(
        self, tag: int, vr: str, sent: bytes, raw: bytes | Span, reader: ValueReader, location: str
    ) -> dict[str, Any]:
        if isinstance(raw, Span) or (raw and is_bulk(tag, vr, len(raw), self._limits)):
            return {"vr": vr, "BulkDataURI": location} if vr in BULK_VRS else {"vr": vr}
        if vr in BINARY_VRS:
            if not raw:
                return {"vr": vr}
            plain = swapped(raw, sent) if reader.big_endian else raw
            return {"vr": vr, "InlineBinary": base64.b64encode(plain).decode()}
        values = reader.values("", vr, sent, raw)
        if vr in _LARGE_NUMBERS:
            # A number that JavaScript cannot hold keeps its digits as text (Table F.2.3-1, note).
            values = [str(one) if one is not None and abs(one) > _EXACT_MAX else one for one in values]
        return element(vr, values)


def resolved(
    values: Values, reader: ValueReader, signed: bool
) -> Iterator[tuple[int, str, bytes, bytes | Items | Span, bool]]:
    """The elements of a data set or item that the model shows: tag, VR, VR as sent, raw value, signed pixels or not.

    ``signed`` is what the data set around says of its pixels: it decides between US and SS (PS3.5 A.1 note).
    """
    signed = _is_signed(values, reader, signed)
    creators = _creators(values, reader)
    for tag, (sent, raw) in values.items():
        # Group lengths are not of the model (F.2.2), groups below 4 not of the data set.
        if not tag & 0xFFFF or tag < FIRST_DATA_SET_TAG:
            continue
        vr = "SQ" if isinstance(raw, list) else _vr(tag, sent, creators, signed)
        if vr == "SQ" and isinstance(raw, bytes):
            raw = unknown_items(tag, raw)
        if vr == "SQ" and raw and not isinstance(raw, list):
            vr = "UN"
        yield tag, vr, sent, raw, signed


def _items(values: Values, reader: ValueReader, signed: bool, wanted: int) -> tuple[Items, bool]:
    """The items of a sequence, none where it is not there, and whether pixels in it are signed."""
    for tag, _, _, raw, is_signed in resolved(values, reader, signed):
        if tag == wanted and isinstance(raw, list):
            return raw, is_signed
    return [], signed


def is_bulk(tag: int, vr: str, length: int, limits: Limits) -> bool:
    """Whether a value of so many bytes is named by a BulkDataURI and not shown."""
    if tag in PIXEL_DATA:
        return True
    return length > (limits.metadata_inline_max if vr in BINARY_VRS else limits.metadata_value_max)


def _vr(tag: int, sent: bytes, creators: Mapping[int, str], signed: bool) -> str:
    """The VR of an element: as sent, or by the dictionary where it came without one (PS3.5 6.2.2)."""
    if sent in FORMS and sent != b"UN":
        return sent.decode()
    if tag >> 16 & 1:
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            return "LO"
        return _private_vr(tag, creators.get(tag >> 8, ""))
    vr = _standard_vr(tag)
    if " or " not in vr:
        return vr
    if "OW" in vr:
        return "OW"
    return "SS" if signed else "US"


@lru_cache(8192)
def _standard_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


@lru_cache(8192)
def _private_vr(tag: int, creator: str) -> str:
    if not creator:
        return "UN"
    try:
        vr = private_dictionary_VR(tag, creator)
    except KeyError:
        return "UN"
    return vr if vr.encode() in FORMS else "UN"


def _creators(values: Values, reader: ValueReader) -> dict[int, str]:
    """Who owns each private block, by group and block: the first six digits of its tags (PS3.5 7.8.1)."""
    creators: dict[int, str] = {}
    for tag, (sent, raw) in values.items():
        if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF and isinstance(raw, bytes):
            named = reader.values("", "LO", sent, raw)
            creators[(tag & 0xFFFF0000 | (tag & 0xFF) << 8) >> 8] = str(named[0]) if named and named[0] else ""
    return creators


def _is_signed(values: Values, reader: ValueReader, around: bool) -> bool:
    sent, raw = values.get(_PIXEL_REPRESENTATION, (b"", b""))
    return bool(reader.values("", "US", sent, raw)[:1] == [1]) if raw else around


def _unheard(_warning: str) -> None:
    """What is odd was warned of on receipt."""
