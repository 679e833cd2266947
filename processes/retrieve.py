"""Retrieving: what a C-MOVE or C-GET asks for, and how its sub-operations are counted (PS3.4 C.4.2, C.4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from domain.errors import Because, Refused
from domain.instance import Content
from domain.limits import Limits

CONTEXTS_MAX = 128
FAILED_UIDS_MAX = 5_000


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

    def fail_rest(self, rest: Sequence[str]) -> None:
        """Count instances that were never sent as failed."""
        for sop_instance_uid in rest:
            self.count(0xA702, sop_instance_uid)

    def ended(self, *, cancelled: bool = False) -> Ended:
        """The final status (correctness C3.3)."""
        if cancelled:
            return Ended.CANCELLED
        if self.failed and not self.completed and not self.warning:
            return Ended.ALL_FAILED
        if self.failed or self.warning:
            return Ended.WARNINGS_OR_FAILURES
        return Ended.SUCCESS


def in_associations(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Cut a retrieval so that each part needs at most 128 presentation contexts (PS3.8 9.3.2.2)."""
    part: list[Wanted] = []
    contexts: set[tuple[str, str]] = set()
    for instance in wanted:
        context = (instance.sop_class_uid, instance.content.transfer_syntax_uid)
        if context not in contexts and len(contexts) == CONTEXTS_MAX:
            yield part
            part, contexts = [], set()
        contexts.add(context)
        part.append(instance)
    if part:
        yield part


class Retriever:
    """Selects what a retrieval asks for, from the catalogue, after it has caught up with the log."""

    def __init__(self, select: Callable[[str, Mapping[str, Any]], Sequence[Wanted]], limits: Limits) -> None:
        self._select = select
        self._limits = limits

    def select(self, model: str, identifier: Mapping[str, Any]) -> Sequence[Wanted]:
        """The instances under the unique keys. Raises Refused (A900 keys, A701 more than can be counted)."""
        wanted = self._select(model, identifier)
        if len(wanted) > self._limits.sub_operations_max:
            raise Refused(Because.CANNOT_COUNT_MATCHES, "more than 65535 instances: retrieve by series")
        return wanted
