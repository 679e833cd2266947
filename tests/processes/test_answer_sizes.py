"""How much one query or retrieval may find (B33, C3.11, D21), on a real catalogue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from annals import compose
from annals.compose import Archive
from annals.settings import load
from domain.attributes import Level
from domain.errors import Because, Refused, TooBroad
from domain.event import Actor
from domain.instance import Content, InstanceStored
from domain.limits import Limits
from domain.matching import Key, query
from processes.find import Finder
from processes.retrieve import Retriever
from tests.conftest import fresh_database
from tests.dicom.encoding import CT_CLASS, EXPLICIT
from tests.edges import edges

STUDIES = [f"1.2.{number}" for number in range(5)]


@pytest.fixture(scope="module")
def archive(postgres_server: EmbeddedPostgres) -> Iterator[Archive]:
    """An archive that knows of five studies, each of one instance."""
    settings, _ = load(None, {})
    with fresh_database(postgres_server) as dsn, compose.archive(settings, dsn, connections=4) as opened:
        row = opened.log.particulars_for({"patient": {}, "study": {}, "series": {}})
        content = Content("d", 1, 1, EXPLICIT, "default", "p")
        facts = [
            (
                "instance",
                f"{uid}.1.1",
                InstanceStored(f"{uid}.1.1", CT_CLASS, f"{uid}.1", uid, content, str(row.id), row.digest),
            )
            for uid in STUDIES
        ]
        opened.log.append_many(facts, by=Actor("system", "test"), particulars=[row])
        compose.catch_up(opened)
        yield opened


@edges
@pytest.mark.parametrize("page", [1, 2, 5, 10])
def test_D21_B33_a_query_finds_so_many_and_past_them_it_ends_as_too_broad(
    archive: Archive, page: int, off: int
) -> None:
    most = len(STUDIES) - off
    finder = Finder(archive.catalogue, Limits(query_matches_max=most, query_page=page))
    asked = query(Level.STUDY, "STUDY", {"0020000D": Key("UI")}, Limits())
    found: list[object] = []
    ended: TooBroad | None = None
    try:
        for records in finder.find(asked):
            found.extend(records)
    except TooBroad as broad:
        ended = broad
    assert len(found) == min(most, len(STUDIES))
    assert (ended is not None) == (off > 0)


@edges
def test_D21_C3_11_a_retrieval_has_so_many_sub_operations_and_past_them_none_begins(archive: Archive, off: int) -> None:
    retriever = Retriever(archive.catalogue, archive.log, Limits(sub_operations_max=len(STUDIES) - off))
    if off <= 0:
        assert len(retriever.under({Level.STUDY: STUDIES})) == len(STUDIES)
        return
    with pytest.raises(Refused) as refused:
        retriever.under({Level.STUDY: STUDIES})
    assert refused.value.because is Because.CANNOT_COUNT_MATCHES


@edges
def test_D21_so_many_matches_behind_those_that_are_answered_are_counted_and_one_more_means_more(
    archive: Archive, off: int
) -> None:
    behind = len(STUDIES) - 2
    finder = Finder(archive.catalogue, Limits(query_remaining_max=behind - off))
    found, remaining = finder.some(query(Level.STUDY, "STUDY", {"0020000D": Key("UI")}, Limits()), 0, 2)
    assert (len(found), remaining, remaining > behind - off) == (2, behind, off > 0)
