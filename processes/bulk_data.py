"""Bulk data: single values of stored objects, streamed from where they lie (PS3.18 10.4.1.1.5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from domain.instance import Content
from domain.transcoding import EXPLICIT, can
from processes.pixel_ports import Codecs, Stored
from processes.ports import BulkValue, DataSetModel, Files
from processes.retrieve import Wanted


@dataclass(frozen=True, slots=True)
class PlainValue:
    """A value that can be given out in ranges."""

    value: BulkValue
    length: int


class BulkData:
    """Gives values by their path: tags as eight hex digits, with item numbers from 1 between them."""

    def __init__(self, files: Files, model: DataSetModel, codecs: Codecs) -> None:
        self._files = files
        self._model = model
        self._codecs = codecs

    @contextmanager
    def opened(self, wanted: Wanted, path: Sequence[str]) -> Iterator[PlainValue | None]:
        """One value, readable within the context; None where there is no such bulk data. Compressed pixels are decoded.

        Raises OSError and Refused: A700 while the storage is away, A702 for pixels that cannot be decoded.
        """
        content = wanted.content
        descriptor = self._files.open(content)
        try:
            value = self._model.bulk_value(range_reader(descriptor, content), content, path)
            if value is None or value.length is not None:
                yield None if value is None else PlainValue(value, value.length or 0)
                return
            stored = Stored(descriptor, content.header_size, content.size, content.transfer_syntax_uid)
            with self._decoded(stored, path) as plain:
                yield plain
        finally:
            os.close(descriptor)

    @contextmanager
    def _decoded(self, stored: Stored, path: Sequence[str]) -> Iterator[PlainValue | None]:
        converted = self._codecs.converted(stored, EXPLICIT)
        try:
            content = Content("", converted.length, converted.offset, converted.transfer_syntax_uid, "", "")
            value = self._model.bulk_value(range_reader(converted.descriptor, content), content, path)
            yield PlainValue(value, value.length) if value and value.length is not None else None
        finally:
            os.close(converted.descriptor)


def can_be_plain(wanted: Wanted) -> bool:
    """Whether the pixels of an instance can be given out uncompressed."""
    return can(wanted.content.transfer_syntax_uid, EXPLICIT)


def range_reader(descriptor: int, content: Content) -> Callable[[int, int], bytes]:
    """Reads from the data set in an open file: from an offset, so many bytes, fewer only at its end."""
    return lambda offset, length: os.pread(
        descriptor, max(0, min(length, content.size - offset)), content.header_size + offset
    )
