"""Rebuilds beside each other and beside those who ask: one read model serves at all times, and only one is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from adapters.log.log import EventLog
from adapters.postgres.database import Database
from annals.compose import FACTS
from domain import device
from domain.device import DeviceAdded
from domain.event import Actor, Batch
from domain.limits import Limits
from projections import devices
from projections.devices import DEVICES
from projections.engine import Projection, Reader
from projections.read_model import ReadModel

LIMITS = Limits(projection_batch_max=4, lock_timeout_seconds=1.0, query_timeout_seconds=2.0)


class _Held:
    """The log, whose first batch a reader gets only when it is let go."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.asked = threading.Event()
        self.go = threading.Event()

    def head(self) -> int:
        return self._log.head()

    def read_wanted(self, after: int, limit: int, wanted: Collection[str]) -> Batch:
        self.asked.set()
        assert self.go.wait(60)
        return self._log.read_wanted(after, limit, wanted)


class Site:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.log = EventLog(dsn, FACTS, LIMITS)
        self.database = Database(dsn, LIMITS, size=10)
        self.model = ReadModel("devices", self.database, self.log, LIMITS)

    def add(self, title: str) -> None:
        by = Actor("user", "t")
        self.log.change(device.KIND, title, device.add, DeviceAdded(title, "h", 104, ""), fold=device.fold, by=by)

    def reader(self, projection: Projection = DEVICES, log: _Held | None = None) -> Reader:
        return Reader(projection, self.database, log or self.log, LIMITS)

    def titles(self) -> list[str]:
        with self.model.now() as connection:
            return [one.ae_title for one in devices.everyone(connection)]

    def schemas(self) -> list[tuple[Any, ...]]:
        """Each registered schema, whether it serves and whether it exists."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(
                "SELECT schema_name, active, to_regnamespace(quote_ident(schema_name)) IS NOT NULL "
                "FROM reading.projection"
            ).fetchall()

    def left(self) -> int:
        """How many schemas of the read model exist, registered or not."""
        with psycopg.connect(self.dsn) as connection:
            return len(connection.execute("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'devices%'").fetchall())


@pytest.fixture
def site(dsn: str) -> Iterator[Site]:
    made = Site(dsn)
    made.log.open()
    made.database.open()
    yield made
    made.database.close()
    made.log.close()


def begin(action: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failed


def _served_by_one(site: Site, titles: list[str]) -> None:
    while site.reader().step():
        pass
    assert site.titles() == titles
    assert [row[1:] for row in site.schemas()] == [(True, True)]
    assert site.left() == 1


def test_P7_of_two_rebuilds_at_once_one_serves_in_the_end_and_nothing_of_the_other_is_left(site: Site) -> None:
    titles = [f"AE{number}" for number in range(9)]
    for title in titles:
        site.add(title)
    site.reader().prepare()
    held = _Held(site.log)
    slower, failed = begin(site.reader(log=held).rebuild)
    assert held.asked.wait(60)
    site.reader().rebuild()
    assert site.titles() == titles, "what the slower one holds does not keep the faster one from serving"
    held.go.set()
    slower.join(60)
    assert not failed
    _served_by_one(site, titles)


def test_many_first_starts_at_once_leave_one_that_serves(site: Site) -> None:
    site.add("AE1")
    begun = [begin(site.reader().prepare) for _ in range(5)]
    for thread, _ in begun:
        thread.join(60)
    assert [failed for _, failed in begun if failed] == []
    _served_by_one(site, ["AE1"])


def test_a_killed_rebuild_leaves_the_old_one_serving_and_the_next_clears_it_away(site: Site) -> None:
    site.add("AE1")
    site.reader().prepare()
    _served_by_one(site, ["AE1"])
    with psycopg.connect(site.dsn) as connection:
        connection.execute("CREATE SCHEMA devices_2_half")
        connection.execute(
            "INSERT INTO reading.projection (name, schema_name, version) VALUES ('devices', 'devices_2_half', 2)"
        )
    assert site.titles() == ["AE1"]
    site.reader().rebuild()
    _served_by_one(site, ["AE1"])


def test_who_asks_while_the_read_model_is_switched_is_answered_from_the_old_tables(site: Site) -> None:
    site.add("AE1")
    site.reader().prepare()
    _served_by_one(site, ["AE1"])
    with site.model.now() as connection:
        before = site.schemas()
        rebuilding, failed = begin(site.reader().rebuild)
        deadline = time.monotonic() + 60
        while not any(row[1] and row[0] != before[0][0] for row in site.schemas()):
            assert time.monotonic() < deadline
        assert site.titles() == ["AE1"], "who asks now sees the new tables"
        assert [one.ae_title for one in devices.everyone(connection)] == ["AE1"]
    rebuilding.join(60)
    assert not failed
    _served_by_one(site, ["AE1"])


def test_P7_rebuilds_over_and_over_under_questions_and_writes_are_never_seen(site: Site) -> None:
    site.add("AE1")
    site.reader().prepare()
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            assert "AE1" in site.titles()

    def write() -> None:
        number = 2
        while not ended.is_set():
            site.add(f"AE{number}")
            number += 1
            site.reader().step()

    _served_by_one(site, ["AE1"])
    begun = [begin(ask), begin(ask), begin(write)]
    for _ in range(4):
        site.reader().rebuild()
    ended.set()
    for thread, failed in begun:
        thread.join(60)
        assert not failed
    stored = sorted({fact.event.ae_title for fact in site.log.read(0, 10_000)})  # type: ignore[attr-defined]
    _served_by_one(site, stored)


def test_P7_a_rebuild_gives_the_same_rows_as_the_reader_gave_step_by_step(site: Site) -> None:
    for number in range(11):
        site.add(f"AE{number}")
        if number % 3 == 0:
            site.log.change(device.KIND, f"AE{number}", device.remove, fold=device.fold, by=Actor("user", "t"))
    site.reader().prepare()
    while site.reader().step():
        pass
    before = _rows(site)
    site.reader().rebuild()
    assert _rows(site) == before


def _rows(site: Site) -> list[Any]:
    (schema,) = [row[0] for row in site.schemas() if row[1]]
    with psycopg.connect(site.dsn) as connection:
        return connection.execute(SQL("SELECT * FROM {} ORDER BY 1").format(Identifier(schema, "device"))).fetchall()
