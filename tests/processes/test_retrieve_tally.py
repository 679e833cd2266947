"""The counts of a retrieval and its final status (correctness C3.3), for every course of sub-operations."""

from hypothesis import given
from hypothesis import strategies as st

from domain.instance import Content
from processes.retrieve import CONTEXTS_MAX, Ended, Tally, Wanted, in_associations

STATUSES = st.sampled_from([0x0000, 0xB000, 0xB007, 0xA700, 0xA900, 0xC000, 0x0124])


def wanted(number: int, sop_class: str = "1.2", syntax: str = "1.2.840.10008.1.2.1") -> Wanted:
    return Wanted(sop_class, f"1.{number}", "1.1", "1.0", Content("d", 1, 1, syntax, "default", "p"))


@given(st.lists(STATUSES), st.booleans())
def test_C3_3_the_sum_is_the_total_and_the_status_follows_the_counts(statuses: list[int], cancelled: bool) -> None:
    tally = Tally(len(statuses) + cancelled)
    for number, status in enumerate(statuses):
        tally.count(status, f"1.{number}")
        assert tally.remaining + tally.completed + tally.failed + tally.warning == len(statuses) + cancelled
    assert len(tally.failed_uids) == tally.failed
    ended = tally.ended(cancelled=cancelled)
    if cancelled:
        assert ended is Ended.CANCELLED
    elif statuses and tally.failed == len(statuses):
        assert ended is Ended.ALL_FAILED
    elif tally.failed or tally.warning:
        assert ended is Ended.WARNINGS_OR_FAILURES
    else:
        assert ended is Ended.SUCCESS


def test_C3_6_no_matches_is_success() -> None:
    assert Tally(0).ended() is Ended.SUCCESS


@given(st.lists(st.tuples(st.integers(1, 300), st.sampled_from(["1.2.840.10008.1.2", "1.2.840.10008.1.2.5"]))))
def test_C3_7_a_retrieval_is_cut_so_that_each_part_needs_at_most_128_contexts(kinds: list[tuple[int, str]]) -> None:
    all_wanted = [wanted(n, f"1.2.{sop_class}", syntax) for n, (sop_class, syntax) in enumerate(kinds)]
    parts = list(in_associations(all_wanted))
    assert [one for part in parts for one in part] == all_wanted
    for part in parts:
        assert len({(one.sop_class_uid, one.content.transfer_syntax_uid) for one in part}) <= CONTEXTS_MAX
