"""How many studies a receiving process remembers, so that their further objects cost nothing (D21)."""

from __future__ import annotations

from contextlib import nullcontext

from domain.event import Actor
from domain.licence import Allowed
from domain.limits import Limits
from processes.new_studies import NewStudies
from tests.edges import edges

BY = Actor("user", "t")


@edges
def test_D21_so_many_studies_are_remembered_the_last_ones(off: int) -> None:
    looked: list[str] = []

    def look(uid: str, _most: int) -> tuple[bool, int]:
        looked.append(uid)
        return True, 1

    limits = Limits(studies_remembered_max=3)
    begin = NewStudies(lambda: Allowed(studies_max=100), look, nullcontext, lambda _by, _why: None, limits)
    studies = [f"1.{number}" for number in range(3 + off)]
    for uid in studies:
        with begin(uid, BY):
            pass
    for uid in reversed(studies):
        with begin(uid, BY):
            pass
    assert looked == studies + studies[: max(0, off)]
