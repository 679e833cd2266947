"""The reader: rows and position move together, what cannot be taken is parked, a rebuild runs beside."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.log.log import EventLog
from adapters.postgres.database import Database
from annals.compose import FACTS
from domain.association import AssociationAborted, abort
from domain.errors import InvalidInput, Unavailable
from domain.event import Actor, Recorded
from domain.limits import Limits
from projections.engine import Projection, Reader
from projections.read_model import ReadModel
from tests.edges import edges

LIMITS = Limits(projection_batch_max=7, read_lag_wait_seconds=1.0)
POISON = 13


def _apply(connection: Any, facts: Sequence[Recorded]) -> None:
    for fact in facts:
        event = fact.event
        assert isinstance(event, AssociationAborted)
        if event.instances_stored == POISON:
            raise ValueError("a fact that this projection cannot take")
        connection.execute(
            "INSERT INTO seen (title, position) VALUES (%s, %s)", (event.calling_ae_title, fact.position)
        )


TABLES = "CREATE TABLE seen (title text PRIMARY KEY, position bigint NOT NULL)"
SEEN = Projection("seen", 1, TABLES, {AssociationAborted: _apply})
SEEN_AGAIN = Projection("seen", 2, TABLES + "; CREATE INDEX ON seen (position)", {AssociationAborted: _apply})


class Site:
    def __init__(self, dsn: str) -> None:
        self.log = EventLog(dsn, FACTS, LIMITS)
        self.database = Database(dsn, LIMITS, size=6)
        self.model = ReadModel("seen", self.database, self.log, LIMITS)

    def note(self, title: str, stored: int = 1) -> None:
        self.log.change("peer", title, abort, AssociationAborted(title, "A", stored, 0, ""), by=Actor("system", "t"))

    def reader(self, projection: Projection = SEEN) -> Reader:
        return Reader(projection, self.database, self.log, LIMITS)

    def titles(self) -> list[str]:
        with self.model.now() as connection:
            return [row[0] for row in connection.execute("SELECT title FROM seen ORDER BY position").fetchall()]


@pytest.fixture
def site(dsn: str) -> Iterator[Site]:
    made = Site(dsn)
    made.log.open()
    made.database.open()
    yield made
    made.database.close()
    made.log.close()


def _all(reader: Reader) -> int:
    reader.prepare()
    read = 0
    while taken := reader.step():
        read += taken
    return read


def test_D18_facts_become_rows_once_and_in_the_order_of_their_positions(site: Site) -> None:
    titles = [f"T{number}" for number in range(20)]
    for title in titles:
        site.note(title)
    assert _all(site.reader()) == 20
    assert _all(site.reader()) == 0
    assert site.titles() == titles
    assert site.model.position() == site.log.head()


def test_two_readers_of_one_projection_do_not_take_a_fact_twice(site: Site) -> None:
    for number in range(60):
        site.note(f"T{number}")
    site.reader().prepare()
    running = [threading.Thread(target=_all, args=(site.reader(),)) for _ in range(3)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    _all(site.reader())
    assert len(site.titles()) == 60


def test_a_fact_that_cannot_be_taken_is_parked_and_the_others_are_read(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        site.note(f"T{number}", POISON if number == 9 else 1)
    _all(site.reader())
    assert site.titles() == [f"T{number}" for number in range(20) if number != 9]
    assert site.model.parked() == 1
    assert "cannot take" in caplog.text


@pytest.mark.parametrize(
    "error", [AssertionError, AttributeError, IndexError, InvalidInput, KeyError, RecursionError, ZeroDivisionError]
)
def test_whatever_a_fact_makes_a_projection_raise_the_others_are_read(site: Site, error: type[Exception]) -> None:
    def fail(connection: Any, facts: Sequence[Recorded]) -> None:
        for fact in facts:
            if fact.event.instances_stored == POISON:  # type: ignore[attr-defined]
                raise error("T1")
            _apply(connection, [fact])

    for number in range(3):
        site.note(f"T{number}", POISON if number == 1 else 1)
    _all(site.reader(Projection("seen", 1, TABLES, {AssociationAborted: fail})))
    assert (site.titles(), site.model.parked()) == (["T0", "T2"], 1)


def test_D11_a_backend_that_ends_in_the_middle_takes_rows_and_position_with_it_and_the_next_step_goes_on(
    site: Site, dsn: str
) -> None:
    ended = []

    def end_once(connection: Any, facts: Sequence[Recorded]) -> None:
        _apply(connection, facts[:3])
        if not ended:
            ended.append(connection.info.backend_pid)
            with psycopg.connect(dsn, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (ended[0],))
        _apply(connection, facts[3:])

    for number in range(5):
        site.note(f"T{number}")
    reader = site.reader(Projection("seen", 1, TABLES, {AssociationAborted: end_once}))
    reader.prepare()
    with pytest.raises(Unavailable):
        reader.step()
    assert (site.titles(), site.model.position()) == ([], 0)
    assert reader.step() == 5
    assert site.titles() == [f"T{number}" for number in range(5)]
    assert site.model.parked() == 0


def test_D11_a_reader_process_that_is_killed_in_a_batch_leaves_neither_rows_nor_position(site: Site, dsn: str) -> None:
    for number in range(5):
        site.note(f"T{number}")
    site.reader().prepare()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.projections.stopping_reader", dsn],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"three rows\n"
        assert site.reader().step() == 0, "another took the batch that this one holds"
        process.kill()
    deadline = time.monotonic() + 60
    while not site.reader().step():
        assert time.monotonic() < deadline
    assert site.titles() == [f"T{number}" for number in range(5)]


def test_D11_a_reader_that_fails_in_the_middle_moves_neither_rows_nor_position(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        site.note(f"T{number}")
    reader = site.reader()
    reader.prepare()

    def fail(connection: Any, facts: Sequence[Recorded]) -> None:
        _apply(connection, facts[:3])
        raise KeyboardInterrupt

    monkeypatch.setitem(SEEN.apply, AssociationAborted, fail)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        reader.step()
    monkeypatch.undo()
    assert (site.titles(), site.model.position()) == ([], 0)
    _all(reader)
    assert len(site.titles()) == 5


def test_P7_a_rebuild_beside_the_serving_tables_gives_the_same_while_facts_come(site: Site) -> None:
    for number in range(30):
        site.note(f"T{number}")
    _all(site.reader())
    before = site.titles()
    ended = threading.Event()

    def keep_noting() -> None:
        number = 1000
        while not ended.is_set():
            site.note(f"T{number}")
            number += 1

    noting = threading.Thread(target=keep_noting)
    noting.start()
    try:
        assert site.reader().rebuild() >= 30
        assert site.titles()[:30] == before
    finally:
        ended.set()
        noting.join()
    _all(site.reader())
    assert site.model.position() == site.log.head()
    assert len(site.titles()) == len(site.log.read(0, 10_000))


def test_a_newer_version_is_built_and_then_serves(site: Site) -> None:
    site.note("T1")
    _all(site.reader())
    newer = site.reader(SEEN_AGAIN)
    newer.prepare()
    assert site.titles() == ["T1"]
    with site.database.connection() as connection:
        rows = connection.execute("SELECT version, active FROM reading.projection WHERE name = 'seen'").fetchall()
    assert rows == [(2, True)]


def test_D11_a_reader_of_another_version_leaves_the_tables_as_they_are_and_says_so_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    earlier, newer = site.reader(), site.reader(SEEN_AGAIN)
    site.note("T1")
    _all(earlier)
    newer.prepare()
    site.note("T2")
    assert [earlier.step() for _ in range(3)] == [0, 0, 0]
    assert site.titles() == ["T1"]
    assert caplog.text.count("another version") == 1
    _all(newer)
    assert site.titles() == ["T1", "T2"]


def test_P6_whoever_asks_waits_for_what_was_acknowledged_before_but_not_for_ever(site: Site) -> None:
    reader = site.reader()
    reader.prepare()
    site.note("T1")
    began = time.monotonic()
    assert not site.model.wait_for(site.log.head())
    assert time.monotonic() - began >= LIMITS.read_lag_wait_seconds
    reading = threading.Thread(target=_all, args=(reader,))
    reading.start()
    patient = ReadModel("seen", site.database, site.log, Limits(read_lag_wait_seconds=60.0))
    with patient.current() as connection:
        assert connection.execute("SELECT count(*) FROM seen").fetchone() == (1,)
    reading.join()


@edges
def test_D21_a_step_takes_so_many_facts_and_no_more(site: Site, off: int) -> None:
    reader, most = site.reader(), LIMITS.projection_batch_max
    reader.prepare()
    for number in range(most + off):
        site.note(f"AE{number}")
    assert [reader.step(), reader.step()] == [min(most, most + off), max(0, off)]
    assert len(site.titles()) == most + off
