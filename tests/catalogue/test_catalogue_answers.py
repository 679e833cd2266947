"""The catalogue says what the facts say: SQL against the pure rules, over generated histories and questions.

Nothing comes twice or is left out (C1.20); where instances of a study differ, the later fact is shown (C1.21).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.embedded import EmbeddedPostgres
from domain.attributes import Level
from domain.event import Actor, Envelope, Recorded, stream_id
from domain.fuzzy_name import words
from domain.matching import Key, Query, matches
from domain.storage import StorageAdded, StorageRemoved
from projections.catalogue import CATALOGUE
from projections.catalogue.find import find
from projections.catalogue.name_words import PREFIXES
from projections.catalogue.narrow import conditions
from tests.catalogue import population

_WITHDRAWN = ("withdrawn_study", "withdrawn_series", "withdrawn_instance", "withdrawn_storage")
_TABLES = ("patient", "study", "series", "instance", "name_word", "due", *_WITHDRAWN)
_UNIQUE = {
    Level.PATIENT: ("00100020", "00100021", "00201204"),
    Level.STUDY: ("0020000D",),
    Level.SERIES: ("0020000D", "0020000E"),
    Level.IMAGE: ("00080018",),
}
_SLOW = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def connection(postgres_server: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """A database for the tables of many examples; each example rolls its own back."""
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE catalogue TEMPLATE template0 ENCODING 'UTF8'")
    with psycopg.connect(postgres_server.dsn("catalogue")) as connection:
        connection.execute(CATALOGUE.tables.encode())
        connection.commit()
        yield connection
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as server:
        server.execute("DROP DATABASE catalogue WITH (FORCE)")


def _apply(connection: psycopg.Connection[Any], log: Sequence[Recorded], cuts: Sequence[int] = ()) -> None:
    """Empty tables in the running transaction, filled in batches that end at the cuts."""
    connection.rollback()
    edges = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    for first, last in itertools.pairwise(edges):
        _apply_batch(connection, log[first:last])


def _apply_batch(connection: psycopg.Connection[Any], batch: Sequence[Recorded]) -> None:
    for kind, run in itertools.groupby(batch, key=lambda recorded: type(recorded.event)):
        if function := CATALOGUE.apply.get(kind):
            function(connection, list(run))


def _contents(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    return {
        table: sorted(row[0] for row in connection.execute(f"SELECT to_jsonb({table})::text FROM {table}").fetchall())  # type: ignore[arg-type]
        for table in _TABLES
    }


def _answers(connection: psycopg.Connection[Any], query: Query, size: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    page = find(connection, query, None, size)
    records.extend(page.records)
    while page.last is not None:
        page = find(connection, query, page.last, size)
        records.extend(page.records)
    return records


def _comparable(records: Sequence[dict[str, Any]], tags: Sequence[str]) -> list[str]:
    return sorted(
        json.dumps({tag: (record.get(tag) or {}).get("Value") or None for tag in tags}, sort_keys=True)
        for record in records
    )


@_SLOW
@given(st.data())
def test_C1_an_answer_holds_what_the_rules_match_once_with_exact_counts(
    connection: psycopg.Connection[Any], data: st.DataObject
) -> None:
    log = data.draw(population.histories())
    level = data.draw(st.sampled_from(Level))
    keys = data.draw(population.questions(level))
    _apply(connection, log)
    query = Query(level, {"00201200": Key("IS"), **keys})
    shown = ("00100010", "00100020", "00080020", "00081030", "00080060", "00200013", *keys)
    computed = ("00201200", "00201202", "00201204", "0020000D", "00080061", "00080062", "00201206", "00201208")
    tags = [*_UNIQUE[level], *shown, *(computed[:3] if level is Level.PATIENT else computed)]
    tags += [] if level < Level.SERIES else ["0020000E", "00201209"]
    wanted = [record for record in population.expected(log, level) if matches(record, query.matching, query.zone)]
    found = _answers(connection, query, data.draw(st.integers(1, 4)))
    assert _comparable(found, tags) == _comparable(wanted, tags)
    assert found == _answers(connection, query, 100), "another page size gives another order"


@_SLOW
@given(population.histories(), st.lists(st.integers(1, 13), max_size=5))
def test_P7_D11_any_cutting_of_the_log_gives_the_same_tables(
    connection: psycopg.Connection[Any], log: list[Recorded], cuts: list[int]
) -> None:
    _apply(connection, log)
    whole = _contents(connection)
    _apply(connection, log, cuts)
    assert _contents(connection) == whole
    _apply(connection, log, range(1, len(log)))
    assert _contents(connection) == whole


def test_B52_STO_2_a_storage_of_any_size_is_withdrawn_and_comes_back_however_long_it_takes(
    connection: psycopg.Connection[Any],
) -> None:
    """A fact that is given up at the time limit of a query is read again, and given up again, without end."""
    envelope = Envelope(datetime(2024, 1, 1, tzinfo=UTC), Actor("user", "t"))
    content: dict[str, Any] = {"patient": {}, "study": {}, "series": {}}
    made = (population.stored(number, content, {}, "a") for number in range(300))
    log = [
        Recorded(number, stream_id("instance", fact.sop_instance_uid), 1, fact, envelope, row)
        for number, (fact, row) in enumerate(made, 1)
    ]
    _apply(connection, log)
    whole = _contents(connection)
    for fact in (StorageRemoved("default"), StorageAdded("default", "id", "/path")):
        connection.execute("SELECT set_config('statement_timeout', '10s', true)")
        _apply_batch(connection, [Recorded(4_000, stream_id("storage", "default"), 1, fact, envelope)])
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
        if isinstance(fact, StorageRemoved):
            assert not any(_contents(connection)[table] for table in ("study", "series", "instance", "due"))
    tables = ("study", "series", "instance", *_WITHDRAWN)
    assert {table: _contents(connection)[table] for table in tables} == {table: whole[table] for table in tables}


@pytest.mark.parametrize(("tag", "before"), [("00100010", ""), ("00080090", "00080090 "), ("00081060", "00081060 ")])
def test_C7_3_a_name_that_is_meant_is_found_by_the_index_of_words(tag: str, before: str) -> None:
    """Fuzzy matching of the patient's name and of the physicians of a study never looks at every study."""
    found, parameters = conditions({tag: Key("PN", ("Ivanow",), is_fuzzy=True)}, PREFIXES, lambda word: [word, "x"])
    (word,) = words("Ivanow")
    assert [one.as_string() for one in found] == ["((study.name_words && %s))"]
    assert parameters == [[before + word, f"{before}x"]]
