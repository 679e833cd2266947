"""The reader: facts become rows; position and rows move in one transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import psycopg
from psycopg.sql import SQL, Identifier

from domain.errors import InvalidInput, Unavailable
from domain.event import Batch, Event, Recorded
from domain.limits import Limits
from projections.read_model import ACTIVE, Connections, use

_LOG = logging.getLogger("annals.reading")
_ASKERS_POLL_SECONDS = 0.02
_CLAIM = "SELECT position FROM reading.projection WHERE schema_name = %s FOR UPDATE SKIP LOCKED"
_MOVE = "UPDATE reading.projection SET position = %s WHERE schema_name = %s"
_PARK = (
    "INSERT INTO reading.parked (schema_name, position, error) VALUES (%s, %s, %s) "
    "ON CONFLICT (schema_name, position) DO UPDATE SET error = excluded.error"
)
_FORGET = "DELETE FROM reading.projection WHERE schema_name = %s AND NOT active"
_REGISTER = "INSERT INTO reading.projection (name, schema_name, version) VALUES (%s, %s, %s)"
_OTHERS = "SELECT schema_name FROM reading.projection WHERE name = %s AND schema_name <> %s"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext(%s))"
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
_REGISTERED = "SELECT 1 FROM reading.projection WHERE schema_name = %s"
_ASKERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
    "AND pid <> pg_backend_pid() AND xact_start < %s"
)
_RELAXED = "SELECT set_config('synchronous_commit', 'off', true)"

_CANNOT_TAKE = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    InvalidInput,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a projection's function raises over a fact; all else is the database's or ours, and the fact is read again."""

Apply = Callable[[Any, Sequence[Recorded]], None]
_Read = Callable[[int], Batch]


class Reading(Protocol):
    """The log as a reader sees it."""

    def read_wanted(self, after: int, limit: int, wanted: Collection[str]) -> Batch:
        """The facts with these names among the next ``limit`` after a position."""
        ...


@dataclass(frozen=True, slots=True)
class Projection:
    """A read model: its tables, and one function for each kind of fact that takes a run of them."""

    name: str
    version: int
    tables: str
    apply: Mapping[type[Event], Apply]


