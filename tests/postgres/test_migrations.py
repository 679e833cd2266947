"""Migrations run once whoever begins, leave nothing half done, and refuse what they cannot know (F48)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from adapters.postgres import database
from adapters.postgres.database import PatientConnection
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import check_durability, migrate
from domain.errors import Unavailable
from tests.conftest import MIGRATIONS, fresh_database

_MIGRATE = "import sys; from pathlib import Path; from adapters.postgres.migrate import migrate; "


@pytest.fixture
def bare(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A database without any migration."""
    name = f"bare_{time.monotonic_ns()}"
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        yield postgres_server.dsn(name)
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT schemaname || '.' || tablename FROM pg_tables").fetchall()
    return {row[0] for row in rows if not row[0].startswith(("pg_catalog.", "information_schema."))}


def test_four_processes_that_begin_at_once_apply_each_migration_once(bare: str) -> None:
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                _MIGRATE + "print(len(migrate(sys.argv[1], Path(sys.argv[2]))))",
                bare,
                str(MIGRATIONS),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    applied = [int(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert sorted(applied) == [0, 0, 0, len(list(MIGRATIONS.glob("*.sql")))]
    assert migrate(bare, MIGRATIONS) == []


def test_F48_a_migration_that_fails_leaves_nothing_and_can_be_run_again(bare: str, tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE one (id int);")
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE two (id int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(bare, tmp_path)
    assert tables(bare) == {"public.migration", "public.one"}
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE two (id int);")
    assert migrate(bare, tmp_path) == ["0002_second.sql"]


def test_F48_a_killed_migration_leaves_nothing(bare: str, tmp_path: Path) -> None:
    (tmp_path / "0001_slow.sql").write_text("CREATE TABLE one (id int); SELECT pg_sleep(60);")
    with subprocess.Popen(
        [sys.executable, "-c", _MIGRATE + "migrate(sys.argv[1], Path(sys.argv[2]))", bare, str(tmp_path)]
    ) as process:
        deadline = time.monotonic() + 60
        while not _sleeps(bare):
            assert time.monotonic() < deadline
        process.kill()
    with psycopg.connect(bare, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    (tmp_path / "0001_slow.sql").write_text("CREATE TABLE one (id int);")
    assert migrate(bare, tmp_path) == ["0001_slow.sql"]


def _sleeps(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()
    return bool(row and row[0])


def test_F48_a_newer_database_and_a_changed_file_are_refused_with_what_to_do(dsn: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="use a newer Annals"):
        migrate(dsn, tmp_path)
    for path in MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text() + "-- changed\n")
    with pytest.raises(Unavailable, match="restore the released file"):
        migrate(dsn, tmp_path)


@pytest.mark.parametrize("setting", ["synchronous_commit = off"])
def test_a_database_that_forgets_is_refused(postgres_server: EmbeddedPostgres, setting: str) -> None:
    with fresh_database(postgres_server) as dsn:
        check_durability(dsn)
        name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
        with pytest.raises(Unavailable, match=setting.partition(" ")[0]):
            check_durability(dsn)


def test_CLI_3_a_text_that_is_no_dsn_is_an_error_that_says_what_to_do_and_repeats_nothing_of_it() -> None:
    for begin in (lambda: migrate("password secret", MIGRATIONS), lambda: check_durability("password secret")):
        with pytest.raises(Unavailable, match="write it like") as raised:
            begin()
        assert "secret" not in str(raised.value)


def test_CLI_3_an_account_without_the_right_is_told_which_it_needs(bare: str) -> None:
    role = f"weak_{time.monotonic_ns()}"
    with psycopg.connect(bare, autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {}").format(Identifier(role)))
        with pytest.raises(Unavailable, match="make it the owner"):
            migrate(psycopg.conninfo.make_conninfo(bare, options=f"-c role={role}"), MIGRATIONS)
        connection.execute(SQL("DROP ROLE {}").format(Identifier(role)))


def test_a_database_that_does_not_keep_unicode_is_refused(postgres_server: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        with pytest.raises(Unavailable, match="ENCODING 'UTF8'"):
            migrate(postgres_server.dsn("ascii"), MIGRATIONS)
        connection.execute("DROP DATABASE ascii WITH (FORCE)")


def test_CLI_3_a_database_that_does_not_answer_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(Unavailable, match="mend"):
        migrate("host=127.0.0.1 port=1 dbname=none connect_timeout=2", MIGRATIONS)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("connect", [check_durability, PatientConnection.connect])
def test_F19_CLI_3_a_machine_that_takes_a_connection_and_says_nothing_is_given_up(
    connect: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_CONNECT_SECONDS", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises((Unavailable, psycopg.OperationalError), match="timeout expired"):
            connect(f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=none")
