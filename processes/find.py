"""Finding: the one room behind C-FIND and QIDO."""

from __future__ import annotations

from collections.abc import Iterator
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

    def find(self, query: Query) -> Iterator[dict[str, Any]]:
        """Matching records. Raises Refused (A700) after the most that one query may return (B33)."""
        with self._catalogue.current() as connection:
            for number, record in enumerate(find(connection, query, self._limits.query_page)):
                if number >= self._limits.query_matches_max:
                    raise Refused(Because.OUT_OF_RESOURCES, f"more than {self._limits.query_matches_max} matches")
                yield record
