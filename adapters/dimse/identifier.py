"""Identifiers of C-FIND, C-MOVE and C-GET: bytes to keys, records to bytes."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as DicomSequence

from adapters.dicom.scan import Scanner
from adapters.dicom.syntaxes import encoding_of
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.matching import Key
from domain.person_name import GROUPS

_IMPLICIT = "1.2.840.10008.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_UTF_8 = "ISO_IR 192"


class IdentifierReader:
    """Reads identifiers; one serves all threads of a process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._scanner = Scanner((), limits)

    def keys(self, encoded: bytes, transfer_syntax: str) -> dict[str, Key]:
        """The keys by tag; group lengths are left out. Raises :class:`Refused` (C000) for what cannot be read."""
        if transfer_syntax == _DEFLATED:
            encoded, transfer_syntax = self._inflated(encoded), _EXPLICIT
        # Bounded depth, items and lengths before pydicom sees the bytes (D20).
        self._scanner.scan(
            encoded, lambda at, size: encoded[at : at + size], len(encoded), encoding_of(transfer_syntax)
        )
        try:
            data_set = read_dataset(io.BytesIO(encoded), transfer_syntax == _IMPLICIT, transfer_syntax != _BIG_ENDIAN)
            data_set.decode()
            return _keys(data_set)
        except Refused:
            raise
        except Exception as error:
            # pydicom raises many kinds on odd values; each means the same to the peer.
            raise Refused(
                Because.CANNOT_UNDERSTAND, f"the identifier cannot be read ({type(error).__name__})"
            ) from error

    def _inflated(self, encoded: bytes) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            inflated = inflater.decompress(encoded, self._limits.identifier_max)
        except zlib.error:
            raise Refused(Because.CANNOT_UNDERSTAND, "the identifier cannot be inflated") from None
        if inflater.unconsumed_tail:
            raise Refused(Because.CANNOT_UNDERSTAND, "the identifier inflates past the limit")
        return inflated


def encode_record(record: Mapping[str, Any], transfer_syntax: str) -> bytes:
    """A record (tag to DICOM JSON element) as a data set; says UTF-8 whenever something is not ASCII."""
    data_set = _data_set(record)
    if not _is_ascii(record):
        data_set.SpecificCharacterSet = _UTF_8
    target = DicomBytesIO()
    target.is_implicit_VR = transfer_syntax == _IMPLICIT
    target.is_little_endian = transfer_syntax != _BIG_ENDIAN
    write_dataset(target, data_set)
    encoded = target.getvalue()
    if transfer_syntax == _DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = deflater.compress(encoded) + deflater.flush()
        encoded += b"\0" * (len(encoded) % 2)
    return encoded


def _keys(data_set: Dataset) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    for element in data_set:
        if element.tag.element == 0:
            continue
        tag = f"{element.tag:08X}"
        if element.VR == "SQ":
            if len(element.value) > 1:
                raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"the sequence key ({tag}) has more than one item")
            keys[tag] = Key("SQ", (), _keys(element.value[0]) if element.value else {})
        else:
            keys[tag] = Key(str(element.VR), _texts(element.value))
    return keys


def _texts(value: Any) -> tuple[str, ...]:
    if value is None or value == "" or isinstance(value, bytes):
        return ()
    values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return tuple(str(one).strip("\0 ") for one in values)


def _data_set(record: Mapping[str, Any]) -> Dataset:
    data_set = Dataset()
    for tag, element in sorted(record.items()):
        vr, values = element["vr"], element.get("Value") or []
        if vr == "SQ":
            data_set.add_new(int(tag, 16), "SQ", DicomSequence([_data_set(item) for item in values]))
        else:
            data_set.add_new(int(tag, 16), vr, _value(vr, values))
    return data_set


def _value(vr: str, values: list[Any]) -> Any:
    if not values:
        return None
    if vr == "PN":
        texts = ["=".join(name.get(group, "") for group in GROUPS).rstrip("=") if name else "" for name in values]
    elif vr in ("US", "SS", "UL", "SL", "FL", "FD"):
        return values if len(values) > 1 else values[0]
    else:
        texts = ["" if value is None else str(value) for value in values]
    return texts if len(texts) > 1 else texts[0]


def _is_ascii(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii()
    if isinstance(value, Mapping):
        return all(_is_ascii(inner) for inner in value.values())
    return all(_is_ascii(inner) for inner in value) if isinstance(value, list) else True
