"""Derived data is made when a series has come to rest; what cannot be made is tried again, then shown (decision 13)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.log.log import EventLog
from adapters.postgres.database import Database
from annals import viewing
from annals.compose import FACTS, Archive
from domain import instance
from domain.errors import Because, Refused, Unavailable
from domain.event import Actor
from domain.instance import Content, InstanceStored
from domain.limits import Limits
from processes.derive import Deriver
from projections.catalogue import CATALOGUE, due
from projections.derived import Derived, DerivedTables
from projections.engine import Reader
from projections.read_model import ReadModel
from tests.archive.conftest import until
from tests.edges import edges

KIND = due.KINDS[0]
LIMITS = Limits(derivation_rest_seconds=0.0, derivation_attempts_max=2, derivation_backoff_seconds=0.001)
BY = Actor("system", "test")


class Maker:
    """Notes what it was asked to make, and fails with what it is told to fail with."""

    kind = KIND

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.fault: Exception | None = None

    def make(self, study_instance_uid: str, series_instance_uid: str) -> None:
        if self.fault:
            raise self.fault
        self.made.append((study_instance_uid, series_instance_uid))


class Explained:
    """A connection that counts the rows that its statements read, those among them that they passed over."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.rows = 0

    def execute(self, statement: str, parameters: Any) -> Any:
        explained = self._connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        self._count(explained.fetchone()[0][0]["Plan"])
        return self._connection.execute(statement, parameters)

    def _count(self, plan: dict[str, Any]) -> None:
        passed_over = sum(rows for name, rows in plan.items() if name.startswith("Rows Removed"))
        self.rows += (plan["Actual Rows"] + passed_over) * plan["Actual Loops"]
        for part in plan.get("Plans", ()):
            self._count(part)


class Site:
    def __init__(self, dsn: str) -> None:
        self.log = EventLog(dsn, FACTS, LIMITS)
        self.database = Database(dsn, LIMITS, size=4)
        self.catalogue = ReadModel(CATALOGUE.name, self.database, self.log, LIMITS)
        self.maker = Maker()

    def deriver(self, limits: Limits = LIMITS) -> Deriver:
        return Deriver(self.maker, self.catalogue, limits)

    def read(self) -> None:
        reader = Reader(CATALOGUE, self.database, self.log, LIMITS)
        reader.prepare()
        while reader.step():
            pass

    def store(self, *numbers: str) -> None:
        """Instances called study.series.instance."""
        for number in numbers:
            study, series, _ = number.split(".")
            row = self.log.particulars_for({"patient": {}, "study": {}, "series": {}})
            fact = InstanceStored(
                f"1.{number}",
                "1.2.840.10008.5.1.4.1.1.2",
                f"1.{study}.{series}",
                f"1.{study}",
                Content(number, 1, 1, "1.2", "default", number),
                str(row.id),
                row.digest,
            )
            key = ("instance", fact.sop_instance_uid)
            self.log.change(
                *key, lambda state, stored=fact: [stored], fold=instance.fold, by=BY, new=True, particulars=[row]
            )
        self.read()

    def counts(self) -> tuple[int, int]:
        with self.catalogue.now() as connection:
            return due.counts(connection)[KIND]

    def faults(self) -> list[str]:
        with self.catalogue.now() as connection:
            return [one.fault for one in due.failures(connection, 10)]


@pytest.fixture
def site(dsn: str) -> Iterator[Site]:
    made = Site(dsn)
    made.log.open()
    made.database.open()
    made.read()
    yield made
    made.database.close()
    made.log.close()


def _make_all(deriver: Deriver) -> int:
    steps = 0
    while deriver.step():
        steps += 1
    return steps


def _make_for_ever(deriver: Deriver) -> None:
    while True:
        deriver.step()


def test_a_series_is_made_once_the_newest_first(site: Site) -> None:
    site.store("1.1.1", "1.1.2", "1.2.1", "2.1.1", "1.1.3")
    assert site.counts() == (3, 0)
    assert _make_all(site.deriver()) == 3
    assert site.maker.made == [("1.1", "1.1.1"), ("1.2", "1.2.1"), ("1.1", "1.1.2")]
    assert site.counts() == (0, 0)
    site.store("1.1.4")
    assert _make_all(site.deriver()) == 1
    assert site.maker.made[-1] == ("1.1", "1.1.1")


def test_a_series_that_is_being_received_is_left_alone(site: Site) -> None:
    site.store("1.1.1")
    assert not site.deriver(replace(LIMITS, derivation_rest_seconds=3600)).step()
    assert site.counts() == (1, 0)


def test_a_series_is_taken_by_one_and_given_to_another_after_the_lease(site: Site) -> None:
    site.store("1.1.1")
    with site.catalogue.now() as connection:
        assert due.take(connection, KIND, 0.0, 3600.0)
    assert not site.deriver().step(), "taken by another that may still be at work"
    with site.catalogue.now() as connection:
        connection.execute("UPDATE due SET not_before = now()")
    assert site.deriver().step(), "the other one is gone"


def test_what_waits_for_another_try_is_not_looked_at_by_each_taking(site: Site) -> None:
    with site.catalogue.now() as connection:
        connection.execute(
            "INSERT INTO due SELECT %s, 'failing', n::text, n, '-infinity', 'infinity', 1 "
            "FROM generate_series(100, 5000) AS n",
            (KIND,),
        )
        connection.execute("ANALYZE due")
    site.store("1.1.1")
    with site.catalogue.now() as connection:
        looking = Explained(connection)
        due.take(looking, KIND, 0.0, 3600.0)
        due.take(looking, KIND, 0.0, 3600.0)
    assert 0 < looking.rows < 20


