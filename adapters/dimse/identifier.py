"""Identifiers of C-FIND, C-MOVE and C-GET: bytes to keys. Other small data sets of requests are read here too."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import TypeVar

from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from adapters.dicom.scan import Scanner
from adapters.dicom.source import inflated_whole
from adapters.dicom.syntaxes import encoding_of
from adapters.dicom.text import NAME_DELIMITERS, TEXT_DELIMITERS, CharacterSetReader, CharacterSets, clean, decode
from domain.attributes import BY_TAG
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.matching import Key, is_private_creator
from domain.transcoding import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT

_T = TypeVar("_T")
_CHARACTER_SET = 0x00080005
_FIRST_TAG = 0x00080000
_STRUCTS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_TEXT_VRS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_ASCII_VRS = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"))
_SINGLE_VRS = frozenset(("LT", "ST", "UT", "UR"))


class IdentifierReader:
    """Reads identifiers; one serves all threads of a process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._scanner = Scanner((), limits)
        self._sets = CharacterSetReader()

    def keys(self, encoded: bytes, transfer_syntax: str) -> dict[str, Key]:
        """The keys by tag; group lengths are left out. Raises :class:`Refused` (C000) for what cannot be read."""
        order = ">" if transfer_syntax == BIG_ENDIAN else "<"
        return self.read(encoded, transfer_syntax, lambda found: _Keys(self._sets, order).of(found, self._sets.default))

    def read(self, encoded: bytes, transfer_syntax: str, take: Callable[[Dataset], _T]) -> _T:
        """What ``take`` finds in the data set. Raises :class:`Refused` (C000) for what cannot be read."""
        if transfer_syntax == DEFLATED:
            encoded, transfer_syntax = self._inflated(encoded), EXPLICIT
        # Bounded depth, items and lengths before pydicom sees the bytes (D20).
        self._scanner.scan(
            encoded, lambda at, size: encoded[at : at + size], len(encoded), encoding_of(transfer_syntax)
        )
        try:
            return take(read_dataset(io.BytesIO(encoded), transfer_syntax == IMPLICIT, transfer_syntax != BIG_ENDIAN))
        except Refused:
            raise
        except Exception as error:
            # pydicom raises many kinds on odd values; each means the same to the peer.
            raise Refused(
                Because.CANNOT_UNDERSTAND, f"the identifier cannot be read ({type(error).__name__})"
            ) from error

    def _inflated(self, encoded: bytes) -> bytes:
        try:
            inflated = inflated_whole(encoded, self._limits.identifier_max)
        except zlib.error:
            raise Refused(Because.CANNOT_UNDERSTAND, "the identifier cannot be inflated") from None
        if inflated is None:
            raise Refused(Because.CANNOT_UNDERSTAND, "the identifier inflates past the limit")
        return inflated


class _Keys:
    """Reads the keys of one identifier. The VR of a known attribute is the model's, whatever it was sent with."""

    def __init__(self, sets: CharacterSetReader, order: str) -> None:
        self._sets = sets
        self._order = order

    def of(self, data_set: Dataset, sets: CharacterSets) -> dict[str, Key]:
        declared = data_set.get_item(_CHARACTER_SET) if _CHARACTER_SET in data_set else None
        if declared is not None and declared.value:
            sets = self._sets.read(declared.value)
        return {
            f"{tag:08X}": self._key(data_set, tag, sets)
            for tag in sorted(data_set.keys())
            if tag >= _FIRST_TAG and tag & 0xFFFF
        }

    def _key(self, data_set: Dataset, tag: int, sets: CharacterSets) -> Key:
        raw = data_set.get_item(tag)
        vr = _vr(tag, str(raw.VR or ""))
        if vr == "SQ" or isinstance(raw.value, list) or str(raw.VR) == "SQ":
            return self._sequence(data_set, tag, vr, sets)
        return Key(vr, self._values(vr, raw.value or b"", sets))

    def _sequence(self, data_set: Dataset, tag: int, vr: str, sets: CharacterSets) -> Key:
        raw = data_set.get_item(tag)
        if not raw.value:
            return Key(vr)
        items = data_set[tag].value
        if vr != "SQ" or isinstance(items, (bytes, str)):
            raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"the key ({tag:08X}) has a value of another kind")
        if len(items) > 1:
            raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"the sequence key ({tag:08X}) has more than one item")
        return Key("SQ", (), self.of(items[0], sets) if items else {})

    def _values(self, vr: str, raw: bytes, sets: CharacterSets) -> tuple[str, ...]:
        if vr in _STRUCTS:
            size = struct.calcsize(f"={_STRUCTS[vr]}")
            count = len(raw) // size
            return tuple(map(str, struct.unpack(f"{self._order}{count}{_STRUCTS[vr]}", raw[: count * size])))
        if vr in _TEXT_VRS:
            text = decode(raw, sets, NAME_DELIMITERS if vr == "PN" else TEXT_DELIMITERS)[0]
        elif vr in _ASCII_VRS:
            text = raw.decode("latin-1")
        else:
            return ()
        text = text.rstrip("\0 ")
        if not text:
            return ()
        values = [text] if vr in _SINGLE_VRS else text.split("\\")
        return tuple(clean(value.strip("\0 ")) for value in values)


def _vr(tag: int, sent: str) -> str:
    if known := BY_TAG.get(f"{tag:08X}"):
        return known.vr
    if sent and sent != "UN":
        return sent
    if is_private_creator(f"{tag:08X}"):
        return "LO"
    return str(DicomDictionary.get(tag, ("UN",))[0]).partition(" ")[0] or "UN"
