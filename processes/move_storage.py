"""Moving what a storage holds into another: copied, compared, recorded, and only then removed (STO-5).

The log says what is still to be moved, so that the work is taken up where it was left, however it ended.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from domain import instance
from domain.errors import Because, Refused, Unavailable
from domain.event import Actor, Event
from domain.instance import Content
from processes.ports import Failpoints, FoundFile, Log, Upkeep
from processes.storages_by_log import StoragesByLog
from projections.catalogue.kept import kept_in
from projections.read_model import ReadModel

_LOG = logging.getLogger("annals.storages")
_PAGE = 500


class Outcome(Enum):
    """What became of one file."""

    MOVED = "moved"
    REMOVED = "removed, since it lay in the other storage already"
    UNKNOWN = "left, since no fact knows it"
    FAILED = "could not be moved"


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one file of an instance, and why where it failed."""

    sop_instance_uid: str
    path: str
    outcome: Outcome
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Clocks:
    """``now`` in seconds from anywhere, ``wall`` in seconds since 1970, and how to wait."""

    now: Callable[[], float]
    wall: Callable[[], float]
    wait: Callable[[float], None]


class Move:
    """One run of the work."""

    def __init__(
        self,
        catalogue: ReadModel,
        log: Log,
        source: Upkeep,
        target: Upkeep,
        is_whole: Callable[[Content], bool],
        *,
        by: Actor,
        grace_seconds: float,
        clocks: Clocks,
        failpoint: Failpoints,
    ) -> None:
        """``is_whole`` says of any content whether its bytes can be read from its place and have its digest.

        A file goes only ``grace_seconds`` after its fact, since someone may be about to read it.
        """
        self._catalogue = catalogue
        self._log = log
        self._source = source
        self._target = target
        self._is_whole = is_whole
        self._by = by
        self._grace_seconds = grace_seconds
        self._clocks = clocks
        self._failpoint = failpoint
        self._storages = StoragesByLog(log)
        self._leaving: deque[tuple[float, float, str, str]] = deque()

    def run(self) -> Iterator[Moved]:
        """Move every instance, then earlier versions, and finish removals that were interrupted.

        Raises Refused and Unavailable where a storage or the log does not answer: run again, it goes on.
        """
        with self._catalogue.current() as connection:
            page = kept_in(connection, self._source.name, "", _PAGE)
        failed: set[str] = set()
        while page:
            for uid, content in page:
                done = self._move(uid, content)
                if done.outcome is Outcome.FAILED:
                    failed.add(content.path)
                yield done
                self._remove_due()
            # What comes in behind, from before the storage was disabled, is found by its file below.
            with self._catalogue.now() as connection:
                page = kept_in(connection, self._source.name, page[-1][0], _PAGE)
        self._remove_all()
        for file in self._source.found():
            if file.path not in failed:
                yield self._finish(file)
            self._remove_due()
        self._remove_all()

    def _finish(self, file: FoundFile) -> Moved:
        """A file that is still there: an earlier version, a late instance, or what an interrupted removal has left."""
        uid, found = file.sop_instance_uid, file.content
        known = self._state(uid) if found else None
        if known is None or found is None:
            return Moved(uid, file.path, Outcome.UNKNOWN)
        place = known.place_of(found.digest, found.transfer_syntax_uid)
        if place and (place.storage, place.path) == (found.storage, found.path):
            return self._move(uid, place)
        if place is None:
            is_ignored = found.digest in known.ignored
            return self._move(uid, found) if is_ignored else Moved(uid, file.path, Outcome.UNKNOWN)
        if file.modified > self._clocks.wall() - self._grace_seconds:
            return Moved(uid, file.path, Outcome.FAILED, "it was taken into use a moment ago: move again")
        if not self._is_whole(place):
            fault = f"the one in {place.storage} is not whole: 'annals storage reconcile {self._source.name} --mend'"
            return Moved(uid, file.path, Outcome.FAILED, fault)
        self._leaving.append((self._clocks.now(), file.modified, uid, file.path))
        return Moved(uid, file.path, Outcome.REMOVED)

    def _move(self, uid: str, content: Content) -> Moved:
        began = self._clocks.wall()
        try:
            descriptor = self._source.open(content)
            try:
                os.lseek(descriptor, 0, os.SEEK_SET)
                moved = self._target.copy_in(descriptor, content)
            finally:
                os.close(descriptor)
        except OSError as error:
            _LOG.error("instance %s cannot be moved: %s", uid, error)
            return Moved(uid, content.path, Outcome.FAILED, str(error))
        self._failpoint("move.copied")
        self._log.change(instance.KIND, uid, self._into_target, moved, fold=instance.fold, by=self._by)
        self._failpoint("move.recorded")
        self._leaving.append((self._clocks.now() + self._grace_seconds, began, uid, content.path))
        return Moved(uid, content.path, Outcome.MOVED)

    def _into_target(self, known: instance.Instance | None, moved: Content) -> list[Event]:
        """Raises Refused where the target was removed meanwhile: nothing that is in it then is found."""
        place = self._storages.now(moved.storage)
        if place is None or place.is_going:
            raise Refused(Because.OUT_OF_RESOURCES, f"storage {moved.storage}: was removed meanwhile")
        return instance.move(known, moved)

    def _remove_due(self) -> None:
        while self._leaving and self._leaving[0][0] <= self._clocks.now():
            self._remove(*self._leaving.popleft()[1:])

    def _remove_all(self) -> None:
        while self._leaving:
            self._clocks.wait(max(0.0, self._leaving[0][0] - self._clocks.now()))
            self._remove_due()

    def _remove(self, older_than: float, uid: str, path: str) -> None:
        """What cannot be removed is in the way only: no fact names it, and the next run takes it up."""
        self._failpoint("move.before_removal")
        try:
            if not self._source.remove(path, older_than, lambda: self._is_needed(uid, path)):
                _LOG.warning("%s stays in %s: it was taken into use again", path, self._source.name)
        except (Refused, OSError) as error:
            _LOG.error("%s stays in %s after it was moved: %s", path, self._source.name, error)
        self._failpoint("move.removed")

    def _is_needed(self, uid: str, path: str) -> bool:
        """Asked when the file cannot be found any more; where the log does not answer, it is needed."""
        try:
            known = self._state(uid)
        except Unavailable:
            return True
        return known is not None and known.is_made_of(self._source.name, path)

    def _state(self, uid: str) -> instance.Instance | None:
        return instance.fold(recorded.event for recorded in self._log.stream(instance.KIND, uid))
