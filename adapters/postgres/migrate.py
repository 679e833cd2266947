"""Migrations: numbered plain SQL files, each applied once, under an advisory lock."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from adapters.postgres.database import in_time
from domain.errors import Unavailable

_LOCK = 0x416E6E616C73
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql\Z")
_TABLE = """
CREATE TABLE IF NOT EXISTS public.migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the migrations folder."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, by which a changed file is noticed."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrate(dsn: str, folder: Path) -> list[str]:
    """Bring the database to the folder's newest migration and return the names of those applied now.

    Each runs in one transaction, so an interrupted one leaves nothing (F48). Raises :class:`Unavailable`, which says
    what to do, when the database does not answer, lacks a right or keeps other text than UTF-8, when it is newer than
    this program, or when a file was changed after it was applied.
    """
    migrations = [
        Migration(int(found[1]), path.name, path.read_text("utf-8"))
        for path in sorted(folder.iterdir())
        if (found := _NAME.match(path.name))
    ]
    applied: list[str] = []
    try:
        with _connect(dsn) as connection:
            _refuse_encoding(connection)
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            connection.execute(_TABLE)
            known = {
                number: (name, checksum)
                for number, name, checksum in connection.execute("SELECT number, name, checksum FROM public.migration")
            }
            _refuse_strangers(known, migrations)
            for migration in migrations:
                if migration.number not in known:
                    _apply(connection, migration)
                    applied.append(migration.name)
    except psycopg.OperationalError as error:
        raise Unavailable(
            f"the database does not answer ({_first_line(error)}): start it, or mend [database] dsn"
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise Unavailable(
            f"the database account lacks a right ({_first_line(error)}): make it the owner of its database"
        ) from None
    return applied


def check_durability(dsn: str) -> None:
    """Refuse a database that may forget what it has committed. Raises :class:`Unavailable`."""
    try:
        with _connect(dsn) as connection:
            off = [name for name in _DURABLE if _setting(connection, name) == "off"]
    except psycopg.OperationalError as error:
        raise Unavailable(f"the database does not answer ({_first_line(error)}): start it") from None
    if off:
        raise Unavailable(f"the database would lose acknowledged objects in a power cut: turn on {', '.join(off)}")


def connections_max(dsn: str) -> int:
    """How many connections the database takes."""
    with _connect(dsn) as connection:
        return int(str(_setting(connection, "max_connections")))


def _connect(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    try:
        return psycopg.connect(dsn, **in_time(dsn, {"autocommit": True}))
    except psycopg.ProgrammingError:
        # The library's own words may repeat a password.
        raise Unavailable(
            "[database] dsn is no connection string: write it like 'host=db.example dbname=annals user=annals'"
        ) from None


def _setting(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> object:
    row = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
    return row[0] if row else None


def _refuse_encoding(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    if (encoding := _setting(connection, "server_encoding")) != "UTF8":
        raise Unavailable(f"the database keeps text as {encoding}: make one WITH ENCODING 'UTF8' TEMPLATE template0")


def _refuse_strangers(known: dict[int, tuple[str, str]], migrations: list[Migration]) -> None:
    ours = {migration.number: migration for migration in migrations}
    for number, (name, checksum) in known.items():
        if number not in ours:
            raise Unavailable(
                f"the database has migration {name}, which this program does not know: use a newer Annals"
            )
        if ours[number].checksum != checksum:
            raise Unavailable(f"migration {name} was changed after it had been applied: restore the released file")


def _apply(connection: psycopg.Connection[tuple[Any, ...]], migration: Migration) -> None:
    with connection.transaction():
        connection.execute(migration.text.encode())
        connection.execute(
            "INSERT INTO public.migration (number, name, checksum) VALUES (%s, %s, %s)",
            (migration.number, migration.name, migration.checksum),
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
