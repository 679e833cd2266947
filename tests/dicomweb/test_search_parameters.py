"""How much a query string may ask (B33, B36, D21); what it means is shown on a whole archive."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.dicomweb.search_parameters import search_parameters
from domain.errors import InvalidInput
from domain.limits import Limits
from tests.edges import edges


@edges
@pytest.mark.parametrize(
    ("limit", "asked"),
    [
        ("query_keys_max", lambda count: "&".join(f"00091{number:03X}=x" for number in range(count))),
        ("query_values_max", lambda count: "ModalitiesInStudy=" + ",".join(["CT"] * count)),
        ("query_uids_max", lambda count: "StudyInstanceUID=" + ",".join(f"1.{number}" for number in range(count))),
        ("query_text_max", lambda count: "StudyDescription=" + "x" * count),
    ],
)
def test_D21_a_search_past_a_limit_is_refused(limit: str, asked: Callable[[int], str], off: int) -> None:
    limits = Limits(**{limit: 8})
    query_string = asked(8 + off).encode()
    if off <= 0:
        assert search_parameters(query_string, limits).keys
        return
    with pytest.raises(InvalidInput) as refused:
        search_parameters(query_string, limits)
    assert len(refused.value.faults) == 1


@edges
def test_D21_no_more_matches_are_asked_for_than_one_answer_holds(off: int) -> None:
    """PS3.18 8.3.4.4.1: a server may answer fewer than the limit that was asked for."""
    asked = search_parameters(f"limit={100 + off}".encode(), Limits(query_matches_max=100))
    assert asked.limit == min(100, 100 + off)
