"""Storage commitments as a stream: asked once, decided anew until they are told, then over (C5, P5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import commitment
from domain.commitment import Commitment, CommitmentDecided, CommitmentRequested, FailureReason
from domain.errors import Because, Refused
from domain.event import Event
from domain.limits import Limits
from tests.edges import edges

ASKED = CommitmentRequested("1.2.3", "CT1", "ANNALS", {"1.4": "1.5", "1.6": "1.7"})
LOST = {"1.4": int(FailureReason.NO_SUCH_OBJECT_INSTANCE)}
LIMITS = Limits(commitment_references_max=3)
VERBS = st.lists(st.sampled_from(["request", "decide", "lose", "report", "give up"]), max_size=12)


def done(facts: list[Event], verb: str) -> list[Event]:
    known = commitment.fold(facts)
    if verb == "request":
        return commitment.request(known, ASKED)
    assert known
    if verb in ("decide", "lose"):
        return commitment.decide(known, LOST if verb == "lose" else {})
    return commitment.report(known) if verb == "report" else commitment.give_up(known, "it is off")


@given(VERBS)
def test_C5_1_whatever_is_done_a_transaction_is_asked_once_and_ended_once(verbs: list[str]) -> None:
    facts: list[Event] = [ASKED]
    for verb in verbs:
        if verb == "request":
            with pytest.raises(Refused) as refused:
                done(facts, verb)
            assert refused.value.because is Because.DUPLICATE_TRANSACTION_UID
        else:
            facts += done(facts, verb)
    names = [fact.NAME for fact in facts]
    assert names.count("CommitmentRequested") == 1
    ends = [number for number, name in enumerate(names) if name in ("CommitmentReported", "CommitmentGivenUp")]
    assert ends in ([], [len(facts) - 1])
    known = commitment.fold(facts)
    assert known
    assert known.is_ended == bool(ends)
    if known.failed is not None:
        assert sorted([*known.committed, *known.failed]) == sorted(ASKED.references)


def test_P5_what_was_lost_before_somebody_is_told_is_not_promised() -> None:
    known = commitment.fold([ASKED, CommitmentDecided("1.2.3", {})])
    assert known
    (anew,) = commitment.decide(known, LOST)
    told = commitment.fold([ASKED, CommitmentDecided("1.2.3", {}), anew])
    assert told
    assert told.committed == ["1.6"]
    assert not commitment.decide(told, LOST)


def test_C5_9_who_comes_and_looks_is_told_by_the_decision_itself() -> None:
    asked = CommitmentRequested("1.2.3", "", "", {"1.4": "1.5"})
    assert commitment.fold([asked, CommitmentDecided("1.2.3", {})]) == Commitment(asked, {}, is_ended=True)


def test_C5_7_a_device_is_told_for_days() -> None:
    asked_at = datetime(2026, 1, 1, tzinfo=UTC)
    assert not commitment.is_overdue(asked_at, asked_at + timedelta(days=6), LIMITS)
    assert commitment.is_overdue(asked_at, asked_at + timedelta(days=8), LIMITS)


@pytest.mark.parametrize(
    ("uid", "references"),
    [
        ("", [("1.2", "1.3")]),
        ("1.2/3", [("1.2", "1.3")]),
        ("1.2", []),
        ("1.2", [("", "1.3")]),
        ("1.2", [("1.2", "..")]),
        ("1.2", [("1.2", "1.3"), ("1.4", "1.3")]),
        ("1.2", [("1.2", f"1.3.{number}") for number in range(4)]),
    ],
)
def test_C5_5_a_request_that_names_nothing_or_nonsense_is_refused(uid: str, references: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused) as refused:
        commitment.checked(uid, references, LIMITS)
    assert refused.value.because is Because.INVALID_ARGUMENT


@edges
def test_D21_a_request_names_so_many_instances_and_no_more(off: int) -> None:
    references = [("1.2", f"1.3.{number}") for number in range(LIMITS.commitment_references_max + off)]
    if off <= 0:
        assert len(commitment.checked("1.2", references, LIMITS)) == len(references)
        return
    with pytest.raises(Refused, match="ask for fewer") as refused:
        commitment.checked("1.2", references, LIMITS)
    assert refused.value.because is Because.INVALID_ARGUMENT
