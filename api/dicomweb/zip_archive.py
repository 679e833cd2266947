"""Instances as a ZIP that is written while it is sent: stored, not compressed, ZIP64 where it must be (C8.12, B48)."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Generator, Mapping
from typing import Any
from zipfile import ZipFile, ZipInfo

from api.dicomweb.outgoing import Outgoing
from api.dicomweb.rooms import Retrieval
from api.pieces import bytes_of
from domain.attributes import Level
from domain.matching import Key, query
from processes.retrieve import Wanted

_NAME_MAX = 40
_KEPT = frozenset(" -_")
_STUDY, _SERIES = "0020000D", "0020000E"
_OF_STUDY = ("00100010", "00100020", "00080020", "00081030")
_OF_SERIES = ("00080060", "00200011", "0008103E")
_SERIES_MAX = 10_000


class Names:
    """The names in the ZIP of one study: folders for the study and its series after their attributes, then numbers.

    Only letters, digits, blanks, ``-`` and ``_`` of any value get into a name; no two names differ in case alone.
    """

    def __init__(self, records: list[Mapping[str, Any]]) -> None:
        self._folders: dict[str, str] = {}
        taken: Counter[str] = Counter()
        self.study = _joined(records[0], _OF_STUDY, "study") if records else "study"
        for record in records:
            name = _joined(record, _OF_SERIES, "series")
            taken[name.casefold()] += 1
            number = taken[name.casefold()]
            # A bracket is in no value's name: a numbered one is nobody's own.
            self._folders[record[_SERIES]["Value"][0]] = name if number == 1 else f"{name} ({number})"
        self._numbers: Counter[str] = Counter()

    def of(self, wanted: Wanted) -> str:
        """The name of the next instance, in reading order within its series."""
        folder = self._folders.get(wanted.series_instance_uid, wanted.series_instance_uid)
        self._numbers[folder] += 1
        return f"{self.study}/{folder}/{self._numbers[folder]:06d}.dcm"


def names_of(rooms: Retrieval, study_instance_uid: str) -> Names:
    """The names for a study, from the catalogue."""
    keys = {_STUDY: Key("UI", (study_instance_uid,))}
    asked = query(Level.PATIENT, Level.SERIES.name, keys, rooms.limits, relational=True)
    return Names(list(rooms.finder.some(asked, 0, _SERIES_MAX)[0]))


def zipped(outgoing: Outgoing, names: Names) -> Generator[bytes]:
    """The bytes of the ZIP, an instance at a time."""
    written = _Written()
    now = time.localtime()[:6]
    with ZipFile(written, "w") as archive:
        for one in outgoing.each():
            entry = ZipInfo(names.of(one.wanted), now)
            # Known before, it decides whether the entry needs ZIP64.
            entry.file_size = one.length
            with archive.open(entry, "w") as file:
                for piece in one.pieces():
                    for data in bytes_of(piece):
                        file.write(data)
                        yield written.take()
    yield written.take()


class _Written:
    """What the ZIP has written since it was taken last; it cannot be told where it is, so it never goes back."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        """Hold a copy until it is taken."""
        self._held.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        """All that was written since the last time."""
        held, self._held = self._held, []
        return b"".join(held)


def _joined(record: Mapping[str, Any], tags: tuple[str, ...], otherwise: str) -> str:
    values = (_safe(_text(record.get(tag, {}).get("Value", ()))) for tag in tags)
    return "_".join(value for value in values if value)[: 3 * _NAME_MAX].strip(" ") or otherwise


def _text(values: Any) -> str:
    value = next((one for one in values if one is not None), "")
    return " ".join(value.get("Alphabetic", "").split("^")) if isinstance(value, Mapping) else str(value)


def _safe(text: str) -> str:
    folded = unicodedata.normalize("NFC", text)
    return "".join(c if c.isalnum() or c in _KEPT else "_" for c in folded)[:_NAME_MAX].strip(" _")
