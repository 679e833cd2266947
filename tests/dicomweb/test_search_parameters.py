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


@pytest.mark.parametrize("name", ["limit", "offset"])
@pytest.mark.parametrize("number", [2**63 - 1, 2**64 - 1, pytest.param(10**400, id="400 digits")])
def test_C7_3_every_unsigned_number_is_one(name: str, number: int) -> None:
    """8.3.4.4: limit and offset are unsigned integers, without a largest one: clients ask for all by what they know."""
    asked = search_parameters(f"{name}={number}".encode(), Limits())
    assert (asked.limit, asked.offset) == (Limits().query_matches_max, 10**18 if name == "offset" else 0)
    assert search_parameters(f"{name}={'0' * 40}7".encode(), Limits()) == search_parameters(
        f"{name}=7".encode(), Limits()
    )


@pytest.mark.parametrize("query_string", [b"=x", b"includefield=PatientID.", b"PatientID..PatientName=x"])
def test_C7_1_what_has_no_name_is_no_attribute(query_string: bytes) -> None:
    """8.3.4.1: a tag or a keyword; the dictionary knows a retired attribute (300A,0782) without a keyword."""
    asked = search_parameters(query_string, Limits())
    assert (asked.keys, asked.include) == ({}, frozenset())
    assert len(asked.ignored) == 1


@pytest.mark.parametrize("zone", ["+0100", "%2B0100"])
def test_C7_4_the_zone_of_a_date_and_time_may_be_escaped_or_not(zone: str) -> None:
    """PS3.5 6.2 DT: &ZZXX; RFC 3986 3.4: a plus sign in a query need not be escaped, forms read it as a blank."""
    asked = search_parameters(f"AcquisitionDateTime=20240119-20240120{zone}".encode(), Limits())
    assert asked.keys["0008002A"].values == ("20240119-20240120+0100",)
