"""The log: ``change`` is the only way that history is written."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

import orjson
from eventsourcing.persistence import StoredEvent

from adapters.log.codec import Codec
from adapters.log.recorder import Datastore, ParticularsRow, Recorder
from adapters.log.writer import Append, Conflict, GroupWriter
from adapters.postgres.database import Database
from domain.errors import Unavailable
from domain.event import Actor, Batch, Envelope, Event, Particulars, Recorded, stream_id
from domain.limits import Limits

_PATIENTS = UUID("5b1f1d5e-0f3d-5a0a-8a54-6f1f5f9f0c3a")
_REMEMBERED_MAX = 4096
_CANONICALS_MAX = 256
_POOL_SIZE = 8

_HEAD = "SELECT max(notification_id) FROM log.event"
_READ = """
SELECT notification_id, originator_id, originator_version, topic, state
FROM log.event WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""
_READ_WANTED = """
SELECT notification_id, originator_id, originator_version, topic, CASE WHEN topic = ANY(%s) THEN NULL ELSE state END
FROM log.event WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""
_STREAM = """
SELECT notification_id, originator_id, originator_version, topic, state
FROM log.event WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version
"""
_PARTICULARS = "SELECT id, digest, content::text FROM log.particulars WHERE id = ANY(%s)"


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class EventLog:
    """The append-only log over PostgreSQL; fills :class:`processes.ports.Log`. Opened by :meth:`open`."""

    def __init__(
        self,
        dsn: str,
        facts: Iterable[type[Event]],
        limits: Limits,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._codec = Codec(facts)
        self._limits = limits
        self._clock = clock
        self._datastore = Datastore(dsn, limits)
        self._database = Database(dsn, limits, size=_POOL_SIZE)
        self._recorder = Recorder(self._datastore)
        self._writer = GroupWriter(self._recorder, limits)
        self._memory = _Memory()

    def open(self) -> None:
        """Connect and start the writer."""
        self._database.open()
        self._writer.open()

    def close(self) -> None:
        """Commit what waits, then disconnect."""
        self._writer.close()
        self._recorder.let_go()
        self._datastore.close()
        self._database.close()

    def change(
        self,
        kind: str,
        key: str,
        verb: Callable[..., list[Event]],
        *args: Any,
        fold: Callable[[Iterable[Event]], Any] | None = None,
        by: Actor,
        cause: str = "",
        reason: str = "",
        new: bool = False,
        particulars: Sequence[Particulars] = (),
    ) -> list[Event]:
        """Ask the verb and append what it says; see :class:`processes.ports.Log`."""
        stream = stream_id(kind, key)
        rows = self._memory.rows_to_write(particulars)
        for attempt in range(self._limits.append_attempts_max):
            past = [] if new and attempt == 0 else self._facts(_STREAM, (stream, 0))
            version = past[-1].version if past else 0
            state = fold([recorded.event for recorded in past]) if fold else None
            events = verb(state, *args)
            if not events:
                return []
            envelope = Envelope(self._clock(), by, cause, reason, uuid4().hex)
            stored = self._stored(stream, version, events, envelope)
            try:
                self._writer.append(Append(stored, rows))
            except Conflict:
                continue
            self._memory.written(rows)
            return events
        raise Unavailable("the stream is changed by others all the time: try again")

    def append_many(
        self, facts: Iterable[tuple[str, str, Event]], *, by: Actor, particulars: Sequence[Particulars] = ()
    ) -> None:
        """Append the first facts of many new streams in one transaction (replays, benchmarks)."""
        envelope = Envelope(self._clock(), by)
        stored = [
            stored for kind, key, event in facts for stored in self._stored(stream_id(kind, key), 0, [event], envelope)
        ]
        rows = self._memory.rows_to_write(particulars)
        self._writer.append(Append(stored, rows))
        self._memory.written(rows)

    def head(self) -> int:
        """The position of the newest fact, 0 for an empty log."""
        with self._database.statements() as connection:
            row = connection.execute(_HEAD).fetchone()
        return (row[0] if row else 0) or 0

    def read(self, after: int, limit: int) -> Sequence[Recorded]:
        """Facts after a position, oldest first, joined with their particulars."""
        return self._joined(self._facts(_READ, (after, limit)))

    def read_wanted(self, after: int, limit: int, wanted: Collection[str]) -> Batch:
        """The facts with the ``wanted`` names among the next ``limit`` after a position, joined with their particulars.

        The others are passed over unread; a name that this program does not know is never passed over.
        """
        rows = self._rows(_READ_WANTED, (list(self._codec.names - set(wanted)), after, limit))
        facts = self._joined(self._recorded(row for row in rows if row[4] is not None))
        return Batch(facts, len(rows), rows[-1][0] if rows else after)

    def stream(self, kind: str, key: str, after: int = 0) -> Sequence[Recorded]:
        """The facts of one stream after a version, oldest first, joined with their particulars."""
        return self._joined(self._facts(_STREAM, (stream_id(kind, key), after)))

    def particulars_for(self, content: Mapping[str, Mapping[str, Any]]) -> Particulars:
        """The row for this content, the same one again while it is remembered."""
        return self._memory.particulars_for(content)

    def particulars(self, ids: Sequence[UUID]) -> Mapping[UUID, Particulars]:
        """Rows that still exist, by id."""
        with self._database.connection() as connection:
            rows = connection.execute(_PARTICULARS, (list(ids),)).fetchall()
        return {row_id: Particulars(row_id, digest, orjson.loads(content)) for row_id, digest, content in rows}

    def _stored(self, stream: UUID, version: int, events: Sequence[Event], envelope: Envelope) -> list[StoredEvent]:
        return [
            StoredEvent(stream, version + number, event.NAME, self._codec.encode(event, envelope))
            for number, event in enumerate(events, 1)
        ]

    def _facts(self, statement: str, parameters: tuple[Any, ...]) -> list[Recorded]:
        return self._recorded(self._rows(statement, parameters))

    def _rows(self, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            return cursor.execute(statement.encode(), parameters).fetchall()

    def _recorded(self, rows: Iterable[tuple[Any, ...]]) -> list[Recorded]:
        decode = self._codec.decode
        return [
            Recorded(position, stream, version, *decode(topic, state))
            for position, stream, version, topic, state in rows
        ]

    def _joined(self, facts: list[Recorded]) -> list[Recorded]:
        ids = {named for fact in facts if (named := getattr(fact.event, "particulars", ""))}
        if not ids:
            return facts
        known = {str(row_id): row for row_id, row in self.particulars([UUID(named) for named in ids]).items()}
        return [
            Recorded(
                fact.position,
                fact.stream,
                fact.version,
                fact.event,
                fact.envelope,
                known.get(getattr(fact.event, "particulars", "")),
            )
            for fact in facts
        ]


class _Memory:
    """The rows of particulars that this writer has made lately, and which of them are durable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_content: OrderedDict[bytes, Particulars] = OrderedDict()
        self._pending: dict[UUID, ParticularsRow] = {}
        self._canonicals: dict[int, tuple[Mapping[str, Any], bytes, bytes]] = {}

    def particulars_for(self, content: Mapping[str, Mapping[str, Any]]) -> Particulars:
        canonical, key = self._canonical(content)
        with self._lock:
            if known := self._by_content.get(key):
                self._by_content.move_to_end(key)
                return known
            salt = os.urandom(16)
            row = ParticularsRow(
                uuid4(), _patient_key(content), salt, hashlib.sha256(salt + canonical).hexdigest(), canonical.decode()
            )
            made = Particulars(row.id, row.digest, content)
            self._by_content[key] = made
            self._pending[row.id] = row
            if len(self._by_content) > _REMEMBERED_MAX:
                _, forgotten = self._by_content.popitem(last=False)
                self._pending.pop(forgotten.id, None)
            return made

    def _canonical(self, content: Mapping[str, Mapping[str, Any]]) -> tuple[bytes, bytes]:
        """The canonical bytes and their digest; what comes again as the same object is not looked through again."""
        known = self._canonicals.get(id(content))
        if known is None:
            canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
            if len(self._canonicals) >= _CANONICALS_MAX:
                self._canonicals.clear()
            # With the object itself, so that its id is not another's later.
            known = self._canonicals[id(content)] = (content, canonical, hashlib.sha256(canonical).digest())
        return known[1], known[2]

    def rows_to_write(self, particulars: Sequence[Particulars]) -> tuple[ParticularsRow, ...]:
        with self._lock:
            return tuple(row for one in particulars if (row := self._pending.get(one.id)))

    def written(self, rows: Sequence[ParticularsRow]) -> None:
        with self._lock:
            for row in rows:
                self._pending.pop(row.id, None)


def _patient_key(content: Mapping[str, Mapping[str, Any]]) -> UUID:
    patient = content.get("patient", {})
    parts = [str((patient.get(tag, {}).get("Value") or [""])[0]) for tag in ("00100021", "00100020")]
    return uuid5(_PATIENTS, "\x1f".join(parts))
