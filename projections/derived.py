"""Derived data: made of the objects themselves, beside the log, and dropped at any time (decision 13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL, Identifier

from projections.read_model import Connections, use

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('annals derived'))"
_SCHEMAS = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE %s"
_IS_THERE = "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s"
_RELAXED = "SELECT set_config('synchronous_commit', 'off', true)"


@dataclass(frozen=True, slots=True)
class Derived:
    """One kind of derived data: its tables, in a schema of their own. Another version begins with empty ones."""

    kind: str
    version: int
    tables: str

    @property
    def schema(self) -> str:
        """Where the tables are."""
        return f"derived_{self.kind}_{self.version}"


class DerivedTables:
    """The tables of one kind, as its maker and its askers use them."""

    def __init__(self, derived: Derived, database: Connections) -> None:
        self.derived = derived
        self._database = database

    def are_missing(self, connection: Any) -> bool:
        """Whether they are to be made. No other process makes them until the end of the transaction."""
        connection.execute(_LOCK)
        return connection.execute(_IS_THERE, (self.derived.schema,)).fetchone() is None

    def make(self, connection: Any) -> None:
        """Let there be empty tables; those that there were are dropped, of other versions too.

        The rest of the transaction sees the new ones.
        """
        derived = self.derived
        connection.execute(_LOCK)
        for (schema,) in connection.execute(_SCHEMAS, (f"derived\\_{derived.kind}\\_%",)).fetchall():
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(derived.schema)))
        use(connection, derived.schema)
        connection.execute(derived.tables.encode())

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection that sees the tables. What is written may be lost in a power cut: it is made again."""
        with self._database.connection() as connection:
            connection.execute(_RELAXED)
            use(connection, self.derived.schema)
            yield connection
