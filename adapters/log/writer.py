"""Group commit: who finds the log free commits at once; what comes meanwhile waits, and is committed together."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

import psycopg
import psycopg_pool
from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    PersistenceError,
    StoredEvent,
)

from adapters.log.announcer import Announcer
from adapters.log.recorder import WRITER_LOCK, ParticularsRow, Recorder
from domain.errors import Unavailable
from domain.limits import Limits

_LOG = logging.getLogger("annals.log")
_AWAY = (OperationalError, InterfaceError, InternalError, psycopg.Error, psycopg_pool.PoolTimeout)
_SETTLE_SECONDS = 1.5
_SETTLE = "SELECT count(*) AS known FROM log.event WHERE originator_id = %s AND originator_version = %s AND state = %s"
_HOLDERS = """
SELECT string_agg(format('%%s (pid %%s)', coalesce(nullif(application_name, ''), backend_type), a.pid), ', ') AS holders
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND (
    (l.locktype = 'advisory' AND l.objid = %s)
    OR (l.relation = 'log.event'::regclass AND l.mode IN ('ExclusiveLock', 'AccessExclusiveLock'))
)
"""


class Conflict(Exception):
    """Another append took the version: load, ask the verb again."""


@dataclass(slots=True)
class Append:
    """Facts of one command for one stream, and the future that its caller waits on."""

    events: Sequence[StoredEvent]
    particulars: Sequence[ParticularsRow] = ()
    done: Future[Sequence[int]] = field(default_factory=Future)


class GroupWriter:
    """One a process. Each append is answered when its facts are durable, refused or known not to be written."""

    def __init__(self, recorder: Recorder, limits: Limits) -> None:
        self._recorder = recorder
        self._announcer = Announcer(recorder.announce)
        self._batch_max = limits.commit_batch_max
        self._wait_seconds = limits.database_timeout_seconds + limits.lock_timeout_seconds
        self._settle_seconds = min(_SETTLE_SECONDS, limits.database_timeout_seconds)
        self._queue: queue.SimpleQueue[Append | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._closed = False

    def open(self) -> None:
        """Start the writer's threads."""
        self._thread.start()
        self._announcer.open()

    def close(self) -> None:
        """Commit what waits, then end."""
        self._closed = True
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._announcer.close()

    def append(self, append: Append) -> Sequence[int]:
        """The positions of the facts, durable. Raises :class:`Conflict` or :class:`Unavailable`."""
        if self._closed:
            raise Unavailable("the log is closed")
        if self._turn.acquire(blocking=False):
            # Alone, a change of threads would cost as much as the commit.
            try:
                self._commit([append])
            finally:
                self._turn.release()
        else:
            self._queue.put(append)
        try:
            return append.done.result(self._wait_seconds)
        except (FutureTimeout, CancelledError):
            append.done.cancel()
            raise Unavailable("the database does not answer") from None
        finally:
            # The exception, this frame and the future would keep each other, and the caller's open object.
            del append

    def _run(self) -> None:
        while self._commit_next():
            pass

    def _commit_next(self) -> bool:
        """Commit what waits; whether more may come. While nothing does, no frame holds what was committed last."""
        if (first := self._queue.get()) is None:
            return False
        with self._turn:
            batch = [first, *self._waiting()]
            if batch := [append for append in batch if append.done.set_running_or_notify_cancel()]:
                self._commit(batch)
        return True

    def _waiting(self) -> Iterator[Append]:
        for _ in range(self._batch_max - 1):
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if item is None:
                self._queue.put(None)
                return
            yield item

    def _commit(self, batch: list[Append]) -> None:
        try:
            positions = self._insert(batch)
        except IntegrityError:
            if len(batch) == 1:
                batch[0].done.set_exception(Conflict())
            else:
                for append in batch:
                    self._commit([append])
        except _AWAY as error:
            self._settle(batch, error)
        except Exception as error:  # noqa: BLE001 - handed to its caller, and the thread goes on
            if len(batch) == 1:
                batch[0].done.set_exception(error)
            else:
                # What the database refuses in one append is not the others' concern.
                for append in batch:
                    self._commit([append])
        else:
            first = 0
            for append in batch:
                last = first + len(append.events)
                append.done.set_result(positions[first:last])
                first = last

    def _insert(self, batch: list[Append]) -> Sequence[int]:
        particulars = {row.id: row for append in batch for row in append.particulars}
        positions = self._recorder.insert_events(
            [event for append in batch for event in append.events],
            particulars=tuple(particulars.values()),
        )
        self._announcer.tell()
        return positions

    def _settle(self, batch: list[Append], error: Exception) -> None:
        """The answer to COMMIT may be lost: under the writer's lock the log itself tells what was committed (F22)."""
        _LOG.error("an append failed: %s%s", type(error).__name__, self._holders(error))
        try:
            # The peer has waited long already: whoever does not answer this soon is taken for away (F21).
            with self._recorder.in_haste(self._settle_seconds) as cursor:
                cursor.execute(
                    "SELECT set_config('lock_timeout', '1s', true), pg_advisory_xact_lock(%s)", (WRITER_LOCK,)
                )
                for append in batch:
                    first = append.events[0]
                    cursor.execute(_SETTLE, (first.originator_id, first.originator_version, first.state))
                    row = cursor.fetchone()
                    if row and row["known"]:
                        self._announcer.tell()
                        append.done.set_result(())
                    else:
                        append.done.set_exception(Unavailable("the database did not take the fact"))
        except (*_AWAY, PersistenceError):
            for append in batch:
                if not append.done.done():
                    append.done.set_exception(Unavailable("the database does not answer"))

    def _holders(self, error: Exception) -> str:
        if "lock timeout" not in str(error):
            return ""
        try:
            with self._recorder.datastore.transaction() as cursor:
                cursor.execute(_HOLDERS, (WRITER_LOCK,))
                row = cursor.fetchone()
                return f"; the log is locked by {row['holders']}" if row else ""
        except (*_AWAY, PersistenceError):
            return ""
