"""Finding: the one room behind C-FIND and QIDO."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from domain.errors import Because, Refused
from domain.limits import Limits
from domain.matching import Query
from projections.catalogue.find import find
from projections.engine import ReadModel


class Finder:
    """Answers queries from the catalogue, after it has seen everything that was acknowledged before (P6)."""

    def __init__(self, catalogue: ReadModel, limits: Limits) -> None:
        self._catalogue = catalogue
        self._limits = limits

    def find(self, query: Query) -> Iterator[Sequence[dict[str, Any]]]:
        """Matching records in pages, each record once. Between two pages no connection is held, however slow the asker.

        A page may be empty: it is the moment to look whether an answer is still wanted. Raises Refused (A700) after
        the most that one query may return (B33), and where the search takes longer than a query may.
        """
        room = self._limits.query_matches_max
        seconds = self._limits.query_timeout_seconds
        with self._catalogue.current() as connection:
            began = time.monotonic()
            page = find(connection, query, None, self._limits.query_page)
        while True:
            seconds -= time.monotonic() - began
            yield page.records[:room]
            room -= len(page.records)
            if room < 0:
                raise Refused(Because.OUT_OF_RESOURCES, f"more than {self._limits.query_matches_max} matches")
            if page.last is None:
                return
            if seconds < 0:
                raise Refused(Because.OUT_OF_RESOURCES, "the search takes too long: narrow it")
            began = time.monotonic()
            with self._catalogue.now() as connection:
                page = find(connection, query, page.last, self._limits.query_page)
