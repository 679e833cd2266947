"""The Part 10 header: written by us before every data set, read back from our own files (PS3.10 7.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from adapters.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

HEADER_MAX = 4096
"""Bytes in which every header that we write ends."""

_PREFIX = bytes(128) + b"DICM"
_SHORT = struct.Struct("<HH2sH")
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_VERSION = struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\x00\x01"


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What a Part 10 header says. ``size`` is its length in bytes, up to the data set's first byte."""

    size: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def file_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str) -> bytes:
    """A header with a zero preamble (PS3.10 7.5: a received preamble may hold a program) and our own identity."""
    meta = b"".join(
        (
            _VERSION,
            _element(0x0002, b"UI", sop_class_uid, b"\0"),
            _element(0x0003, b"UI", sop_instance_uid, b"\0"),
            _element(0x0010, b"UI", transfer_syntax_uid, b"\0"),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
            _element(0x0016, b"AE", source_ae_title[:16], b" ") if source_ae_title else b"",
        )
    )
    return _PREFIX + _SHORT.pack(2, 0, b"UL", 4) + struct.pack("<I", len(meta)) + meta


def read_file_header(data: bytes) -> FileMeta:
    """Read a header from the first bytes of a file, by its elements and not by its group length.

    Raises :class:`ValueError` where there is none, or where it does not end within ``data``.
    """
    if data[128:132] != b"DICM":
        raise ValueError("no DICM prefix")
    values: dict[int, bytes] = {}
    at = 132
    while True:
        if at + 12 > len(data):
            raise ValueError("the file meta information does not end")
        group, element, vr, length = _SHORT.unpack_from(data, at)
        if group != 2:
            break
        at += 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<I", data, at)
            at += 4
        values[element] = data[at : at + length]
        at += length
    if 0x0010 not in values:
        raise ValueError("no Transfer Syntax UID")
    return FileMeta(at, _text(values, 0x0010), _text(values, 0x0002), _text(values, 0x0003))


def _element(element: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text[:64].encode("ascii", "replace")
    if len(value) & 1:
        value += padding
    return _SHORT.pack(2, element, vr, len(value)) + value


def _text(values: dict[int, bytes], element: int) -> str:
    return values.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")
