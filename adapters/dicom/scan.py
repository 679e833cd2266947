"""The bounded scan: checks the structure of a whole data set without reading its pixels (reliability D20, stage 1).

It knows no attribute's meaning. It walks tags, VRs and lengths, jumps over values by their length, and hands out the
raw values of the attributes that are indexed. What it refuses, it refuses with C000.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from pydicom._dicom_dict import DicomDictionary

from adapters.dicom.findings import PIXEL_DATA, Scan, Values
from adapters.dicom.source import Read, Window, inflated
from adapters.dicom.syntaxes import Encoding
from adapters.dicom.walk import Walk
from domain.errors import Refused
from domain.limits import Limits


class Scanner:
    """Scans data sets for the attributes in ``wanted`` (tags as numbers)."""

    def __init__(self, wanted: Iterable[int], limits: Limits) -> None:
        self._wanted = frozenset(wanted) | frozenset(PIXEL_DATA)
        self._limits = limits
        self._sequences = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")

    def scan(self, head: bytes, read: Read, size: int, encoding: Encoding) -> Scan:
        """Check a data set of ``size`` bytes. ``head`` is its beginning, ``read`` gives more of it. Raises C000."""
        window = inflated(head, read, size, self._limits) if encoding.deflated else Window(head, read, size)
        return self._walk(window, encoding).run()

    def beginning(self, data: bytes, encoding: Encoding) -> Values:
        """The wanted values that lie within the first bytes of a data set, inflated ones where it is deflated."""
        walk = self._walk(Window(data, lambda _offset, _length: b"", len(data)), encoding)
        with suppress(Refused):
            # It ends where the bytes end, or at a fault that the scan of the whole will tell.
            walk.run()
        return walk.found.values

    def _walk(self, window: Window, encoding: Encoding) -> Walk:
        return Walk(window, encoding, self._wanted, self._sequences, self._limits)
