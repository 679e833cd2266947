"""Connections to a database that dies, freezes or is full: every wait ends, and it recovers by itself (P12)."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

from adapters.log.log import EventLog
from adapters.postgres.database import Database, PatientConnection
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import migrate
from annals.compose import FACTS
from domain.association import AssociationAborted, abort
from domain.errors import Unavailable
from domain.event import Actor
from domain.limits import Limits
from tests.conftest import MIGRATIONS, folder_that_others_enter
from tests.durability import machine

LIMITS = Limits(database_timeout_seconds=1.0, lock_timeout_seconds=1.0, query_timeout_seconds=1.0)


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that these tests may break."""
    with folder_that_others_enter() as folder:
        server = EmbeddedPostgres(folder / "postgres", settings={"max_connections": "12"})
        server.start()
        migrate(server.dsn(), MIGRATIONS)
        yield server
        server.check()
        server.stop()


@pytest.fixture
def server(own_server: EmbeddedPostgres) -> EmbeddedPostgres:
    own_server.check()
    return own_server


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[Database]:
    opened = Database(server.dsn(), LIMITS, size=3)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def log(server: EmbeddedPostgres) -> Iterator[EventLog]:
    opened = EventLog(server.dsn(), FACTS, LIMITS)
    opened.open()
    yield opened
    opened.close()


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text("ascii").split("\n")[0])


def frozen(server: EmbeddedPostgres) -> AbstractContextManager[None]:
    """A server that neither answers nor goes away."""
    return machine.frozen(machine.inside(server.folder))


def ask(database: Database) -> bool:
    with database.connection() as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def note(log: EventLog, key: str) -> None:
    log.change("peer", key, abort, AssociationAborted(key, "A", 0, 0, ""), by=Actor("system", "t"))


def works(action: Callable[[], object]) -> bool:
    try:
        action()
    except Unavailable:
        return False
    return True


def until(condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_P12_a_database_that_is_killed_is_unavailable_and_what_was_acknowledged_is_there_when_it_is_back(
    server: EmbeddedPostgres, database: Database, log: EventLog
) -> None:
    note(log, "killed/before")
    assert ask(database)
    os.kill(postmaster(server), signal.SIGQUIT)
    until(lambda: not machine.inside(server.folder))
    for _ in range(2):
        with pytest.raises(Unavailable):
            ask(database)
    with pytest.raises(Unavailable):
        note(log, "killed/meanwhile")
    server.check()
    until(lambda: works(lambda: ask(database)))
    until(lambda: works(lambda: note(log, "killed/after")))
    assert len(log.stream("peer", "killed/before")) == 1
    assert log.stream("peer", "killed/meanwhile") == []


def test_F24_a_backend_killed_by_signal_9_takes_no_acknowledged_fact_with_it(
    server: EmbeddedPostgres, log: EventLog
) -> None:
    kept = [f"nine/{number}" for number in range(20)]
    for key in kept:
        note(log, key)
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("SELECT pid FROM pg_stat_activity WHERE query LIKE 'WITH locked%'").fetchone()
    assert row
    os.kill(row[0], signal.SIGKILL)
    until(lambda: works(lambda: note(log, f"nine/{time.monotonic_ns()}")))
    assert [len(log.stream("peer", key)) for key in kept] == [1] * len(kept)


def test_F21_a_frozen_database_is_unavailable_in_time_and_a_thawed_one_goes_on(
    server: EmbeddedPostgres, database: Database, log: EventLog
) -> None:
    note(log, "frozen/before")
    assert ask(database)
    with frozen(server):
        with pytest.raises(Unavailable):
            ask(database)
        with pytest.raises(Unavailable):
            note(log, "frozen/meanwhile")
    until(lambda: works(lambda: ask(database)))
    until(lambda: works(lambda: note(log, "frozen/after")))
    assert len(log.stream("peer", "frozen/meanwhile")) <= 1


def test_F21_what_was_given_up_while_it_was_frozen_takes_no_place_from_who_asks_after_it(
    server: EmbeddedPostgres,
) -> None:
    def give_up(_: int) -> None:
        with pytest.raises(psycopg.OperationalError):
            PatientConnection.connect(server.dsn(), connect_timeout=2)

    # A process at rest makes so little garbage that nobody looks for it.
    gc.disable()
    try:
        with frozen(server), ThreadPoolExecutor(24) as askers:
            list(askers.map(give_up, range(24)))
        database = Database(server.dsn(), LIMITS, size=3)
        database.open()
        try:
            until(lambda: works(lambda: ask(database)))
        finally:
            database.close()
    finally:
        gc.enable()
        gc.collect()


def test_F23_where_no_connection_is_left_it_is_unavailable_until_one_is(server: EmbeddedPostgres) -> None:
    taken: list[psycopg.Connection[Any]] = []
    try:
        while _takes_one_more(server.dsn(), taken):
            assert len(taken) < 100
        database = Database(server.dsn(), LIMITS, size=2)
        database.open()
        try:
            with pytest.raises(Unavailable):
                ask(database)
            for connection in taken:
                connection.close()
            until(lambda: works(lambda: ask(database)))
        finally:
            database.close()
    finally:
        for connection in taken:
            connection.close()


def _takes_one_more(dsn: str, taken: list[psycopg.Connection[Any]]) -> bool:
    try:
        taken.append(psycopg.connect(dsn))
    except psycopg.OperationalError:
        return False
    return True


def test_a_pool_whose_every_connection_is_lent_is_unavailable_and_then_lends_again(database: Database) -> None:
    with database.connection(), database.connection(), database.connection(), pytest.raises(Unavailable):
        ask(database)
    assert ask(database)


def test_D24_a_statement_that_takes_too_long_is_ended_in_the_server_too(
    server: EmbeddedPostgres, database: Database
) -> None:
    with pytest.raises(Unavailable), database.connection() as connection:
        connection.execute("SELECT pg_sleep(3600)")
    with psycopg.connect(server.dsn(), autocommit=True) as other:
        running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(3600)'"
        until(lambda: other.execute(running).fetchone() == (0,))
    assert ask(database)


def test_a_transaction_that_the_server_ended_for_idling_is_unavailable_and_the_next_works(
    server: EmbeddedPostgres, database: Database
) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as other:

        def is_there(pid: int) -> bool:
            return bool(other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchall())

        def idle() -> None:
            with database.connection() as connection:
                connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
                until(lambda: not is_there(connection.info.backend_pid))
                connection.execute("SELECT 1")

        with pytest.raises(Unavailable):
            idle()
    assert ask(database)


def test_a_connection_that_died_in_the_pool_is_not_its_next_users_concern(
    server: EmbeddedPostgres, database: Database
) -> None:
    for _ in range(5):
        assert ask(database)
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    assert ask(database)
