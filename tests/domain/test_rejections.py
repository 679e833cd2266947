"""How rejections are counted: told at once, then once an interval, whatever a flood brings (B29)."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from domain.limits import Limits
from domain.rejection import OTHER_PEERS, PeerRejected, Tally, harmless
from tests.edges import edges

LIMITS = Limits(rejection_interval_seconds=60, rejection_peers_max=4, rejection_titles_max=3)


def one(address: str = "192.0.2.7", why: str = "unknown", title: str = "CT") -> PeerRejected:
    return PeerRejected(address, why, "1/1/3", (title,), ("ANNALS",))


def test_the_first_rejection_of_a_peer_is_told_at_once_and_the_others_at_the_end_of_the_interval() -> None:
    tally = Tally(LIMITS)
    assert tally.next_due() is None
    assert tally.count(100.0, one())
    assert list(tally.due(100.0)) == [one()]
    for number in range(500):
        assert not tally.count(100.0 + number / 10, one())
    assert list(tally.due(159.0)) == []
    assert tally.next_due() == 160.0
    (told,) = tally.due(160.0)
    assert (told.count, told.seconds) == (500, 60)


def test_a_peer_that_is_turned_away_no_more_is_forgotten() -> None:
    tally = Tally(LIMITS)
    tally.count(0.0, one())
    assert list(tally.due(0.0))
    assert list(tally.due(60.0)) == []
    assert tally.next_due() is None
    assert tally.count(61.0, one())


def test_reasons_and_peers_are_told_apart() -> None:
    tally = Tally(LIMITS)
    tally.count(0.0, one())
    tally.count(0.0, one(why="wrong address"))
    tally.count(0.0, one("192.0.2.8"))
    assert len(list(tally.due(0.0))) == 3


def test_a_flood_from_many_addresses_with_many_titles_is_a_few_facts() -> None:
    tally = Tally(LIMITS)
    for number in range(10_000):
        tally.count(0.0, one(f"10.0.{number // 256}.{number % 256}", title=f"T{number}"))
    told = list(tally.due(0.0))
    assert len(told) == LIMITS.rejection_peers_max + 1
    assert told[-1].address == OTHER_PEERS
    assert told[-1].count == 10_000 - LIMITS.rejection_peers_max
    assert told[-1].calling_ae_titles == ("T4", "T5", "T6")


def test_at_the_end_everything_that_was_counted_is_told() -> None:
    tally = Tally(LIMITS)
    tally.count(0.0, one())
    list(tally.due(0.0))
    tally.count(1.0, one())
    assert [told.count for told in tally.due(2.0, all_of_them=True)] == [1]


@given(st.text(max_size=80))
def test_B29_a_text_of_a_peer_is_harmless_in_a_fact(text: str) -> None:
    told = harmless(text)
    assert told.isascii()
    assert told == "" or told.isprintable()
    assert len(told) <= 64


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["a", "b", "c", "d", "e", "f"]), st.integers(0, 1))))
def test_no_rejection_is_lost_and_no_fact_comes_twice_in_an_interval(moves: list[tuple[float, str, int]]) -> None:
    tally, now, counted = Tally(LIMITS), 0.0, 0
    told: list[tuple[float, PeerRejected]] = []
    for passed, address, reason in moves:
        now += passed
        told += [(now, fact) for fact in tally.due(now)]
        tally.count(now, one(address, str(reason)))
        counted += 1
        told += [(now, fact) for fact in tally.due(now)]
    rest = list(tally.due(now, all_of_them=True))
    assert sum(fact.count for _, fact in told) + sum(fact.count for fact in rest) == counted
    facts = Counter((fact.address, fact.why) for _, fact in told)
    assert all(number <= now / LIMITS.rejection_interval_seconds + 1 for number in facts.values())


@edges
def test_D21_B29_so_many_peers_are_told_apart_and_the_others_together(off: int) -> None:
    tally = Tally(LIMITS)
    peers = LIMITS.rejection_peers_max + off
    for number in range(peers):
        tally.count(0.0, one(f"10.0.0.{number}"))
    told = [each.address for each in tally.due(0.0)]
    assert told == [f"10.0.0.{number}" for number in range(min(peers, LIMITS.rejection_peers_max))] + (
        [OTHER_PEERS] if off > 0 else []
    )


@edges
def test_D21_B29_so_many_titles_of_a_peer_are_told(off: int) -> None:
    tally = Tally(LIMITS)
    titles = [f"T{number}" for number in range(LIMITS.rejection_titles_max + off)]
    for title in titles:
        tally.count(0.0, one(title=title))
    (told,) = tally.due(0.0)
    assert (told.calling_ae_titles, told.count) == (tuple(titles[: LIMITS.rejection_titles_max]), len(titles))
