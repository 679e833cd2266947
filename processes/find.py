"""Finding: the one room behind C-FIND and QIDO."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from domain.errors import TooBroad
from domain.limits import Limits
from domain.matching import Query
from projections.catalogue.find import Page, find, place
from projections.read_model import ReadModel


class Finder:
    """Answers queries from the catalogue, after it has seen everything that was acknowledged before (P6)."""

    def __init__(self, catalogue: ReadModel, limits: Limits) -> None:
        self._catalogue = catalogue
        self._limits = limits

    def some(self, query: Query, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        """At most ``limit`` records behind the first ``offset``, and how many match behind them.

        They are counted up to ``query_remaining_max``; one more means that there are more. Raises :class:`TooBroad`
        where that takes longer than a query may.
        """
        # Without keys every row matches, and those before the offset need not be looked at.
        skip = 0 if query.matching else offset
        before = offset - skip
        wanted = limit + self._limits.query_remaining_max + 1
        found: list[dict[str, Any]] = []
        passed = 0
        for page in self._pages(query, min(before + wanted, self._limits.query_page), skip):
            found.extend(page[max(0, before - passed) :])
            passed += len(page)
            if len(found) >= wanted:
                break
        return found[:limit], min(max(0, len(found) - limit), self._limits.query_remaining_max + 1)

    def find(self, query: Query) -> Iterator[Sequence[dict[str, Any]]]:
        """Matching records in pages, each record once. Between two pages no connection is held, however slow the asker.

        A page may be empty: it is the moment to look whether an answer is still wanted. Raises :class:`TooBroad` after
        the most that one query may return (B33), and where the search takes longer than a query may.
        """
        room = self._limits.query_matches_max
        for page in self._pages(query, self._limits.query_page):
            yield page[:room]
            room -= len(page)
            if room < 0:
                raise TooBroad(f"more than {self._limits.query_matches_max} matches")

    def _pages(self, query: Query, first: int, skip: int = 0) -> Iterator[Sequence[dict[str, Any]]]:
        seconds = self._limits.query_timeout_seconds
        with self._catalogue.current() as connection:
            began = time.monotonic()
            after = place(connection, query.level, skip - 1) if skip else None
            page = Page([], None) if skip and after is None else find(connection, query, after, first)
        while True:
            seconds -= time.monotonic() - began
            yield page.records
            if page.last is None:
                return
            if seconds < 0:
                raise TooBroad("the search takes too long: narrow it")
            began = time.monotonic()
            with self._catalogue.now() as connection:
                page = find(connection, query, page.last, self._limits.query_page)
