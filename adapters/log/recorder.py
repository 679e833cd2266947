"""The library's PostgreSQL recorder, with our lock, our time-outs and the particulars in its transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import OperationalError, PersistenceError, StoredEvent
from eventsourcing.postgres import ConnectionPool, PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Identifier

from adapters.postgres.database import PatientConnection, alive
from domain.errors import Unavailable
from domain.limits import Limits

SCHEMA = "log"
TABLE = "event"
CHANNEL = "event"
WRITER_LOCK = 0x416E6E6C
"""The advisory lock of the one writer at a time, over all processes: positions rise in commit order."""

_LOCKED = "WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock({lock})) "
_INSERT_ONE = (
    "INSERT INTO {schema}.{table} (originator_id, originator_version, topic, state) "
    "SELECT %b::uuid, %b::bigint, %b::text, %b::bytea FROM locked RETURNING notification_id"
)
_INSERT_SEVERAL = (
    "INSERT INTO {schema}.{table} (originator_id, originator_version, topic, state) SELECT fact.* FROM locked, "
    "unnest(%b::uuid[], %b::bigint[], %b::text[], %b::bytea[]) AS fact RETURNING notification_id"
)
_PARTICULARS = (
    ", particulars AS (INSERT INTO log.particulars (id, patient_key, salt, digest, content) "
    "SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::bytea[], %b::text[], %b::jsonb[]) ON CONFLICT (id) DO NOTHING) "
)


_FACT = attrgetter("originator_id", "originator_version", "topic", "state")
_ROW = attrgetter("id", "patient_key", "salt", "digest", "content")


@dataclass(frozen=True, slots=True)
class ParticularsRow:
    """A row of ``log.particulars``; ``content`` is JSON text."""

    id: UUID
    patient_key: UUID
    salt: bytes
    digest: str
    content: str


class Datastore(PostgresDatastore):
    """The library's datastore over any DSN, on connections whose waits end."""

    def __init__(self, dsn: str, limits: Limits, *, schema: str = SCHEMA, size: int = 2) -> None:
        super().__init__("", "", "", "", "", schema=schema, lock_timeout=int(limits.lock_timeout_seconds))
        configure = self.after_connect_func()

        def after_connect(connection: psycopg.Connection[Any]) -> None:
            configure(connection)
            assert isinstance(connection, PatientConnection)
            connection.patience_seconds = limits.database_timeout_seconds + limits.lock_timeout_seconds
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false), set_config('lock_timeout', %s, false)",
                (f"{max(1, int(limits.lock_timeout_seconds))}s",),
            )

        self.pool = ConnectionPool(
            connection_class=PatientConnection,
            kwargs={**conninfo_to_dict(dsn), "row_factory": dict_row},
            min_size=1,
            max_size=size,
            open=False,
            configure=after_connect,
            check=_look,
            timeout=limits.database_timeout_seconds,
            reconnect_timeout=5.0,
        )


