"""Raw values as values of the DICOM JSON Model, typed, cleaned, bounded (PS3.18 Annex F; reliability B18, B19, D3)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydicom._dicom_dict import DicomDictionary

from adapters.dicom.findings import Items, Span, Values
from adapters.dicom.scalars import date_time_value, date_value, decimal_value, integer_value, time_value
from adapters.dicom.text import NAME_DELIMITERS, TEXT_DELIMITERS, CharacterSetReader, clean, decode
from domain.limits import Limits
from domain.person_name import GROUPS

CHARACTER_SET = 0x00080005

_STRUCTS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_SENT_AS_NUMBERS = frozenset(vr.encode() for vr in _STRUCTS)
_SENT_OPAQUE = frozenset((b"UN", b"OB", b"OW"))
_RANGES = {
    "US": (0, 0xFFFF),
    "SS": (-0x8000, 0x7FFF),
    "UL": (0, 0xFFFFFFFF),
    "SL": (-0x80000000, 0x7FFFFFFF),
    "UV": (0, 0xFFFFFFFFFFFFFFFF),
    "SV": (-(1 << 63), (1 << 63) - 1),
}
_NUMBERS_MAX = 64
_NOT_INDEXED = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN", ""))


def element(vr: str, values: list[Any]) -> dict[str, Any]:
    """An attribute in the DICOM JSON Model; without ``Value`` where there is none but null."""
    return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}


class ValueReader:
    """Reads the values of one data set. What cannot be read becomes null, with a warning that holds no value."""

    def __init__(
        self,
        sets: CharacterSetReader,
        limits: Limits,
        big_endian: bool,
        warn: Callable[[str], None],
        numbers_max: int = _NUMBERS_MAX,
    ) -> None:
        self._set_reader = sets
        self._sets = sets.default
        self._text_max = limits.indexed_text_max
        self._numbers_max = numbers_max
        self.big_endian = big_endian
        self._order = ">" if big_endian else "<"
        self._warn = warn
        self._name = ""
        self._readers: dict[str, Callable[[bytes], list[Any]]] = {
            "PN": self._names,
            "UI": self._uids,
            "DA": self._dates,
            "TM": self._times,
            "DT": self._date_times,
            "IS": self._integers,
            "DS": self._decimals,
            "LT": self._text,
            "ST": self._text,
            "UT": self._text,
            "UR": self._text,
            "AT": self._tags,
        }

    @contextmanager
    def within(self, item: Values) -> Iterator[None]:
        """Decode with the character set of an item, if it has one, and afterwards with the one before (PS3.5 7.5.3)."""
        outer = self._sets
        self.use(item.get(CHARACTER_SET, (b"", None))[1])
        yield
        self._sets = outer

    def use(self, raw: bytes | Items | Span | None) -> None:
        """Decode from here on with this Specific Character Set; None leaves the one in force."""
        if isinstance(raw, bytes):
            self._sets = self._set_reader.read(raw)
            if self._sets.unknown:
                self._warn("SpecificCharacterSet: is unknown, text is indexed with replacement characters")

    def values(self, name: str, model_vr: str, vr: bytes, raw: bytes | Items | Span) -> list[Any]:
        """The values of the attribute called ``name``; ``vr`` is the one it was sent with, or empty."""
        self._name = name
        if isinstance(raw, Span):
            return self._none("is too large")
        if isinstance(raw, list):
            if model_vr == "SQ":
                return [self._item(name, item) for item in raw]
            return self._none("was sent as a sequence")
        if model_vr == "SQ":
            return self._none("was not sent as a sequence") if raw else []
        if model_vr in _STRUCTS:
            return self._numbers(model_vr, vr, raw)
        if vr in _SENT_AS_NUMBERS:
            numbers = self._binary(vr.decode(), raw, self._order)
            raw = "\\".join("" if number is None else str(number) for number in numbers).encode()
        return self._readers.get(model_vr, self._texts)(raw)

    def _item(self, name: str, item: Values) -> dict[str, Any]:
        """One item of a sequence, without private, group length and binary elements."""
        elements: dict[str, Any] = {}
        with self.within(item):
            for tag, (vr, raw) in item.items():
                if tag < 0x00080000 or tag == CHARACTER_SET or tag >> 16 & 1 or not tag & 0xFFFF:
                    continue
                model_vr = _vr_of(tag, vr)
                if model_vr not in _NOT_INDEXED:
                    elements[f"{tag:08X}"] = element(model_vr, self.values(name, model_vr, vr, raw))
        return elements

    def _fault(self, what: str) -> None:
        self._warn(f"{self._name}: {what}")

    def _none(self, what: str) -> list[Any]:
        self._fault(what)
        return []

    def text(self, raw: bytes) -> str:
        """A text of any length, without its padding."""
        return clean(decode(raw, self._sets, TEXT_DELIMITERS)[0].rstrip(" \0"))

    def _decoded(self, raw: bytes, delimiters: frozenset[int]) -> str:
        text, whole = decode(raw, self._sets, delimiters)
        if not whole:
            self._fault("is not in its character set")
        text = clean(text.rstrip(" \0"))
        if len(text) > self._text_max:
            self._fault("is cropped in the index")
            text = text[: self._text_max]
        return text

    def _texts(self, raw: bytes) -> list[Any]:
        text = self._decoded(raw, TEXT_DELIMITERS)
        if "\\" not in text:
            return [text.strip(" ")] if text else []
        return [part.strip(" ") or None for part in text.split("\\")]

    def _text(self, raw: bytes) -> list[Any]:
        text = self._decoded(raw, TEXT_DELIMITERS)
        return [text] if text else []

    def _names(self, raw: bytes) -> list[Any]:
        text = self._decoded(raw, NAME_DELIMITERS)
        return [self._name_groups(part) for part in text.split("\\")] if text else []

    def _name_groups(self, text: str) -> dict[str, str] | None:
        groups = text.split("=")
        if len(groups) > len(GROUPS):
            self._fault("has more than three component groups")
        return {key: group.strip(" ") for key, group in zip(GROUPS, groups, strict=False) if group.strip(" ")} or None

    def _uids(self, raw: bytes) -> list[Any]:
        text = clean(raw.decode("latin_1").strip(" \0"))
        if len(text) > self._text_max:
            self._fault("is cropped in the index")
            text = text[: self._text_max]
        return [part.strip(" \ufffd") or None for part in text.split("\\")] if text else []

    def _each(self, raw: bytes, read: Callable[[str], Any], fault: str) -> list[Any]:
        text = raw.decode("latin_1").strip(" \0")
        if not text:
            return []
        if len(text) > self._text_max:
            self._fault("is cropped in the index")
            text = text[: self._text_max + 1].rpartition("\\")[0]
        values: list[Any] = []
        for part in text.split("\\"):
            stripped = part.strip(" \0")
            value = read(stripped) if stripped else None
            if stripped and value is None:
                self._fault(fault)
            values.append(value)
        return values

    def _dates(self, raw: bytes) -> list[Any]:
        return self._each(raw, date_value, "is not a date")

    def _times(self, raw: bytes) -> list[Any]:
        return self._each(raw, time_value, "is not a time")

    def _date_times(self, raw: bytes) -> list[Any]:
        return self._each(raw, date_time_value, "is not a date and time")

    def _integers(self, raw: bytes) -> list[Any]:
        return self._each(raw, integer_value, "is not a whole number")

    def _decimals(self, raw: bytes) -> list[Any]:
        return self._each(raw, decimal_value, "is not a number")

    def _tags(self, raw: bytes) -> list[Any]:
        if len(raw) % 4:
            return self._none("has a wrong length")
        halves = struct.unpack(f"{self._order}{len(raw) // 2}H", raw)[: 2 * self._numbers_max]
        return [f"{group:04X}{number:04X}" for group, number in zip(halves[::2], halves[1::2], strict=True)]

    def _numbers(self, model_vr: str, vr: bytes, raw: bytes) -> list[Any]:
        """Numbers of a binary VR, whatever VR they were sent with, within the model's range (B15)."""
        if not vr or vr.decode("latin_1") == model_vr:
            numbers = self._binary(model_vr, raw, self._order)
        elif vr in _SENT_OPAQUE:
            numbers = self._binary(model_vr, raw, "<" if vr == b"UN" else self._order)
        elif vr in _SENT_AS_NUMBERS:
            numbers = self._binary(vr.decode(), raw, self._order)
        else:
            numbers = self._decimals(raw)
        low, high = _RANGES.get(model_vr, (-math.inf, math.inf))
        fitting = [number if number is not None and low <= number <= high else None for number in numbers]
        if fitting != numbers:
            self._fault("is out of range")
        if model_vr in _RANGES:
            return [None if number is None else int(number) for number in fitting]
        return fitting

    def _binary(self, vr: str, raw: bytes, order: str) -> list[Any]:
        size = struct.calcsize(f"={_STRUCTS[vr]}")
        if len(raw) % size:
            return self._none("has a wrong length")
        count = min(len(raw) // size, self._numbers_max)
        if count < len(raw) // size:
            self._fault("is cropped in the index")
        numbers = struct.unpack(f"{order}{count}{_STRUCTS[vr]}", raw[: count * size])
        if not all(map(math.isfinite, numbers)):
            self._fault("is not a number")
        return [number if math.isfinite(number) else None for number in numbers]


def _vr_of(tag: int, vr: bytes) -> str:
    """The VR to read an item's element with: the dictionary's where it was sent without one, or as UN."""
    if vr and vr != b"UN":
        return vr.decode("latin_1")
    return str(DicomDictionary.get(tag, ("",))[0]).partition(" ")[0]
