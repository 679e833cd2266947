"""Retrieving: what a C-MOVE, C-GET or WADO asks for (PS3.4 C.4.2, C.4.3; PS3.18 10.4), and how it is counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from domain.attributes import Level
from domain.errors import AnnalsError, Because, Refused, ToldTogether
from domain.event import Actor
from domain.instance import Content
from domain.limits import Limits
from domain.matching import NEVER_MATCHED, QUERY_RETRIEVE_LEVEL, Key, query
from processes import unreadable
from processes.ports import Log
from projections.catalogue.kept import kept_of
from projections.catalogue.select import select
from projections.read_model import ReadModel

_LOG = logging.getLogger("annals.retrieve")
CONTEXTS_MAX = 128
_COUNTER_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Wanted:
    """One stored instance that a retrieval selects."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    content: Content


class Ended(Enum):
    """How a retrieval ended; the value is the final status (PS3.4 Table C.4-2)."""

    SUCCESS = 0x0000
    WARNINGS_OR_FAILURES = 0xB000
    ALL_FAILED = 0xA702
    CANCELLED = 0xFE00


@dataclass(slots=True)
class Tally:
    """The counts of a retrieval's sub-operations. Their sum is always the total."""

    remaining: int
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)

    def count(self, status: int, sop_instance_uid: str) -> None:
        """Count one finished C-STORE sub-operation by its status (PS3.4 B.2.3: 0000 success, Bxxx warning)."""
        self.remaining -= 1
        if status == 0x0000:
            self.completed += 1
        elif status & 0xF000 == 0xB000 or status in (0x0001, 0x0107, 0x0116):
            self.warning += 1
        else:
            self.failed += 1
            self.failed_uids.append(sop_instance_uid)

    def ended(self, *, cancelled: bool = False) -> Ended:
        """The final status (correctness C3.3)."""
        if cancelled:
            return Ended.CANCELLED
        if self.failed and not self.completed and not self.warning:
            return Ended.ALL_FAILED
        if self.failed or self.warning:
            return Ended.WARNINGS_OR_FAILURES
        return Ended.SUCCESS


def in_associations(wanted: Sequence[Wanted], preferred: str = "") -> Iterator[list[Wanted]]:
    """Cut a retrieval so that each part needs at most 128 presentation contexts (PS3.8 9.3.2.2).

    A context for each class in the syntax it is stored in, and in the destination's preferred one.
    """
    part: list[Wanted] = []
    contexts: set[tuple[str, str]] = set()
    for one in wanted:
        needed = {(one.sop_class_uid, syntax) for syntax in (one.content.transfer_syntax_uid, preferred)}
        needed.discard((one.sop_class_uid, ""))
        if len(contexts | needed) > CONTEXTS_MAX:
            yield part
            part, contexts = [], set()
        contexts |= needed
        part.append(one)
    if part:
        yield part


class Retriever:
    """Selects what a retrieval asks for, from the catalogue, after it has caught up with the log."""

    def __init__(self, catalogue: ReadModel, log: Log, limits: Limits) -> None:
        self._catalogue = catalogue
        self._log = log
        self._limits = limits
        self._countable = min(limits.sub_operations_max, _COUNTER_MAX)

    def select(self, root: Level, keys: Mapping[str, Key], *, relational: bool = False) -> list[Wanted]:
        """The instances under the unique keys. Raises Refused (A900 for keys, A701 for more than can be counted)."""
        return self.under(unique_keys(root, keys, self._limits, relational=relational))

    def under(self, unique: Mapping[Level, Sequence[str]]) -> list[Wanted]:
        """The instances under these UIDs, in reading order. Raises Refused (A701 for more than can be counted)."""
        with self._catalogue.current() as connection:
            rows = select(connection, unique, self._countable + 1)
        if len(rows) > self._countable:
            raise Refused(Because.CANNOT_COUNT_MATCHES, f"more than {self._countable} instances: retrieve by series")
        return [
            Wanted(sop_class, sop_instance, series, study, Content(*content))
            for sop_class, sop_instance, series, study, *content in rows
        ]

    def place_now(self, wanted: Wanted) -> Content | None:
        """Where the same bytes are by now, if that is elsewhere: a storage may be moved while a retrieval goes on."""
        with self._catalogue.current() as connection:
            place = kept_of(connection, [wanted.sop_instance_uid]).get(wanted.sop_instance_uid)
        content = wanted.content
        is_same = place and (place.digest, place.transfer_syntax_uid) == (content.digest, content.transfer_syntax_uid)
        return place if is_same and place != content else None

    def note_unsent(self, wanted: Wanted, error: AnnalsError) -> None:
        """Tell that nothing is known against an instance, and it cannot be sent; of a storage that is away once."""
        level = logging.DEBUG if isinstance(error, ToldTogether) else logging.WARNING
        _LOG.log(level, "instance %s cannot be sent: %s", wanted.sop_instance_uid, error)

    def note_unreadable(self, wanted: Wanted, error: Exception) -> None:
        """Record that the stored bytes of an instance could not be read (F14). Never raises."""
        fault = (getattr(error, "strerror", None) or str(error)).encode("ascii", "replace").decode()
        _LOG.error("instance %s cannot be read: %s", wanted.sop_instance_uid, fault)
        try:
            unreadable.record(self._log, wanted.sop_instance_uid, wanted.content, fault, Actor("system", "retrieve"))
        except AnnalsError as unrecorded:
            _LOG.error("instance %s: that it is unreadable was not recorded: %s", wanted.sop_instance_uid, unrecorded)


def unique_keys(
    root: Level, keys: Mapping[str, Key], limits: Limits, *, relational: bool = False
) -> dict[Level, tuple[str, ...]]:
    """The unique keys of an identifier by level; only they select (PS3.4 C.4.2.2.1). Raises Refused (A900).

    A ``relational`` retrieval may leave out those of upper levels, never that of its own (PS3.4 C.4.2.2.2).
    """
    level_key = keys.get(QUERY_RETRIEVE_LEVEL)
    level_name = level_key.values[0] if level_key and level_key.values else ""
    asked = query(root, level_name, keys, limits, relational=relational)
    unique = {level: level.unique_key for level in Level if level <= asked.level}
    if others := [
        tag for tag, key in asked.keys.items() if tag not in {*unique.values(), *NEVER_MATCHED} and key.values
    ]:
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"({others[0]}) does not select: only unique keys do")
    selected = {
        level: tuple(filter(None, keys[tag].values))
        for level, tag in unique.items()
        if tag in keys and any(keys[tag].values)
    }
    wanted = selected.get(asked.level, ())
    if not wanted or any("*" in value or "?" in value for values in selected.values() for value in values):
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"the unique key of the {asked.level.name} level is missing")
    return selected
