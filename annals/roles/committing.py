"""Storage commitments that are open: decided, and told to who had asked until it is understood (P5, C5.7)."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from annals.compose import Archive
from domain.errors import AnnalsError
from processes.commit_storage import Commitments, Tell
from projections import commitments

_LOG = logging.getLogger("annals.commitments")
_LOOK_SECONDS = 0.5
_OPEN_AT_ONCE = 100_000
_OPEN_A_SECOND = 10_000


@dataclass(slots=True)
class _Try:
    """When a transaction is tried again, and how long is waited after that."""

    at: float = 0.0
    pause: float = 0.0


class Committing:
    """Works for several devices at a time, one transaction each: one that is off holds up no other's report."""

    def __init__(self, archive: Archive, room: Commitments, tell: Tell, ended: threading.Event) -> None:
        self._archive = archive
        self._room = room
        self._tell = tell
        self._ended = ended
        self._limits = archive.limits
        self._tries: dict[str, _Try] = {}
        self._silent_until: dict[str, float] = {}
        self._busy: dict[tuple[str, str], Future[bool]] = {}
        self._trouble = ""

    def run(self) -> None:
        """Until the end."""
        rest = _LOOK_SECONDS
        with ThreadPoolExecutor(self._limits.commitment_reports_max, "commitment") as pool:
            while not self._ended.wait(rest):
                try:
                    rest = _LOOK_SECONDS + self._step(pool) / _OPEN_A_SECOND
                    self._trouble = ""
                except AnnalsError as error:
                    if str(error) != self._trouble:
                        _LOG.warning("storage commitments wait: %s", error)
                    self._trouble = str(error)

    def _step(self, pool: ThreadPoolExecutor) -> int:
        """Begin what is due; how many are open."""
        for one in [one for one, done in self._busy.items() if done.done()]:
            self._note(*one, self._busy.pop(one))
        with self._archive.open_commitments.now() as connection:
            waiting = commitments.still_open(connection, _OPEN_AT_ONCE)
        self._tries = {uid: self._tries.get(uid) or _Try() for uid, _ in waiting}
        now = time.monotonic()
        engaged = {ae_title for _, ae_title in self._busy if ae_title}
        for uid, ae_title in waiting:
            if len(self._busy) >= self._limits.commitment_reports_max:
                break
            is_due = max(self._tries[uid].at, self._silent_until.get(ae_title, now)) <= now
            if is_due and ae_title not in engaged and (uid, ae_title) not in self._busy:
                self._busy[(uid, ae_title)] = pool.submit(self._room.tell, uid, self._tell)
                engaged |= {ae_title} - {""}
        return len(waiting)

    def _note(self, uid: str, ae_title: str, done: Future[bool]) -> None:
        try:
            if done.result():
                # It answers again: what waits for it waits no longer.
                if self._silent_until.pop(ae_title, None) is not None:
                    self._tries.clear()
                return
        except AnnalsError as error:
            _LOG.warning("storage commitment %s waits: %s", uid, error)
        except Exception:  # noqa: BLE001 - one that cannot be told may not hold up the others
            _LOG.exception("storage commitment %s could not be decided or told", uid)
        known = self._tries.setdefault(uid, _Try())
        pause = known.pause or self._limits.commitment_retry_seconds
        known.at = time.monotonic() + pause
        known.pause = min(2 * pause, self._limits.commitment_retry_max_seconds)
        self._silent_until[ae_title] = time.monotonic() + self._limits.commitment_retry_seconds
