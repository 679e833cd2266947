"""Migrations: numbered plain SQL files, each applied once, under an advisory lock."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from domain.errors import Unavailable

_LOCK = 0x416E6E616C73
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

    Each runs in one transaction, so an interrupted one leaves nothing (F48). Raises :class:`Unavailable` when the
    database is newer than this program or a file was changed after it was applied.
    """
    migrations = [
        Migration(int(found[1]), path.name, path.read_text("utf-8"))
        for path in sorted(folder.iterdir())
        if (found := _NAME.match(path.name))
    ]
    applied: list[str] = []
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
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
    return applied


def check_durability(dsn: str) -> None:
    """Refuse a database that may forget what it has committed."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        off = []
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            row = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
            if row is None or row[0] in ("off", "local" if name != "synchronous_commit" else "off"):
                off.append(name)
    if off:
        raise Unavailable(f"the database would lose acknowledged objects in a power cut: turn on {', '.join(off)}")


def _refuse_strangers(known: dict[int, tuple[str, str]], migrations: list[Migration]) -> None:
    ours = {migration.number: migration for migration in migrations}
    for number, (name, checksum) in known.items():
        if number not in ours:
            raise Unavailable(
                f"the database has migration {name}, which this program does not know: use a newer Annals"
            )
        if ours[number].checksum != checksum:
            raise Unavailable(f"migration {name} was changed after it had been applied: restore the released file")


def _apply(connection: psycopg.Connection[tuple[object, ...]], migration: Migration) -> None:
    with connection.transaction():
        connection.execute(migration.text.encode())
        connection.execute(
            "INSERT INTO public.migration (number, name, checksum) VALUES (%s, %s, %s)",
            (migration.number, migration.name, migration.checksum),
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
