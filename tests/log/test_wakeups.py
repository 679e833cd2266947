"""Waking up: who waits hears of a new fact, also after the listening connection was lost (F24)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from adapters.log.announcer import PACE_SECONDS, Announcer
from adapters.log.log import EventLog
from adapters.log.wakeups import Wakeups
from annals.compose import FACTS
from domain.association import AssociationAborted, abort
from domain.event import Actor
from domain.limits import Limits
from projections.read_model import HURRY

LONG = 60.0
OF_THIS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE"
LISTENERS, TELLERS = f"{OF_THIS} 'LISTEN%'", f"{OF_THIS} 'NOTIFY%'"


@pytest.fixture
def wakeups(dsn: str) -> Iterator[Wakeups]:
    opened = Wakeups(dsn)
    first = opened.seen()
    opened.open()
    opened.wait(first, LONG)
    yield opened
    opened.close()


@pytest.fixture
def log(dsn: str) -> Iterator[EventLog]:
    opened = EventLog(dsn, FACTS, Limits())
    opened.open()
    yield opened
    opened.close()


def note(log: EventLog, key: str) -> None:
    log.change("peer", key, abort, AssociationAborted(key, "A", 0, 0, ""), by=Actor("system", "t"))


def wakes(wait: Callable[[], None], act: Callable[[], object]) -> bool:
    """Whether a thread that waits goes on after the act, long before its time is over."""
    waiting = threading.Thread(target=wait)
    waiting.start()
    act()
    waiting.join(LONG / 2)
    return not waiting.is_alive()


def test_whoever_waits_hears_of_a_new_fact_and_of_one_that_came_since_the_mark(wakeups: Wakeups, log: EventLog) -> None:
    seen = wakeups.seen()
    assert wakes(lambda: wakeups.wait(seen, LONG), lambda: note(log, "A"))
    assert wakes(lambda: wakeups.wait(seen, LONG), lambda: None)


def test_a_rest_is_ended_by_who_is_in_a_hurry_and_not_by_a_fact(wakeups: Wakeups, log: EventLog, dsn: str) -> None:
    seen = wakeups.seen()
    note(log, "A")
    wakeups.wait(seen, LONG)
    assert wakeups.seen()[1] == seen[1]

    def hurry() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"NOTIFY {HURRY}".encode())

    assert wakes(lambda: wakeups.rest(seen, LONG), hurry)


def test_F24_a_listening_connection_that_is_killed_comes_back_and_whoever_waits_looks_again(
    wakeups: Wakeups, log: EventLog, dsn: str
) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        seen = wakeups.seen()
        assert wakes(
            lambda: wakeups.wait(seen, LONG),
            lambda: connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {LISTENERS}".encode()),
        )
        deadline = time.monotonic() + 60
        while not connection.execute(f"SELECT 1 {LISTENERS}".encode()).fetchall():
            assert time.monotonic() < deadline
    seen = wakeups.seen()
    assert wakes(lambda: wakeups.wait(seen, LONG), lambda: note(log, "B"))


def test_F24_who_waits_hears_of_the_next_fact_also_after_the_connection_that_tells_was_ended(
    wakeups: Wakeups, log: EventLog, dsn: str
) -> None:
    seen = wakeups.seen()
    note(log, "A")
    wakeups.wait(seen, LONG)
    with psycopg.connect(dsn, autocommit=True) as connection:
        ended = connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {TELLERS}".encode()).fetchall()
    assert ended == [(True,)]
    seen = wakeups.seen()
    assert wakes(lambda: wakeups.wait(seen, LONG), lambda: note(log, "B"))


def test_whoever_waits_is_let_go_at_the_end_also_while_the_database_is_away() -> None:
    away = Wakeups("host=127.0.0.1 port=1 connect_timeout=2")
    away.open()
    seen = away.seen()
    assert wakes(lambda: away.wait(seen, LONG), away.close)


def test_P15_who_listens_ends_at_once_though_nothing_is_told(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.log.wakeups._LISTEN_SECONDS", LONG)
    quiet = Wakeups(dsn)
    first = quiet.seen()
    quiet.open()
    quiet.wait(first, LONG)
    assert wakes(quiet.close, lambda: None)


def test_facts_that_follow_one_another_are_told_together_and_the_last_is_told_too(
    wakeups: Wakeups, log: EventLog
) -> None:
    before, began = wakeups.seen(), time.monotonic()
    for number in range(50):
        note(log, str(number))
    last = wakeups.seen()
    assert last[0] - before[0] <= (time.monotonic() - began) / PACE_SECONDS + 1
    assert wakes(lambda: wakeups.wait(last, LONG), lambda: note(log, "last"))


def test_a_log_that_is_closed_has_told_of_its_last_fact(wakeups: Wakeups, dsn: str) -> None:
    brief = EventLog(dsn, FACTS, Limits())
    brief.open()
    first = wakeups.seen()
    note(brief, "A")
    wakeups.wait(first, LONG)
    second = wakeups.seen()
    note(brief, "B")
    assert wakes(lambda: wakeups.wait(second, LONG), brief.close)


@pytest.mark.parametrize("facts", [0, 1])
def test_P15_at_its_end_a_process_asks_the_database_only_where_there_is_something_to_tell(facts: int) -> None:
    told: list[bool] = []
    announcer = Announcer(lambda: told.append(True))
    announcer.open()
    for _ in range(facts):
        announcer.tell()
    announcer.close()
    assert len(told) == facts
