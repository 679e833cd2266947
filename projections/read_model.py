"""A read model as its askers see it: the tables that serve, as far as they were acknowledged (P6)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from psycopg.sql import SQL, Identifier

from domain.errors import InvalidInput
from domain.limits import Limits

_LOG = logging.getLogger("annals.reading")
HURRY = "hurry"
"""The channel on which an asker tells the readers that it waits for what they have not read."""

ACTIVE = "SELECT schema_name, position, version FROM reading.projection WHERE name = %s AND active"
"""Schema, position and version of the tables that serve, by the projection's name."""

_NOTIFY = SQL("NOTIFY {}").format(Identifier(HURRY))
_POLL_FIRST_SECONDS = 0.002
_POLL_MAX_SECONDS = 0.02
_USE_ACTIVE = (
    "SELECT position, set_config('search_path', schema_name, true) FROM reading.projection WHERE name = %s AND active"
)
_PARKED = "SELECT count(*) FROM reading.parked JOIN reading.projection USING (schema_name) WHERE name = %s AND active"


class Connections(Protocol):
    """Where connections come from; one transaction each."""

    def connection(self) -> AbstractContextManager[Any]:
        """A connection, committed at the end."""
        ...


class Head(Protocol):
    """Where the log ends."""

    def head(self) -> int:
        """The newest position."""
        ...


class ReadModel:
    """A projection as its askers see it."""

    def __init__(self, name: str, database: Connections, log: Head, limits: Limits) -> None:
        self.name = name
        self._database = database
        self._log = log
        self._limits = limits

    def position(self) -> int:
        """How far it has read."""
        with self._database.connection() as connection:
            row = connection.execute(ACTIVE, (self.name,)).fetchone()
        return row[1] if row else 0

    def parked(self) -> int:
        """How many facts it could not take."""
        with self._database.connection() as connection:
            return int(connection.execute(_PARKED, (self.name,)).fetchone()[0])

    def wait_for(self, position: int) -> bool:
        """Wait, bounded, until it has read up to a position: what was acknowledged before is seen (P6)."""
        if self.position() >= position:
            return True
        with self._database.connection() as connection:
            connection.execute(_NOTIFY)
        deadline = time.monotonic() + self._limits.read_lag_wait_seconds
        pause = _POLL_FIRST_SECONDS
        while (at := self.position()) < position:
            if time.monotonic() > deadline:
                _LOG.warning("%s lags: at %d, the log is at %d", self.name, at, position)
                return False
            time.sleep(pause)
            pause = min(pause * 2, _POLL_MAX_SECONDS)
        return True

    @contextmanager
    def current(self) -> Iterator[Any]:
        """A connection that sees the tables, after everything in the log now was read (bounded)."""
        head = self._log.head()
        with self._database.connection() as connection:
            if self._use(connection) >= head:
                yield connection
                return
        self.wait_for(head)
        with self.now() as connection:
            yield connection

    @contextmanager
    def now(self) -> Iterator[Any]:
        """A connection that sees the tables as they are."""
        with self._database.connection() as connection:
            self._use(connection)
            yield connection

    def _use(self, connection: Any) -> int:
        """Let this transaction see the tables; the position they are at, or a later one of what it sees next."""
        row = connection.execute(_USE_ACTIVE, (self.name,)).fetchone()
        if row is None:
            raise InvalidInput([f"{self.name}: this read model does not exist yet: start a reader"])
        return int(row[0])


def use(connection: Any, schema: str) -> None:
    """Let this transaction see one projection's tables."""
    connection.execute("SELECT set_config('search_path', %s, true)", (schema,))
