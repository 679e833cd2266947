"""From the scanned data set to the header that enters the log: identity, particulars, attributes, warnings."""

from __future__ import annotations

import re
from typing import Any

from adapters.dicom.findings import Scan, Values
from adapters.dicom.pixels import pixel_fault
from adapters.dicom.remembered import Parts, RememberedParts, key_of
from adapters.dicom.scan import Scanner
from adapters.dicom.source import Read
from adapters.dicom.syntaxes import encoding_of
from adapters.dicom.text import CharacterSetReader
from adapters.dicom.values import CHARACTER_SET, ValueReader, element
from domain.attributes import ATTRIBUTES, Level
from domain.errors import Because, Refused
from domain.identifiers import uid_fault, uid_warning
from domain.limits import Limits
from processes.ports import Header

ACCESSION_NUMBER_MAX = 16

_PIXEL_DATA_PROVIDER_URL = 0x00287FE0
_ACCESSION_NUMBER = "00080050"
_IDENTITY = (
    ("SOPClassUID", 0x00080016),
    ("SOPInstanceUID", 0x00080018),
    ("SeriesInstanceUID", 0x0020000E),
    ("StudyInstanceUID", 0x0020000D),
)
_PARTS = {Level.PATIENT: "patient", Level.STUDY: "study", Level.SERIES: "series", Level.IMAGE: ""}
_CODE = re.compile(r"[A-Za-z0-9 _.+/:-]{1,64}\Z")
_CODED_TEXT = frozenset(("CS", "LO", "SH"))
_CODED_ENTRY = frozenset(
    ("00080100", "00080102", "00080103", "00080104", "00080105", "00080106", "00080119", "00080120", "0008010F")
)


class Indexer:
    """Checks data sets and reads their headers; one serves all threads of a process."""

    def __init__(self, limits: Limits, *, crop_accession_number: bool = False) -> None:
        """``crop_accession_number``: index 16 characters of it (NET-7)."""
        self._limits = limits
        self._crop = crop_accession_number
        self._sets = CharacterSetReader()
        self._remembered = RememberedParts()
        self._plan = {
            int(attribute.tag, 16): (attribute.tag, attribute.keyword, attribute.vr, _PARTS[attribute.level])
            for attribute in ATTRIBUTES
        }
        self._scanner = Scanner((*self._plan, CHARACTER_SET, _PIXEL_DATA_PROVIDER_URL), limits)

    def header(
        self,
        head: bytes,
        read: Read,
        size: int,
        transfer_syntax_uid: str,
        sop_class_uid: str,
        sop_instance_uid: str,
    ) -> Header:
        """Check a whole data set of ``size`` bytes and read its header.

        ``head`` is its beginning, ``read(offset, length)`` gives the rest; the UIDs are those of the request. Raises
        :class:`Refused`: C000 for a data set that is damaged or has no usable identity (B01, B02, B07 to B12),
        A900 where it is not what the request names (B03).
        """
        encoding = encoding_of(transfer_syntax_uid)
        scan = self._scanner.scan(head, read, size, encoding)
        warnings = _Warnings(scan.warnings, self._limits.header_warnings_max)
        sop_class, sop_instance, series, study = (_identity(scan, name, tag, warnings) for name, tag in _IDENTITY)
        for name, found, asked in (
            ("SOPClassUID", sop_class, sop_class_uid),
            ("SOPInstanceUID", sop_instance, sop_instance_uid),
        ):
            if found != asked:
                raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"{name} of the request is not that of the data set")
        parts, attributes = self._read_parts(scan, warnings)
        elsewhere = _PIXEL_DATA_PROVIDER_URL in scan.values
        if fault := pixel_fault(attributes, scan.pixels, encoding, elsewhere):
            warnings.add(fault)
        return Header(sop_class, sop_instance, series, study, parts, attributes, tuple(warnings.texts), fault)

    def _read_parts(self, scan: Scan, warnings: _Warnings) -> tuple[Parts, dict[str, Any]]:
        """The parts that go into the particulars, and the attributes of the instance."""
        reader = self._reader(scan, warnings)
        shared: Values = {}
        own: dict[str, Any] = {}
        for tag, (vr, raw) in scan.values.items():
            planned = self._plan.get(tag)
            if planned is None:
                continue
            name, keyword, model_vr, part = planned
            if part:
                shared[tag] = (vr, raw)
            else:
                values = _impersonal(keyword, model_vr, reader.values(keyword, model_vr, vr, raw), warnings)
                own[name] = element(model_vr, values)
        key = key_of(shared, scan.big_endian, _character_set(scan))
        parts = self._remembered.get(key)
        if parts is None:
            said = _Warnings([], self._limits.header_warnings_max)
            parts = self._read_shared(self._reader(scan, said), shared, said)
            if not said.texts:
                self._remembered.keep(key, parts)
            for text in said.texts:
                warnings.add(text)
        return parts, own

    def _reader(self, scan: Scan, warnings: _Warnings) -> ValueReader:
        reader = ValueReader(self._sets, self._limits, scan.big_endian, warnings.add)
        reader.use(_character_set(scan))
        return reader

    def _read_shared(self, reader: ValueReader, shared: Values, warnings: _Warnings) -> Parts:
        parts: dict[str, dict[str, Any]] = {"patient": {}, "study": {}, "series": {}}
        for tag, (vr, raw) in shared.items():
            name, keyword, model_vr, part = self._plan[tag]
            values = reader.values(keyword, model_vr, vr, raw)
            if name == _ACCESSION_NUMBER and self._crop:
                values = _cropped(values, warnings)
            parts[part][name] = element(model_vr, values)
        return parts


class _Warnings:
    """Warnings of one data set, each once, at most so many."""

    def __init__(self, texts: list[str], count_max: int) -> None:
        self.texts = texts
        self._count_max = count_max

    def add(self, text: str) -> None:
        if text not in self.texts and len(self.texts) < self._count_max:
            self.texts.append(text)


def _character_set(scan: Scan) -> bytes | None:
    raw = scan.values.get(CHARACTER_SET, (b"", None))[1]
    return raw if isinstance(raw, bytes) else None


def _identity(scan: Scan, name: str, tag: int, warnings: _Warnings) -> str:
    """A UID by which the instance is known. Raises C000 where it cannot be one."""
    raw = scan.values.get(tag, (b"", b""))[1]
    uid = raw.rstrip(b" \0").decode("latin_1") if isinstance(raw, bytes) else ""
    if fault := uid_fault(uid):
        raise Refused(Because.CANNOT_UNDERSTAND, f"{name} {fault}")
    if warning := uid_warning(uid):
        warnings.add(f"{name}: {warning}")
    return uid


def _impersonal(keyword: str, vr: str, values: list[Any], warnings: _Warnings) -> list[Any]:
    """Values that may stand in a fact for ever: free text in a coded attribute may be somebody's name."""
    if vr == "SQ":
        return [_coded_entry(item) for item in values]
    if vr not in _CODED_TEXT:
        return values
    coded = [value if value is None or _CODE.match(value) else None for value in values]
    if coded != values:
        warnings.add(f"{keyword}: is not a coded value")
    return coded


def _coded_entry(item: dict[str, Any]) -> dict[str, Any]:
    return {tag: value for tag, value in item.items() if tag in _CODED_ENTRY}


def _cropped(values: list[Any], warnings: _Warnings) -> list[Any]:
    cropped = [value and value[:ACCESSION_NUMBER_MAX] for value in values]
    if cropped != values:
        warnings.add(f"AccessionNumber: is cropped to {ACCESSION_NUMBER_MAX} characters")
    return cropped
