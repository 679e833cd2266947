"""Storage commitments that are open: decided, and told to who had asked until it is understood (P5, C5.7)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Any, Protocol

from domain.errors import AnnalsError
from domain.limits import Limits
from processes.commit_storage import Tell, Told
from projections import commitments

_LOG = logging.getLogger("annals.commitments")
_LOOK_SECONDS = 0.5
_REST_FACTOR = 4
_OPEN_OF_EACH = 1_000


class Room(Protocol):
    """:class:`processes.commit_storage.Commitments`."""

    def tell(self, transaction_uid: str, tell: Tell) -> Told:
        """Decide and tell."""
        ...


class Waiting(Protocol):
    """The read model of the commitments."""

    def now(self) -> AbstractContextManager[Any]:
        """A connection that sees the tables as they are."""
        ...


class _Pauses:
    """When something that failed is tried again: later and later."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._until: dict[str, tuple[float, float]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._until

    def is_over(self, name: str) -> bool:
        return self._until.get(name, (0.0, 0.0))[0] <= time.monotonic()

    def lengthen(self, name: str) -> None:
        _, last = self._until.get(name, (0.0, 0.0))
        pause = min(2 * last, self._limits.commitment_retry_max_seconds) or self._limits.commitment_retry_seconds
        self._until[name] = time.monotonic() + pause, pause

    def end(self, name: str) -> None:
        self._until.pop(name, None)

    def keep(self, names: set[str]) -> None:
        self._until = {name: one for name, one in self._until.items() if name in names}


class Committing:
    """Works for several devices at a time, one after the other for each.

    A device that cannot be reached waits longer each time, and takes no place from those that can; a transaction whose
    report is not understood waits by itself.
    """

    def __init__(self, waiting: Waiting, room: Room, tell: Tell, limits: Limits, ended: threading.Event) -> None:
        self._waiting = waiting
        self._room = room
        self._tell = tell
        self._ended = ended
        self._limits = limits
        self._devices = _Pauses(limits)
        self._transactions = _Pauses(limits)
        self._busy: dict[str, Future[Mapping[str, Told]]] = {}
        self._trouble = ""

    def run(self) -> None:
        """Until the end."""
        with ThreadPoolExecutor(self._limits.commitment_reports_max, "commitment") as pool:
            while not self._ended.is_set():
                began = time.monotonic()
                try:
                    self._step(pool)
                    self._trouble = ""
                except AnnalsError as error:
                    if str(error) != self._trouble:
                        _LOG.warning("storage commitments wait: %s", error)
                    self._trouble = str(error)
                except Exception:  # noqa: BLE001 - a thread that ended would leave everybody untold for ever
                    _LOG.exception("storage commitments could not be worked on")
                rest = max(_LOOK_SECONDS, _REST_FACTOR * (time.monotonic() - began))
                if self._busy:
                    wait(self._busy.values(), rest, FIRST_COMPLETED)
                else:
                    self._ended.wait(rest)

    def _step(self, pool: ThreadPoolExecutor) -> None:
        for ae_title in [ae_title for ae_title, done in self._busy.items() if done.done()]:
            self._note(ae_title, self._busy.pop(ae_title))
        with self._waiting.now() as connection:
            waiting = commitments.still_open(connection, _OPEN_OF_EACH)
        self._transactions.keep({uid for uids in waiting.values() for uid in uids})
        places = self._limits.commitment_reports_max
        for ae_title, uids in sorted(waiting.items(), key=lambda one: one[0] in self._devices):
            # Half of the places, of several, stay for those of whom nothing bad is known.
            room = max(1, places // 2) if ae_title in self._devices else places
            due = [uid for uid in uids if self._transactions.is_over(uid)]
            if due and len(self._busy) < room and ae_title not in self._busy and self._devices.is_over(ae_title):
                self._busy[ae_title] = pool.submit(self._serve, due)

    def _serve(self, uids: Sequence[str]) -> Mapping[str, Told]:
        """What came of transactions of one device; none after one for which nobody was there."""
        outcome: dict[str, Told] = {}
        for uid in uids:
            if self._ended.is_set():
                break
            try:
                outcome[uid] = self._room.tell(uid, self._tell)
            except AnnalsError as error:
                _LOG.warning("storage commitment %s waits: %s", uid, error)
                outcome[uid] = Told.NOT_UNDERSTOOD
            except Exception:  # noqa: BLE001 - one that cannot be told may not hold up the others
                _LOG.exception("storage commitment %s could not be decided or told", uid)
                outcome[uid] = Told.NOT_UNDERSTOOD
            if outcome[uid] is Told.NOT_REACHED:
                break
        return outcome

    def _note(self, ae_title: str, done: Future[Mapping[str, Told]]) -> None:
        for uid, told in done.result().items():
            if told is Told.NOT_REACHED:
                self._devices.lengthen(ae_title)
                continue
            self._devices.end(ae_title)
            if told is Told.NOT_UNDERSTOOD:
                self._transactions.lengthen(uid)
