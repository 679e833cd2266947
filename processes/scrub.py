"""Reading files again to see whether they are still what was received (STO-5, reliability D7)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from domain.event import Actor
from domain.instance import Content
from processes import unreadable
from processes.ports import Log, Upkeep
from projections.catalogue.kept import kept_in
from projections.read_model import ReadModel

_LOG = logging.getLogger("annals.storages")
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """One instance that was read again; ``fault`` says what is wrong with its file."""

    sop_instance_uid: str
    size: int
    fault: str = ""


class Pace:
    """Keeps reading within a rate. After a rest nothing is made up for."""

    def __init__(self, rate: float, now: Callable[[], float], wait: Callable[[float], object]) -> None:
        """``rate`` in bytes a second."""
        self._rate = rate
        self._now = now
        self._wait = wait
        self._due = now()

    def read(self, size: int) -> None:
        """Some bytes were read: wait for the time of those before them."""
        if self.delay:
            self._wait(self.delay)
        self._due = max(self._due, self._now()) + size / self._rate

    @property
    def delay(self) -> float:
        """In how many seconds the next bytes may be read."""
        return max(0.0, self._due - self._now())


def scrub(catalogue: ReadModel, log: Log, storage: Upkeep, *, after: str, by: Actor, pace: Pace) -> Iterator[Scrubbed]:
    """Read every instance after a UID; what is wrong becomes a fact.

    Raises Refused where the storage is away and Unavailable where the log does not answer: go on after the last one.
    """
    while page := _page(catalogue, storage.name, after):
        for after, content in page:
            fault = storage.fault_of(content, pace.read)
            if fault and unreadable.record(log, after, content, fault, by):
                _LOG.error("instance %s in %s is not whole: %s", after, storage.name, fault)
            yield Scrubbed(after, content.size, fault)


def _page(catalogue: ReadModel, storage: str, after: str) -> list[tuple[str, Content]]:
    with catalogue.current() as connection:
        return kept_in(connection, storage, after, _PAGE)
