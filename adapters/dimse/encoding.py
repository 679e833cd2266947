"""Records to bytes: the identifier of an answer in the peer's transfer syntax and character set (PS3.5 7, 6.1)."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydicom.charset import encode_string

from adapters.dicom.syntaxes import encoding_of
from adapters.dicom.text import NAME_DELIMITERS, TEXT_DELIMITERS, CharacterSetReader, CharacterSets, decode
from domain.matching import SPECIFIC_CHARACTER_SET
from domain.person_name import GROUPS

_LATIN_1, _UTF_8 = ("ISO_IR 100",), ("ISO_IR 192",)
_TEXT_VRS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_LONG_FORM = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))
_STRUCTS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_SHORT_MAX = 0xFFFE
_DECIMAL_MAX = 16
_PARTS = {"PN": re.compile(r"([\^=\\])"), "": re.compile(r"([\r\n\t\f\\])")}
_ITEM = 0xFFFEE000
_ANY_VR = b"UN"


class RecordEncoder:
    """Encodes records (tag to DICOM JSON element); one serves all threads of a process."""

    def __init__(self) -> None:
        self._reader = CharacterSetReader()

    def encode(self, record: Mapping[str, Any], transfer_syntax: str, character_sets: Sequence[str] = ()) -> bytes:
        """The data set, with a Specific Character Set that holds all its text: the asked-for one, Latin-1 or UTF-8.

        It is always sent: some clients read only what is declared (correctness C1.1).
        """
        texts = list(_texts(record))
        declared, sets = next(
            (declared, sets)
            for declared in (tuple(character_sets), _LATIN_1, _UTF_8)
            if (sets := self._sets(declared)) and (declared is _UTF_8 or _holds_all(texts, declared, sets))
        )
        record = {**record, SPECIFIC_CHARACTER_SET: {"vr": "CS", "Value": list(declared)}}
        return _encode(record, transfer_syntax, sets)

    def encode_bare(self, record: Mapping[str, Any], transfer_syntax: str) -> bytes:
        """The data set without a Specific Character Set, for a record without text."""
        return _encode(record, transfer_syntax, self._reader.default)

    def _sets(self, declared: Sequence[str]) -> CharacterSets | None:
        if not any(declared):
            return None
        sets = self._reader.read("\\".join(declared).encode("ascii", "replace"))
        return None if sets.unknown else sets


def _encode(record: Mapping[str, Any], transfer_syntax: str, sets: CharacterSets) -> bytes:
    syntax = encoding_of(transfer_syntax)
    encoded = _Writer(syntax.implicit, ">" if syntax.big_endian else "<", sets).data_set(record)
    if syntax.deflated:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = deflater.compress(encoded) + deflater.flush()
        encoded += b"\0" * (len(encoded) % 2)
    return encoded


class _Writer:
    def __init__(self, implicit: bool, order: str, sets: CharacterSets) -> None:
        self._implicit = implicit
        self._order = order
        self._sets = sets

    def data_set(self, record: Mapping[str, Any]) -> bytes:
        return b"".join(self._element(int(tag, 16), record[tag]) for tag in sorted(record))

    def _element(self, tag: int, element: Mapping[str, Any]) -> bytes:
        vr = element["vr"]
        value = self._value(vr, element.get("Value") or ())
        group, number = tag >> 16, tag & 0xFFFF
        if self._implicit:
            return struct.pack(f"{self._order}HHI", group, number, len(value)) + value
        if vr in _LONG_FORM or len(value) > _SHORT_MAX:
            name = vr.encode() if vr in _LONG_FORM else _ANY_VR
            return struct.pack(f"{self._order}HH2sxxI", group, number, name, len(value)) + value
        return struct.pack(f"{self._order}HH2sH", group, number, vr.encode(), len(value)) + value

    def _value(self, vr: str, values: Sequence[Any]) -> bytes:
        if vr == "SQ":
            return b"".join(self._item(item) for item in values)
        if vr in _STRUCTS:
            numbers = [value for value in values if value is not None]
            return struct.pack(f"{self._order}{len(numbers)}{_STRUCTS[vr]}", *numbers)
        if vr == "AT":
            halves = [half for value in values if value for half in (int(value[:4], 16), int(value[4:], 16))]
            return struct.pack(f"{self._order}{len(halves)}H", *halves)
        if vr in _TEXT_VRS:
            encoded = b"\\".join(_encoded(text, vr, self._sets) for text in (_text(vr, value) for value in values))
        else:
            encoded = "\\".join(_text(vr, value) for value in values).encode("ascii", "replace")
        return encoded + (b"\0" if vr == "UI" else b" ") * (len(encoded) % 2)

    def _item(self, item: Mapping[str, Any]) -> bytes:
        inner = self.data_set(item)
        return struct.pack(f"{self._order}HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(inner)) + inner


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if vr == "PN" and isinstance(value, Mapping):
        return "=".join(value.get(group, "") for group in GROUPS).rstrip("=")
    if vr == "DS" and isinstance(value, float):
        return _decimal(value)
    return str(value)


def _decimal(value: float) -> str:
    """A DS of at most 16 characters, as near as they allow (PS3.5 6.2)."""
    text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    digits = _DECIMAL_MAX
    while len(text) > _DECIMAL_MAX:
        digits -= 1
        text = f"{value:.{digits}g}"
    return text


def _texts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """VR and text of every value that is not ASCII."""
    for element in record.values():
        vr = element["vr"]
        for value in element.get("Value") or ():
            if vr == "SQ":
                yield from _texts(value)
            elif vr in _TEXT_VRS and not (text := _text(vr, value)).isascii():
                yield vr, text


def _holds_all(texts: Sequence[tuple[str, str]], declared: Sequence[str], sets: CharacterSets) -> bool:
    """Whether every text comes back as it was from these character sets."""
    codecs = ("ascii", *sets.codecs[1:]) if not declared[0] else sets.codecs
    for vr, text in texts:
        if not all(any(_can_encode(character, codec) for codec in codecs) for character in text):
            return False
        delimiters = NAME_DELIMITERS if vr == "PN" else TEXT_DELIMITERS
        if decode(_encoded(text, vr, sets), sets, delimiters)[0] != text:
            return False
    return True


def _can_encode(character: str, codec: str) -> bool:
    try:
        character.encode("shift_jis" if codec == "iso2022_jp_2" else codec)
    except (UnicodeError, LookupError):
        return False
    return True


def _encoded(text: str, vr: str, sets: CharacterSets) -> bytes:
    """Text in the character sets; each part between delimiters designates its own (PS3.5 6.1.2.5.3)."""
    if text.isascii():
        return text.encode("ascii")
    if len(sets.codecs) == 1:
        return text.encode(sets.codecs[0], "replace")
    parts = _PARTS.get(vr, _PARTS[""]).split(text)
    return b"".join(part.encode("ascii") if part.isascii() else encode_string(part, sets.codecs) for part in parts)
