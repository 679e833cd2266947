"""The DICOM JSON Model (PS3.18 Annex F) written in Explicit VR Little Endian, piece by piece (PS3.5 7.1)."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from adapters.dicom.frames import FORMS, ITEM, ITEM_END, LONG_FORM, SEQUENCE_END, UNDEFINED
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.person_name import GROUPS

Bulk = Callable[[str], tuple[int, Iterable[bytes]]]
"""The length and the bytes that a BulkDataURI names. Raises Refused where none came with the request."""

_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")
_SHORT_MAX = 0xFFFE
_LONG_MAX = 0xFFFFFFFE
_NUMBERS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
_INTEGERS = frozenset(_NUMBERS) - {"FD", "FL"}
_BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_ONE_TEXT = frozenset(("LT", "ST", "UR", "UT"))
_DECIMAL_MAX = 16
_ITEM_HEADER = struct.Struct("<HHI")


class DataSetWriter:
    """Writes one data set. It refuses with C000 and names the tag; values never stand in a refusal."""

    def __init__(self, bulk: Bulk, limits: Limits) -> None:
        self._bulk = bulk
        self._limits = limits
        self._elements = 0

    def pieces(self, data_set: Mapping[str, Any], *, depth: int = 0) -> Iterator[bytes]:
        """The bytes, in the order of tags. Group lengths and file meta information are not written."""
        if depth > self._limits.sequence_depth_max:
            raise refused("the metadata is nested deeper than sequence_depth_max")
        tags = {tag_of(name): element for name, element in data_set.items()}
        if len(tags) != len(data_set):
            raise refused("the metadata has an attribute twice")
        for tag, element in sorted(tags.items()):
            if tag & 0xFFFF and tag >> 16 > 2 and tag < ITEM:
                self._elements += 1
                if self._elements > self._limits.elements_max:
                    raise refused("the metadata has more elements than elements_max")
                yield from self._element(tag, element, depth)

    def _element(self, tag: int, element: Any, depth: int) -> Iterator[bytes]:
        if not isinstance(element, Mapping) or not isinstance(element.get("vr"), str):
            raise fault(tag, "has no VR")
        vr = element["vr"].upper()
        if vr.encode("ascii", "replace") not in FORMS:
            raise fault(tag, "has a VR that is none")
        if sum(name in element for name in ("Value", "InlineBinary", "BulkDataURI")) > 1:
            raise fault(tag, "has more than one of Value, InlineBinary and BulkDataURI")
        if vr == "SQ":
            yield from self._sequence(tag, element.get("Value", []), depth)
        elif "BulkDataURI" in element:
            if not isinstance(element["BulkDataURI"], str):
                raise fault(tag, "has a BulkDataURI that is none")
            length, pieces = self._bulk(element["BulkDataURI"])
            yield header(tag, vr, length + (length & 1))
            yield from pieces
            if length & 1:
                yield padding(vr)
        elif "InlineBinary" in element:
            yield from whole(tag, vr, _inline(tag, element["InlineBinary"]))
        else:
            yield from whole(tag, vr, encoded(tag, vr, element.get("Value", [])))

    def _sequence(self, tag: int, items: Any, depth: int) -> Iterator[bytes]:
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise fault(tag, "has a Value that is no list")
        yield header(tag, "SQ", UNDEFINED)
        for item in items:
            if item is not None and not isinstance(item, Mapping):
                raise fault(tag, "has an item that is none")
            self._elements += 1
            yield _ITEM_HEADER.pack(ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)
            yield from self.pieces(item or {}, depth=depth + 1)
            yield _ITEM_HEADER.pack(ITEM_END >> 16, ITEM_END & 0xFFFF, 0)
        yield _ITEM_HEADER.pack(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)


def encoded(tag: int, vr: str, values: Any) -> bytes:
    """The bytes of an element's Value, not yet padded."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise fault(tag, "has a Value that is no list")
    if not values or vr in _BINARY:
        if values:
            raise fault(tag, "has a Value where it must have bytes")
        return b""
    try:
        if vr == "AT":
            return b"".join(struct.pack("<HH", *divmod(tag_of(one), 0x10000)) for one in values)
        if vr in _NUMBERS:
            return b"".join(_number(vr, one) for one in values)
        texts = [_text(vr, one) for one in values]
    except (ValueError, TypeError, OverflowError, struct.error):
        raise fault(tag, f"has a value that is no {vr}") from None
    if vr in _ONE_TEXT and len(texts) > 1:
        raise fault(tag, f"has more than one value, which {vr} cannot have")
    if vr not in _ONE_TEXT and any("\\" in text for text in texts):
        raise fault(tag, "has a backslash in a value")
    return "\\".join(texts).encode()


def whole(tag: int, vr: str, value: bytes) -> Iterator[bytes]:
    """An element with its value, padded to an even length."""
    yield header(tag, vr, len(value) + (len(value) & 1)) + value + (padding(vr) if len(value) & 1 else b"")


def header(tag: int, vr: str, length: int) -> bytes:
    """An element's header (PS3.5 7.1.2)."""
    group, number = divmod(tag, 0x10000)
    if FORMS[vr.encode()] >= LONG_FORM:
        if length > _LONG_MAX and length != UNDEFINED:
            raise fault(tag, "is longer than an element may be")
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, length)
    if length > _SHORT_MAX:
        raise fault(tag, f"is longer than {vr} may be")
    return struct.pack("<HH2sH", group, number, vr.encode(), length)


def padding(vr: str) -> bytes:
    """What fills a value up to an even length (PS3.5 6.2)."""
    return b"\0" if vr == "UI" or vr in _BINARY else b" "


def tag_of(name: object) -> int:
    """A tag of eight hex digits as a number. Raises C000."""
    if not isinstance(name, str) or not _TAG.match(name):
        raise refused("the metadata has a tag that is not of eight hex digits")
    return int(name, 16)


def refused(text: str) -> Refused:
    """The refusal of metadata that cannot be a data set."""
    return Refused(Because.CANNOT_UNDERSTAND, text)


def fault(tag: int, text: str) -> Refused:
    """The refusal of one attribute."""
    return refused(f"{tag:08X}: {text}")


def _inline(tag: int, text: Any) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (AttributeError, binascii.Error, ValueError):
        raise fault(tag, "has an InlineBinary that is no base64") from None


def _number(vr: str, value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        raise ValueError(vr)
    return struct.pack(f"<{_NUMBERS[vr]}", _integer(value) if vr in _INTEGERS else float(value))


def _integer(value: Any) -> int:
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError("a fraction")
    return number


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if vr == "PN":
        return _name(value)
    if vr in ("DS", "IS") and isinstance(value, int | float) and not isinstance(value, bool):
        text = str(value)
        if vr == "IS":
            text = str(_integer(value))
        elif len(text) > _DECIMAL_MAX:
            text = next(short for digits in range(16, 0, -1) if len(short := f"{value:.{digits}g}") <= _DECIMAL_MAX)
        return text
    if not isinstance(value, str):
        raise ValueError(vr)
    value.encode()
    return value


def _name(value: Any) -> str:
    if isinstance(value, str):
        return value
    groups = [value.get(group) or "" for group in GROUPS]
    if not all(isinstance(group, str) and "=" not in group for group in groups):
        raise ValueError("PN")
    return "=".join(groups).rstrip("=")
