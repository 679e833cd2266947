"""The names in a ZIP (C8.12): safe whatever the attributes hold, each once."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.dicomweb.zip_archive import Names
from domain.instance import Content
from processes.retrieve import Wanted

_CONTENT = Content("", 0, 0, "", "", "")


def _record(number: int, name: str, description: str) -> dict[str, Any]:
    return {
        "0020000E": {"vr": "UI", "Value": [f"1.{number}"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
        "0008103E": {"vr": "LO", "Value": [description]},
        "00080060": {"vr": "CS", "Value": [None]},
    }


@given(
    st.text(max_size=80),
    st.lists(st.one_of(st.text(max_size=80), st.sampled_from(["../a", "A", "a", "a (2)", "CON."]))),
)
def test_C8_12_no_name_leads_elsewhere_or_stands_twice(name: str, descriptions: list[str]) -> None:
    names = Names([_record(number, name, text) for number, text in enumerate(descriptions)])
    made = [names.of(Wanted("", "", f"1.{number}", "", _CONTENT)) for number in range(len(descriptions)) for _ in "ab"]
    assert len({one.casefold() for one in made}) == len(made)
    for one in made:
        assert re.fullmatch(r"[\w -]+/[\w -]+( \(\d+\))?/\d{6}\.dcm", one), one
