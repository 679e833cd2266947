"""How deep and how large metadata may be of which an object is made (B10, B11, D21)."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.composing.encoding import DataSetWriter
from domain.errors import Because, Refused
from domain.limits import Limits
from tests.edges import edges

NO_BULK: Any = None


def written(data_set: dict[str, Any], limits: Limits) -> bytes:
    return b"".join(DataSetWriter(NO_BULK, limits).pieces(data_set))


def refused(data_set: dict[str, Any], limits: Limits) -> str:
    with pytest.raises(Refused) as refusal:
        written(data_set, limits)
    assert refusal.value.because is Because.CANNOT_UNDERSTAND
    return str(refusal.value)


@edges
def test_D21_B10_sequences_are_nested_so_deep_and_no_deeper(off: int) -> None:
    data_set: dict[str, Any] = {}
    for _ in range(5 + off):
        data_set = {"0040A730": {"vr": "SQ", "Value": [data_set]}}
    limits = Limits(sequence_depth_max=5)
    if off <= 0:
        assert written(data_set, limits).count(b"SQ") == 5 + off
    else:
        assert "sequence_depth_max" in refused(data_set, limits)


@edges
def test_D21_B11_there_are_so_many_elements_and_no_more(off: int) -> None:
    data_set = {f"00291{number:03X}": {"vr": "LO", "Value": ["x"]} for number in range(5 + off)}
    limits = Limits(elements_max=5)
    if off <= 0:
        assert written(data_set, limits).count(b"LO") == 5 + off
    else:
        assert "elements_max" in refused(data_set, limits)
