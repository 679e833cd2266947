"""Metadata: prepared in the background, made when it is asked for earlier, given out without touching a file."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from domain.attributes import Level
from domain.errors import Because, Refused
from domain.limits import Limits
from processes.bulk_data import range_reader
from processes.ports import DataSetModel, Files
from processes.retrieve import Retriever, Wanted
from projections import series_metadata
from projections.derived import DerivedTables
from projections.series_metadata import Part

_LOG = logging.getLogger("annals.metadata")
_BULK_DATA_URI = b'"BulkDataURI":"'


class SeriesMetadata:
    """The room of metadata. Fills :class:`processes.derive.Maker`."""

    kind = series_metadata.SERIES_METADATA.kind

    def __init__(
        self, retriever: Retriever, tables: DerivedTables, files: Files, model: DataSetModel, limits: Limits
    ) -> None:
        self._retriever = retriever
        self._tables = tables
        self._files = files
        self._model = model
        self._limits = limits

    def make(self, study_instance_uid: str, series_instance_uid: str) -> None:
        """Prepare a series; raises where an instance of it cannot be read, after all others are prepared."""
        wanted = self._retriever.under({Level.STUDY: [study_instance_uid], Level.SERIES: [series_instance_uid]})
        if unreadable := self._prepare((study_instance_uid, series_instance_uid), wanted):
            raise Refused(Because.CANNOT_UNDERSTAND, f"{unreadable} of {len(wanted)} instances could not be read")

    def prepare(self, wanted: Sequence[Wanted]) -> int:
        """Prepare what is missing of whole series, ordered by series; returns how many instances cannot be read.

        Raises :class:`Refused` (A700) while a storage is not there.
        """
        return sum(self._prepare(series, list(instances)) for series, instances in groupby(wanted, key=_series))

    def lines(self, wanted: Sequence[Wanted]) -> Iterator[list[bytes]]:
        """The JSON of these instances, some at a time, in their order; what is not prepared is made on the way.

        A BulkDataURI in it begins with ``/studies``: see :func:`with_base`. What cannot be read is left out.
        """
        for series, instances in groupby(wanted, key=_series):
            members = list(instances)
            with self._tables.connection() as connection:
                only = members[0].content.digest if len(members) == 1 else ""
                parts = series_metadata.parts(connection, *series, only)
            for _, lines in self._picked(_Prepared(parts), members):
                yield lines

    def _prepare(self, series: tuple[str, str], wanted: Sequence[Wanted]) -> int:
        """Let the parts of a series be what is wanted, in its order; returns how many cannot be read."""
        with self._tables.connection() as connection:
            known = series_metadata.prepared(connection, *series)
        if known == [one.content.digest for one in wanted]:
            return 0
        with self._tables.connection() as connection:
            parts = series_metadata.parts(connection, *series)
        pages = _Pages(self._limits)
        for digests, lines in self._picked(_Prepared(parts), wanted):
            pages.add(digests, lines)
        made = pages.all()
        digests = [digest for part in made for digest in part.digests]
        if digests != known:
            with self._tables.connection() as connection:
                series_metadata.replace(connection, *series, made)
        return len(wanted) - len(digests)

    def _picked(self, prepared: _Prepared, wanted: Sequence[Wanted]) -> Iterator[tuple[list[str], list[bytes]]]:
        """Digests and lines of what can be had, some at a time: of one part, or made."""
        for number, run in groupby(wanted, key=lambda one: prepared.part_of(one.content.digest)):
            members = list(run)
            if number is not None:
                digests = [one.content.digest for one in members]
                yield digests, prepared.lines(number, digests)
                continue
            for one in members:
                if line := self._made(one):
                    yield [one.content.digest], [line]

    def _made(self, wanted: Wanted) -> bytes:
        """One instance's JSON from its file; nothing where it cannot be read."""
        content = wanted.content
        try:
            descriptor = self._files.open(content)
            try:
                return self._model.json(range_reader(descriptor, content), content, location(wanted))
            finally:
                os.close(descriptor)
        except Refused as error:
            if error.because is Because.OUT_OF_RESOURCES:
                raise
            _LOG.error("metadata of instance %s cannot be made: %s", wanted.sop_instance_uid, error)
        except OSError as error:
            self._retriever.note_unreadable(wanted, error)
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
            # One odd object must not take the metadata of its whole study away.
            _LOG.exception("metadata of instance %s cannot be made", wanted.sop_instance_uid)
        return b""


def location(wanted: Wanted) -> str:
    """The resource of an instance, from where the service is mounted."""
    series = f"/studies/{wanted.study_instance_uid}/series/{wanted.series_instance_uid}"
    return f"{series}/instances/{wanted.sop_instance_uid}"


def with_base(json: bytes, base: str) -> bytes:
    """The JSON of data sets with every BulkDataURI below the public URL of the service.

    Only a key can be preceded by this text: in a string its quotation marks are escaped.
    """
    return json.replace(_BULK_DATA_URI, _BULK_DATA_URI + base.encode("ascii"))


def bulk_data_uris(data_set: Mapping[str, Any]) -> Iterator[str]:
    """Every BulkDataURI of a data set in the DICOM JSON Model, those in its sequences too."""
    for element in data_set.values():
        if "BulkDataURI" in element:
            yield element["BulkDataURI"]
        elif element["vr"] == "SQ":
            for item in element.get("Value", ()):
                yield from bulk_data_uris(item)


class _Prepared:
    """The parts of a series, one of them decompressed at a time."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._of = {digest: number for number, part in enumerate(parts) for digest in part.digests}
        self._number: int | None = None
        self._lines: list[bytes] = []

    def part_of(self, digest: str) -> int | None:
        """The part that holds an instance, or None."""
        return self._of.get(digest)

    def lines(self, number: int, digests: Sequence[str]) -> list[bytes]:
        """Lines of one part."""
        part = self._parts[number]
        if number != self._number:
            self._number, self._lines = number, zlib.decompress(part.lines).split(b"\n")
        if list(part.digests) == digests:
            return self._lines
        by_digest = dict(zip(part.digests, self._lines, strict=True))
        return [by_digest[digest] for digest in digests]


class _Pages:
    """Lines become parts that are worth being compressed and small enough to be read."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._made: list[Part] = []
        self._digests: list[str] = []
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, digests: Sequence[str], lines: Sequence[bytes]) -> None:
        """Put lines behind those that are there."""
        for digest, line in zip(digests, lines, strict=True):
            if self._lines and (
                len(self._lines) >= self._limits.metadata_part_instances_max
                or self._size + len(line) > self._limits.metadata_part_max
            ):
                self._end()
            self._digests.append(digest)
            self._lines.append(line)
            self._size += len(line)

    def all(self) -> list[Part]:
        """All parts; the last one is ended."""
        if self._lines:
            self._end()
        return self._made

    def _end(self) -> None:
        self._made.append(Part(tuple(self._digests), zlib.compress(b"\n".join(self._lines))))
        self._digests, self._lines, self._size = [], [], 0


def _series(wanted: Wanted) -> tuple[str, str]:
    return wanted.study_instance_uid, wanted.series_instance_uid
