"""Connections that never hang: every wait has an end, and a database that is away is :class:`Unavailable`."""

from __future__ import annotations

import select
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from domain.errors import Unavailable
from domain.limits import Limits

_RV = TypeVar("_RV")
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
    errors.QueryCanceled,
    errors.LockNotAvailable,
    PoolTimeout,
)
_CONNECT_SECONDS = 5
_LOOKS_MAX = 4
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


def in_time(conninfo: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with an end to the attempt to connect, where nobody has set one: the library's is over two minutes.

    Raises psycopg's ``ProgrammingError`` where the text is no connection string.
    """
    is_set = "connect_timeout" in {**conninfo_to_dict(conninfo), **options}
    return dict(options) if is_set else {**options, "connect_timeout": _CONNECT_SECONDS}


class PatientConnection(psycopg.Connection[Any]):
    """A connection whose waits end after ``patience_seconds``: a frozen server does not freeze us (F21)."""

    patience_seconds: float = 5.0

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """As the library's, but what was begun is closed where it did not come to be."""
        try:
            return super().connect(conninfo, **in_time(conninfo, options))
        except psycopg.Error as error:
            # The error holds the frames that hold the socket, and the server gives a place to whoever holds one.
            traceback.clear_frames(error.__traceback__)
            raise

    def wait(self, gen: PQGen[_RV], interval: float = 0.1, timeout: float | None = None) -> _RV:
        """As the library's, with an end. A connection that was given up is closed, its answer is lost."""
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.patience_seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            if timeout is None and time.monotonic() - began >= self.patience_seconds:
                self.pgconn.finish()
            raise


class Database:
    """A pool of connections. Opened by :meth:`open`, not before."""

    def __init__(self, dsn: str, limits: Limits, *, size: int, patience_seconds: float | None = None) -> None:
        self._timeout = limits.database_timeout_seconds
        self._alone = threading.Lock()
        patience = patience_seconds or limits.database_timeout_seconds
        statement_timeout = int(max(limits.query_timeout_seconds, patience) * 1000)

        def configure(connection: PatientConnection) -> None:
            connection.patience_seconds = patience
            connection.execute(
                "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false), "
                "set_config('synchronous_commit', 'on', false)",
                (str(statement_timeout), str(int(limits.lock_timeout_seconds * 1000))),
            )
            connection.commit()

        self._pool: ConnectionPool[PatientConnection] = ConnectionPool(
            dsn,
            connection_class=PatientConnection,
            min_size=1,
            max_size=size,
            open=False,
            configure=configure,
            timeout=limits.database_timeout_seconds,
            reconnect_timeout=5.0,
            max_lifetime=3600.0,
        )

    def open(self) -> None:
        """Begin to connect."""
        self._pool.open()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[PatientConnection]:
        """One connection with one transaction, committed at the end. Raises :class:`Unavailable`."""
        try:
            with self._connected() as connection:
                yield connection
        except _AWAY as error:
            raise unavailable(error) from error

    @contextmanager
    def statements(self) -> Iterator[PatientConnection]:
        """One connection on which each statement is a transaction of its own. Raises :class:`Unavailable`."""
        with self.connection() as connection:
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = False

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Do something that only one process does at a time; others wait. Raises :class:`Unavailable`."""
        # In this process first: those who wait with a connection each would leave none to the one they wait for.
        if not self._alone.acquire(timeout=self._timeout):
            raise Unavailable(f"{what}: others are at it, try again")
        try:
            with self.connection() as connection:
                connection.execute(_ALONE, (f"annals {what}",))
                yield
        finally:
            self._alone.release()

    @contextmanager
    def _connected(self) -> Iterator[PatientConnection]:
        connection = self._pool.getconn(self._timeout)
        if not alive(connection):
            # A connection that died while it lay in the pool is not the caller's concern.
            connection.close()
            self._pool.putconn(connection)
            self._pool.check()
            connection = self._pool.getconn(self._timeout)
        try:
            with connection:
                yield connection
        finally:
            self._pool.putconn(connection)


def alive(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has not closed the connection; looks at the socket, asks nothing."""
    if connection.closed:
        return False
    readable = select.poll()
    try:
        readable.register(connection.fileno(), select.POLLIN)
        # The server's last words may be followed by the end, which only the next look sees.
        for _ in range(_LOOKS_MAX):
            if not readable.poll(0):
                break
            connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return not connection.closed and connection.pgconn.status == psycopg.pq.ConnStatus.OK


def unavailable(error: Exception) -> Unavailable:
    """What a caller is told of a database that is away; the server's own words stay in the log."""
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return Unavailable("the database is read-only")
    if isinstance(error, errors.LockNotAvailable):
        return Unavailable("the database is locked")
    if isinstance(error, errors.QueryCanceled):
        return Unavailable("the database took too long")
    return Unavailable("the database does not answer")