class Recorder(PostgresApplicationRecorder):
    """Inserts are serialised by an advisory lock: the default table lock waits behind VACUUM and CREATE INDEX."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = TABLE) -> None:
        if datastore.enable_db_functions:
            # With them the library inserts without the lock, and readers lose facts (reliability 0.4).
            raise OperationalError("POSTGRES_ENABLE_DB_FUNCTIONS must stay off")
        try:
            super().__init__(datastore, events_table_name=events_table_name)
        except PersistenceError as error:
            # It asks the database for its types.
            datastore.close()
            raise Unavailable("the database does not answer") from error
        self.lock_table_statements: list[Any] = [
            SQL("SET LOCAL lock_timeout = '{0}s'").format(max(1, datastore.lock_timeout)),
            SQL("SELECT pg_advisory_xact_lock({0})").format(WRITER_LOCK),
        ]
        names = {
            "lock": SQL(str(WRITER_LOCK)),
            "schema": Identifier(datastore.schema),
            "table": Identifier(events_table_name),
        }
        self._inserting = threading.Lock()
        self._lent: AbstractContextManager[psycopg.Connection[Any]] | None = None
        self._cursor: psycopg.Cursor[tuple[Any, ...]] | None = None
        self._announce = SQL("NOTIFY {}").format(Identifier(self.channel_name))
        self._insert_one, self._insert_several, self._insert_both = (
            SQL(_LOCKED + statement).format(**names).as_string().encode()
            for statement in (_INSERT_ONE, _INSERT_SEVERAL, _PARTICULARS + _INSERT_SEVERAL)
        )

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Append with ``particulars=`` rows in one statement, which is its own transaction: one round trip.

        Nobody who listens is told: the caller does it, by :meth:`announce`.

        One try, since a lost answer is settled by the caller. Not the library's pipeline: psycopg's stands still for
        ever on a statement of some megabytes. Raises the library's ``IntegrityError`` on a conflict,
        ``OperationalError`` or ``InterfaceError`` when the database is away; whether the facts were committed then is
        unknown.
        """
        if not stored_events:
            return ()
        rows: Sequence[ParticularsRow] = kwargs.get("particulars", ())
        if len(stored_events) == 1 and not rows:
            # By far the most frequent, and arrays cost the driver ten times as much.
            statement, parameters = self._insert_one, _FACT(stored_events[0])
        elif rows:
            statement, parameters = self._insert_both, (*_columns(_ROW, rows), *_columns(_FACT, stored_events))
        else:
            statement, parameters = self._insert_several, _columns(_FACT, stored_events)
        with self._inserting:
            cursor = self._own_cursor()
            try:
                cursor.execute(statement, parameters, prepare=True)
                return [position for (position,) in cursor.fetchall()]
            except psycopg.Error as error:
                # The library's context takes the connection back, and says it with the library's errors. No ExitStack:
                # its frame and the error would keep each other, and the caller's open object.
                lent, self._lent, self._cursor = self._lent, None, None
                if lent:
                    lent.__exit__(type(error), error, error.__traceback__)
                raise

    def let_go(self) -> None:
        """Give the connection back that inserts keep; the next one takes another."""
        lent, self._lent, self._cursor = self._lent, None, None
        if lent:
            lent.__exit__(None, None, None)

    @contextmanager
    def in_haste(self, seconds: float) -> Iterator[psycopg.Cursor[Any]]:
        """A transaction on a connection that is had, and answers each statement, within so many seconds or not at all.

        Raises psycopg's errors, ``PoolTimeout`` among them.
        """
        with self.datastore.pool.connection(timeout=seconds) as connection:
            assert isinstance(connection, PatientConnection)
            patience, connection.patience_seconds = connection.patience_seconds, seconds
            try:
                with connection.transaction(), connection.cursor() as cursor:
                    yield cursor
            finally:
                connection.patience_seconds = patience

    def announce(self) -> None:
        """Tell those who listen that there are new facts."""
        with self.datastore.get_connection() as connection:
            connection.execute(self._announce)

    def _own_cursor(self) -> psycopg.Cursor[tuple[Any, ...]]:
        """On a connection that is kept: to take one from the pool each time costs a tenth of an append."""
        cursor = self._cursor or self._borrowed()
        if alive(cursor.connection):
            return cursor
        # A connection that died while it was not used is not the caller's concern.
        self.let_go()
        return self._borrowed()

    def _borrowed(self) -> psycopg.Cursor[tuple[Any, ...]]:
        lent = self.datastore.get_connection()
        cursor = lent.__enter__().cursor(row_factory=tuple_row)
        self._lent, self._cursor = lent, cursor
        return cursor


def _look(connection: psycopg.Connection[Any]) -> None:
    """Let the pool give none that died while it lay there."""
    if not alive(connection):
        connection.close()
        raise psycopg.OperationalError("the server has closed the connection")


def _columns(of: Callable[[Any], tuple[Any, ...]], rows: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(map(list, zip(*map(of, rows), strict=True)))
