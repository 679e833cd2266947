"""Files of other makers: where their data set begins, how it is encoded, which object it is (PS3.10 7, B04 to B06).

A file without the Part 10 prefix, or without any header, is tried as well: many exports are bare data sets.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from adapters.dicom.part10 import read_file_header
from adapters.dicom.scan import Scanner
from adapters.dicom.syntaxes import encoding_of
from domain.errors import AnnalsError, Refused
from domain.identifiers import uid_fault
from domain.limits import Limits
from domain.transcoding import BIG_ENDIAN, EXPLICIT, IMPLICIT

_HEADER_MAX = 1024 * 1024
_HEAD = 64 * 1024
_SOP_CLASS_UID, _SOP_INSTANCE_UID = 0x00080016, 0x00080018
_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


class NotAnObject(AnnalsError):
    """The file cannot be read as a DICOM object; the text says why."""


class MediaDirectory(AnnalsError):
    """The file is a DICOMDIR: it lists objects and is none."""


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """An object in a file: what to name it in a C-STORE request, and where its data set is, in bytes."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int
    length: int


class ForeignFileReader:
    """Finds the object in a file and checks its structure as a whole."""

    def __init__(self, limits: Limits) -> None:
        self._scanner = Scanner((_SOP_CLASS_UID, _SOP_INSTANCE_UID), limits)

    def read(self, descriptor: int) -> ForeignFile:
        """The object in an open file. Raises :class:`NotAnObject`, :class:`MediaDirectory` or OSError."""
        size = os.fstat(descriptor).st_size
        if not size:
            raise NotAnObject("the file is empty")
        beginning = os.pread(descriptor, _HEAD, 0)
        try:
            offset, syntax = _begin(beginning)
        except NotAnObject:
            if size <= _HEAD or beginning[128:132] != b"DICM":
                raise
            beginning = os.pread(descriptor, _HEADER_MAX, 0)
            offset, syntax = _begin(beginning)

        def read(position: int, length: int) -> bytes:
            return os.pread(descriptor, length, offset + position)

        head = beginning[offset : offset + _HEAD]
        try:
            scan = self._scanner.scan(head, read, size - offset, encoding_of(syntax))
        except Refused as refused:
            raise NotAnObject(str(refused)) from None
        sop_class, sop_instance = (_uid(scan.values.get(tag)) for tag in (_SOP_CLASS_UID, _SOP_INSTANCE_UID))
        if not sop_class or not sop_instance:
            raise NotAnObject("the data set names no SOP Class or SOP Instance")
        named = (("SOP Class", sop_class), ("SOP Instance", sop_instance), ("Transfer Syntax", syntax))
        for name, uid in named:
            if fault := uid_fault(uid):
                raise NotAnObject(f"its {name} UID {fault}")
        return ForeignFile(sop_class, sop_instance, syntax, offset, size - offset)


def _begin(beginning: bytes) -> tuple[int, str]:
    """Where the data set begins, and its transfer syntax."""
    if beginning[128:132] == b"DICM":
        prefixed = beginning
        skipped = 0
    elif beginning[:2] == b"\x02\x00":
        # Group 2 without the preamble and prefix that belong before it.
        prefixed = bytes(128) + b"DICM" + beginning
        skipped = 132
    else:
        return 0, _guessed(beginning)
    try:
        meta = read_file_header(prefixed)
    except (ValueError, struct.error) as error:
        raise NotAnObject(f"the file header cannot be read: {error}") from None
    if meta.sop_class_uid == _MEDIA_STORAGE_DIRECTORY:
        raise MediaDirectory("a DICOMDIR, not an object")
    return meta.size - skipped, meta.transfer_syntax_uid


def _guessed(beginning: bytes) -> str:
    """The syntax of a bare data set, told by its first element, which is of group 8 or lower in every object."""
    if len(beginning) < 8:
        raise NotAnObject("not a DICOM file")
    little, big = struct.unpack_from("<H", beginning)[0], struct.unpack_from(">H", beginning)[0]
    explicit = beginning[4:6].isalpha() and beginning[4:6].isupper()
    if explicit and big == 8:
        return BIG_ENDIAN
    if little not in (1, 4, 6, 8):
        raise NotAnObject("not a DICOM file")
    return EXPLICIT if explicit else IMPLICIT


def _uid(value: object) -> str:
    raw = value[1] if isinstance(value, tuple) else b""
    return raw.rstrip(b"\0 ").decode("ascii", "replace") if isinstance(raw, bytes) else ""
