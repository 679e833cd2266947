"""The first bytes of a Part 10 file as it is received over HTTP: enough of them to open a temp file (PS3.10 7.1)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from adapters.dicom.part10 import FileMeta, read_file_header
from adapters.dicom.scan import Scanner
from adapters.dicom.syntaxes import encoding_of
from domain.errors import Because, Refused
from domain.identifiers import uid_fault
from domain.limits import Limits
from processes.ports import FileBeginning

BEGINNING_MAX = 1024 * 1024
"""Bytes in which the file meta information must end and the data set must have named itself."""

_PREFIX_END = 132
_INFLATED_MAX = 256 * 1024
_IDENTITY = (("SOPClassUID", 0x00080016), ("SOPInstanceUID", 0x00080018))
_PROGRAMS = (
    *(b"MZ", b"\x7fELF", b"#!", b"<"),
    *(b"\xfe\xed\xfa", b"\xca\xfe\xba\xbe", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
)
"""How executables and scripts of the common systems begin (PS3.10 7.5)."""


class FileBeginningReader:
    """Fills :class:`processes.ports.FileBeginnings`; one serves all threads of a process."""

    def __init__(self, limits: Limits) -> None:
        self._scanner = Scanner([tag for _, tag in _IDENTITY], limits)

    def __call__(self, beginning: bytes, *, is_all: bool) -> FileBeginning | None:
        """The beginning, None where more bytes are needed. Raises C000 where it is none, also past 1 MiB."""
        is_all = is_all or len(beginning) >= BEGINNING_MAX
        if len(beginning) < _PREFIX_END and not is_all:
            return None
        if beginning[128:_PREFIX_END] != b"DICM":
            raise Refused(Because.CANNOT_UNDERSTAND, "not a DICOM file: it has no DICM prefix")
        try:
            meta = read_file_header(beginning)
        except (ValueError, struct.error) as error:
            if not is_all:
                return None
            raise Refused(Because.CANNOT_UNDERSTAND, f"the file header cannot be read: {error}") from None
        if fault := uid_fault(meta.transfer_syntax_uid):
            raise Refused(Because.CANNOT_UNDERSTAND, f"Transfer Syntax UID {fault}")
        sop_class_uid, sop_instance_uid = self._identity(beginning, meta)
        if not sop_instance_uid and not is_all:
            return None
        for (name, _), uid in zip(_IDENTITY, (sop_class_uid, sop_instance_uid), strict=True):
            if fault := uid_fault(uid):
                raise Refused(Because.CANNOT_UNDERSTAND, f"{name} {fault}")
        warnings = tuple(_warnings(beginning, meta, sop_class_uid, sop_instance_uid))
        return FileBeginning(meta.size, meta.transfer_syntax_uid, sop_class_uid, sop_instance_uid, warnings)

    def _identity(self, beginning: bytes, meta: FileMeta) -> list[str]:
        encoding = encoding_of(meta.transfer_syntax_uid)
        data = beginning[meta.size :]
        if encoding.deflated:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _INFLATED_MAX)
            except zlib.error:
                raise Refused(Because.CANNOT_UNDERSTAND, "the deflated data set is damaged") from None
        values = self._scanner.beginning(data, encoding)
        raws = (values.get(tag, (b"", b""))[1] for _, tag in _IDENTITY)
        return [raw.rstrip(b" \0").decode("latin_1") if isinstance(raw, bytes) else "" for raw in raws]


def _warnings(beginning: bytes, meta: FileMeta, sop_class_uid: str, sop_instance_uid: str) -> Iterator[str]:
    if beginning.startswith(_PROGRAMS):
        yield "the file's preamble looks like a program; it was not kept"
    if meta.sop_instance_uid != sop_instance_uid:
        yield "MediaStorageSOPInstanceUID: is not that of the data set"
    if meta.sop_class_uid != sop_class_uid:
        yield "MediaStorageSOPClassUID: is not that of the data set"