def test_what_changes_while_it_is_made_is_made_again(site: Site) -> None:
    site.store("1.1.1")
    with site.catalogue.now() as connection:
        taken = due.take(connection, KIND, 0.0, 3600.0)
    assert taken
    site.store("1.1.2")
    with site.catalogue.now() as connection:
        due.made(connection, taken)
    assert site.counts() == (1, 0)
    assert site.deriver().step()


def test_what_fails_is_tried_again_and_then_shown_until_it_is_retried(site: Site) -> None:
    site.store("1.1.1")
    site.maker.fault = OSError(5, "Input/output error")
    deriver = site.deriver()
    while site.counts() != (0, 1):
        deriver.step()
    assert site.faults() == ["Input/output error"]
    assert not deriver.step(), "a failed one is not taken"
    site.maker.fault = None
    with site.catalogue.now() as connection:
        assert due.retry(connection, [KIND]) == 1
    assert deriver.step()
    assert (site.counts(), site.faults()) == ((0, 0), [])


@pytest.mark.parametrize("fault", [KeyError("x"), Refused(Because.CANNOT_UNDERSTAND, "broken")])
def test_one_that_fails_does_not_stop_the_others(site: Site, fault: Exception) -> None:
    site.store("1.1.1", "1.2.1")
    site.maker.fault = fault
    assert site.deriver().step()
    site.maker.fault = None
    _make_all(site.deriver())
    assert len(site.maker.made) >= 1


@pytest.mark.parametrize("fault", [Unavailable("x"), Refused(Because.OUT_OF_RESOURCES, "the storage is not there")])
def test_an_outage_is_no_failure_of_the_series(site: Site, fault: Exception) -> None:
    site.store("1.1.1")
    site.maker.fault = fault
    for _ in range(2 * LIMITS.derivation_attempts_max):
        with pytest.raises(Unavailable):
            _make_for_ever(site.deriver())
    assert site.counts() == (1, 0)
    site.maker.fault = None
    while site.counts() != (0, 0):
        site.deriver().step()
    assert site.maker.made


def test_a_rebuild_makes_every_series_due(site: Site) -> None:
    site.store("1.1.1", "2.1.1")
    _make_all(site.deriver())
    Reader(CATALOGUE, site.database, site.log, LIMITS).rebuild()
    assert site.counts() == (2, 0)


def test_what_has_failed_is_due_again_where_all_of_its_kind_is_made_anew(site: Site) -> None:
    site.store("1.1.1")
    site.maker.fault = KeyError("x")
    while site.counts() != (0, 1):
        site.deriver().step()
    with site.catalogue.now() as connection:
        due.everything(connection, KIND)
    assert (site.counts(), site.faults()) == ((1, 0), [])


def test_what_is_being_made_is_due_again_where_all_of_its_kind_is_made_anew(site: Site) -> None:
    site.store("1.1.1")
    with site.catalogue.now() as connection:
        taken = due.take(connection, KIND, 0.0, 3600.0)
        assert taken
        due.everything(connection, KIND)
        due.made(connection, taken)
    assert site.counts() == (1, 0)
    assert site.deriver().step()


def test_no_crash_leaves_tables_of_derived_data_for_which_nothing_is_due(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    site.store("1.1.1")
    _make_all(site.deriver())
    archive = cast(Archive, SimpleNamespace(catalogue=site.catalogue, database=site.database))
    with monkeypatch.context() as patched:
        patched.setattr(due, "everything", crash)
        with pytest.raises(KeyboardInterrupt):
            viewing.prepare_derived(archive)
    viewing.prepare_derived(archive)
    assert site.counts() == (1, 0)
    _make_all(site.deriver())
    viewing.prepare_derived(archive)
    assert site.counts() == (0, 0), "nothing is made anew that is there"
    viewing.prepare_derived(archive, [KIND])
    assert site.counts() == (1, 0)


def test_tables_of_another_version_begin_empty(site: Site) -> None:
    def made_where_missing(tables: DerivedTables) -> bool:
        with site.database.connection() as connection:
            if missing := tables.are_missing(connection):
                tables.make(connection)
            return missing

    first = DerivedTables(Derived("colour", 1, "CREATE TABLE seen (n integer)"), site.database)
    second = DerivedTables(Derived("colour", 2, "CREATE TABLE seen (n integer)"), site.database)
    assert made_where_missing(first)
    assert not made_where_missing(first)
    with first.connection() as connection:
        connection.execute("INSERT INTO seen VALUES (1)")
    assert made_where_missing(second)
    with second.connection() as connection:
        assert connection.execute("SELECT count(*) FROM seen").fetchone() == (0,)
    with site.database.connection() as connection:
        schemas = connection.execute(
            "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'derived_colour%'"
        )
        assert schemas.fetchall() == [("derived_colour_2",)]


@edges
def test_D21_a_series_is_tried_so_often_and_then_it_has_failed(site: Site, off: int) -> None:
    site.store("1.1.1")
    site.maker.fault = Refused(Because.CANNOT_UNDERSTAND, "broken")
    deriver = site.deriver(replace(LIMITS, derivation_attempts_max=3))
    for _ in range(min(3, 3 + off)):
        until(deriver.step, 60, "it is tried again")
    assert site.counts() == ((1, 0) if off < 0 else (0, 1))
    assert off <= 0 or not deriver.step()