class Reader:
    """Keeps one projection up to the log. On whichever node it runs, only one at a time moves it."""

    def __init__(self, projection: Projection, database: Connections, log: Reading, limits: Limits) -> None:
        self._projection = projection
        self._wanted = frozenset(kind.NAME for kind in projection.apply)
        self._database = database
        self._log = log
        self._limits = limits
        self._told_of_another = False

    def prepare(self) -> None:
        """Make the tables where they are missing; a newer version is built beside the old one, then switched."""
        with self._database.connection() as connection:
            active = connection.execute(ACTIVE, (self._projection.name,)).fetchone()
        if active is None:
            self._switch(self._make())
        elif active[2] != self._projection.version:
            self.rebuild()

    def step(self) -> int:
        """Take one batch; returns how many facts were read (0: nothing new, or another reader has it)."""
        with self._database.connection() as connection:
            active = connection.execute(ACTIVE, (self._projection.name,)).fetchone()
        if active is None or self._is_of_another_version(active[2]):
            return 0
        return self._step(active[0], self._read)

    def _is_of_another_version(self, version: int) -> bool:
        """Whether a newer program, or an older, has made the tables that serve meanwhile; told once."""
        is_other = version != self._projection.version
        if is_other and not self._told_of_another:
            said = "projection %s serves another version's tables (%d, not %d): restart all processes of the archive"
            _LOG.error(said, self._projection.name, version, self._projection.version)
        self._told_of_another = is_other
        return is_other

    def rebuild(self) -> int:
        """Fill a fresh schema from the whole log while the old one serves, then switch; returns the facts read."""
        schema = self._make()
        read = 0
        with ThreadPoolExecutor(1, "reading") as pool:
            ahead = _Ahead(self._read, pool)
            while taken := self._step(schema, ahead):
                read += taken
        self._analyze(schema)
        self._switch(schema)
        return read

    def _read(self, after: int) -> Batch:
        return self._log.read_wanted(after, self._limits.projection_batch_max, self._wanted)

    def _step(self, schema: str, read: _Read) -> int:
        try:
            return self._take(schema, self._apply_all, read)
        except _CANNOT_TAKE:
            _LOG.exception("projection %s met a fact that it cannot take", self._projection.name)
            return self._take(schema, self._apply_or_park, read)

    def _take(self, schema: str, apply: Callable[[Any, str, Sequence[Recorded]], None], read: _Read) -> int:
        with self._database.connection() as connection:
            row = connection.execute(_CLAIM, (schema,)).fetchone()
            if row is None:
                return 0
            batch = read(row[0])
            if batch.count:
                # Position and rows are lost together in a power cut, and read again: no need to wait for the disk.
                connection.execute(_RELAXED)
                if batch.facts:
                    use(connection, schema)
                    apply(connection, schema, batch.facts)
                connection.execute(_MOVE, (batch.position, schema))
            return batch.count

    def _apply_all(self, connection: Any, _schema: str, facts: Sequence[Recorded]) -> None:
        for kind, run in groupby(facts, key=lambda recorded: type(recorded.event)):
            if function := self._projection.apply.get(kind):
                function(connection, list(run))

    def _apply_or_park(self, connection: Any, schema: str, facts: Sequence[Recorded]) -> None:
        for fact in facts:
            function = self._projection.apply.get(type(fact.event))
            if function is None:
                continue
            try:
                with connection.transaction():
                    function(connection, [fact])
            except _CANNOT_TAKE as error:
                connection.execute(_PARK, (schema, fact.position, type(error).__name__))

    def _make(self) -> str:
        projection = self._projection
        schema = f"{projection.name}_{projection.version}_{time.time_ns():x}"
        with self._database.connection() as connection:
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
            use(connection, schema)
            connection.execute(projection.tables.encode())
            connection.execute(_REGISTER, (projection.name, schema, projection.version))
        return schema

    def _analyze(self, schema: str) -> None:
        """Let the planner know the new tables before the first question reaches them."""
        with self._database.connection() as connection:
            for (table,) in connection.execute(_TABLES, (schema,)).fetchall():
                connection.execute(SQL("ANALYZE {}").format(Identifier(schema, table)))

    def _switch(self, schema: str) -> None:
        """Let the schema serve and drop the others, unless another's that was ready first has dropped this one."""
        name = self._projection.name
        with self._database.connection() as connection:
            connection.execute(_LOCK, (f"annals {name}",))
            if connection.execute(_REGISTERED, (schema,)).fetchone() is None:
                _LOG.warning("projection %s was built by another at the same time: that one serves", name)
                return
            others = [row[0] for row in connection.execute(_OTHERS, (name, schema)).fetchall()]
            connection.execute("UPDATE reading.projection SET active = false WHERE name = %s AND active", (name,))
            connection.execute("UPDATE reading.projection SET active = true WHERE schema_name = %s", (schema,))
        if others:
            self._wait_for_askers()
        for other in others:
            self._drop(other)

    def _drop(self, schema: str) -> None:
        try:
            with self._database.connection() as connection:
                # Another that was switched to in between is no longer ours to drop.
                if connection.execute(_FORGET, (schema,)).rowcount:
                    connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))
        except Unavailable as error:
            _LOG.warning("the old tables %s stay until the next rebuild: %s", schema, error)

    def _wait_for_askers(self) -> None:
        """Who began to ask before the switch still sees the old tables; bounded as every question is."""
        with self._database.connection() as connection:
            switched = connection.execute("SELECT now()").fetchone()[0]
        deadline = time.monotonic() + self._limits.query_timeout_seconds
        while time.monotonic() < deadline:
            with self._database.connection() as connection:
                if not connection.execute(_ASKERS, (switched,)).fetchone()[0]:
                    return
            time.sleep(_ASKERS_POLL_SECONDS)


class _Ahead:
    """Reads the next batch of the log while the last one is written."""

    def __init__(self, read: _Read, pool: ThreadPoolExecutor) -> None:
        self._read = read
        self._pool = pool
        self._after = -1
        self._next: Future[Batch] | None = None

    def __call__(self, after: int) -> Batch:
        batch = self._next.result() if self._next and self._after == after else self._read(after)
        if batch.count:
            self._after = batch.position
            self._next = self._pool.submit(self._read, self._after)
        return batch
