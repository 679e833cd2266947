"""How much each source may begin in a minute (B21d)."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from domain.quota import Quota
from tests.edges import edges


def test_B21d_so_many_a_minute_of_each_source_and_the_next_minute_as_many_again() -> None:
    quota = Quota(3, 10)
    assert [quota.take(float(second), "a") for second in range(5)] == [True, True, True, False, False]
    assert quota.take(5.0, "b"), "one source does not use up what another may"
    assert not quota.take(59.9, "a")
    assert [quota.take(60.0, "a") for _ in range(4)] == [True, True, True, False]


def test_B21d_what_did_not_begin_is_given_back() -> None:
    quota = Quota(2, 1)
    quota.give_back("never seen")
    assert [quota.take(0.0, "a") for _ in range(3)] == [True, True, False]
    quota.give_back("a")
    assert [quota.take(0.0, "a") for _ in range(2)] == [True, False]
    assert [quota.take(0.0, "b") for _ in range(3)] == [True, True, False], "among the others"
    quota.give_back("b")
    assert [quota.take(0.0, "c") for _ in range(2)] == [True, False]


def test_B21d_0_is_any_number() -> None:
    quota = Quota(0, 1)
    assert all(quota.take(0.0, "a") for _ in range(10_000))


def test_B21d_sources_past_those_that_are_told_apart_share_one_count_until_a_minute_is_over() -> None:
    quota = Quota(2, 3)
    assert all(quota.take(0.0, source) for source in range(3))
    assert [quota.take(1.0, source) for source in range(3, 9)] == [True, True, False, False, False, False]
    assert quota.take(1.0, 0), "those that came first have their own"
    assert all(quota.take(61.0, source) for source in range(3, 6))


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5)), max_size=200), st.integers(1, 5))
def test_B21d_in_no_minute_that_begins_with_its_first_does_a_source_get_more(
    steps: list[tuple[float, int]], maximum: int
) -> None:
    quota, now = Quota(maximum, 100), 0.0
    since: dict[int, float] = {}
    taken: Counter[int] = Counter()
    for pause, source in steps:
        now += pause
        if now - since.get(source, float("-inf")) >= 60:
            since[source], taken[source] = now, 0
        assert quota.take(now, source) == (taken[source] < maximum)
        taken[source] += taken[source] < maximum


@edges
def test_D21_B21d_a_source_begins_so_many_in_a_minute_and_no_more(off: int) -> None:
    quota = Quota(5, 1)
    assert [quota.take(0.0, "a") for _ in range(5 + off)] == [True] * min(5, 5 + off) + [False] * max(0, off)


@edges
def test_D21_B21d_so_many_sources_have_a_count_of_their_own(off: int) -> None:
    """Past them, one that comes anew finds the count used up that all the others share."""
    quota = Quota(1, 3)
    assert all(quota.take(0.0, source) for source in range(3 + off))
    assert quota.take(0.0, "anew") == (off <= 0)
