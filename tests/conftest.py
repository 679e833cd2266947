"""Real PostgreSQL for every test that asks for it: one server a test process, one fresh database a test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import migrate

MIGRATIONS = Path(__file__).parent.parent / "migrations"
_TEMPLATE = "migrated"
_numbers = count(1)


@contextmanager
def folder_that_others_enter() -> Iterator[Path]:
    """A fresh folder for a data folder: PostgreSQL runs as another account than root, which pytest's are closed to."""
    folder = Path(tempfile.mkdtemp(prefix="annals-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The embedded server in a folder of its own, with a migrated database as template."""
    with folder_that_others_enter() as folder:
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(_TEMPLATE)))
        migrate(server.dsn(_TEMPLATE), MIGRATIONS)
        yield server
        server.stop()


@contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[str]:
    """A fresh migrated database, dropped at the end."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(_TEMPLATE)))
    yield server.dsn(name)
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def dsn(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A fresh migrated database, dropped after the test."""
    with fresh_database(postgres_server) as name:
        yield name
