"""Data sets written by hand, byte for byte, so that tests can also write what no library would."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset

from adapters.dicom.index import Indexer
from domain.limits import MIB, Limits
from processes.ports import Header

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
INSTANCE = "1.2.3.4"
SERIES = "1.2.3"
STUDY = "1.2"
UNDEFINED = 0xFFFFFFFF
HEAD_MAX = 64 * 1024

_LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))


def element(tag: int, vr: str, value: bytes, syntax: str = EXPLICIT, length: int | None = None) -> bytes:
    """One element; ``length`` overrides the true one."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    size = len(value) if length is None else length
    group, number = tag >> 16, tag & 0xFFFF
    if syntax == IMPLICIT:
        return struct.pack("<HHI", group, number, size) + value
    if vr in _LONG:
        return struct.pack(f"{order}HH2sHI", group, number, vr.encode(), 0, size) + value
    return struct.pack(f"{order}HH2sH", group, number, vr.encode(), size) + value


def text(value: str | bytes, padding: bytes = b" ") -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return raw + padding * (len(raw) & 1)


def uid(value: str) -> bytes:
    return text(value, b"\0")


def item(content: bytes, *, undefined: bool = False, order: str = "<") -> bytes:
    if undefined:
        end = struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0)
        return struct.pack(f"{order}HHI", 0xFFFE, 0xE000, UNDEFINED) + content + end
    return struct.pack(f"{order}HHI", 0xFFFE, 0xE000, len(content)) + content


def sequence_end(order: str = "<") -> bytes:
    return struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0)


def minimal(
    extra: Iterable[tuple[int, str, bytes]] = (),
    syntax: str = EXPLICIT,
    *,
    sop_class: str = CT_CLASS,
    instance: str = INSTANCE,
    series: str = SERIES,
    study: str = STUDY,
) -> bytes:
    """A data set with its identity and ``extra`` elements, in the order of their tags."""
    elements = [
        (0x00080016, "UI", uid(sop_class)),
        (0x00080018, "UI", uid(instance)),
        (0x0020000D, "UI", uid(study)),
        (0x0020000E, "UI", uid(series)),
    ]
    replaced = {tag for tag, _, _ in extra}
    elements = [entry for entry in elements if entry[0] not in replaced] + list(extra)
    return b"".join(element(tag, vr, value, syntax) for tag, vr, value in sorted(elements, key=lambda entry: entry[0]))


def image(rows: int = 16, columns: int = 16, extra: Iterable[tuple[int, str, bytes]] = ()) -> bytes:
    """A data set with a whole native image of 16 bits a pixel."""
    return minimal([*description(rows, columns), (0x7FE00010, "OW", bytes(rows * columns * 2)), *extra])


def description(rows: int, columns: int, bits: int = 16, samples: int = 1) -> list[tuple[int, str, bytes]]:
    """The elements that describe pixel data."""
    return [
        (0x00280002, "US", struct.pack("<H", samples)),
        (0x00280004, "CS", b"MONOCHROME2 "),
        (0x00280010, "US", struct.pack("<H", rows)),
        (0x00280011, "US", struct.pack("<H", columns)),
        (0x00280100, "US", struct.pack("<H", bits)),
        (0x00280101, "US", struct.pack("<H", bits)),
        (0x00280103, "US", struct.pack("<H", 0)),
    ]


def read(
    data: bytes,
    syntax: str = EXPLICIT,
    *,
    sop_class: str = CT_CLASS,
    instance: str = INSTANCE,
    limits: Limits | None = None,
    head_max: int = HEAD_MAX,
    **switches: Any,
) -> Header:
    """The header of a data set in memory. Raises Refused."""
    indexer = Indexer(limits or Limits(), **switches)

    def more(offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length <= MIB
        return data[offset : offset + length]

    return indexer.header(data[:head_max], more, len(data), syntax, sop_class, instance)


def encoded(data_set: Dataset, syntax: str) -> bytes:
    """A pydicom data set as bytes, in a syntax that is not deflated."""
    out = io.BytesIO()
    target = DicomIO(out)
    target.is_implicit_VR = syntax == IMPLICIT
    target.is_little_endian = syntax != BIG_ENDIAN
    write_dataset(target, data_set)
    return out.getvalue()
