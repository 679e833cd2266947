"""The Native DICOM Model, written and read again (C7.8; PS3.19 A.1)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from api.dicomweb.native_xml import native_xml
from api.dicomweb.native_xml_reader import read_native_xml
from domain.errors import Because, Refused
from domain.limits import Limits
from tests.edges import edges

_PRIVATE: dict[str, Any] = {
    "00290010": {"vr": "LO", "Value": ["ONE & <ONLY>"]},
    "00290011": {"vr": "LO", "Value": ["OTHER"]},
    "00291001": {"vr": "SH", "Value": ["a"]},
    "002910FF": {"vr": "LO", "Value": ["b", None]},
    "00291101": {"vr": "US", "Value": [7]},
}


def test_C7_8_of_private_attributes_the_creator_is_told_in_place_of_the_block() -> None:
    """Table A.1.5-2: ggggyyee becomes gggg00ee with privateCreator; in items too."""
    data_set = {"00081140": {"vr": "SQ", "Value": [_PRIVATE]}, **_PRIVATE}
    document = native_xml(data_set)
    root = ElementTree.fromstring(document)
    expected = [
        ("00290010", None),
        ("00290011", None),
        ("00290001", "ONE & <ONLY>"),
        ("002900FF", "ONE & <ONLY>"),
        ("00290001", "OTHER"),
    ]
    for attributes in (root.findall("DicomAttribute")[1:], root.findall("DicomAttribute/Item/DicomAttribute")):
        assert [(one.get("tag"), one.get("privateCreator")) for one in attributes] == expected
    assert read_native_xml(document, Limits()) == data_set


def test_C7_8_private_attributes_without_a_creator_keep_their_tag() -> None:
    """PS3.19 Table A.1.5-2."""
    data_set = {"00291001": {"vr": "SH", "Value": ["a"]}, "00290010": {"vr": "LO"}}
    (_, one) = ElementTree.fromstring(native_xml(data_set))
    assert (one.get("tag"), one.get("privateCreator")) == ("00291001", None)


def _nested(depth: int) -> dict[str, Any]:
    data_set: dict[str, Any] = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}}
    for _ in range(depth):
        data_set = {"0040A730": {"vr": "SQ", "Value": [data_set]}}
    return data_set


@edges
def test_D21_B10_sequences_are_nested_so_deep_and_no_deeper(off: int) -> None:
    data_set = _nested(5 + off)
    limits = Limits(sequence_depth_max=5)
    if off <= 0:
        assert read_native_xml(native_xml(data_set), limits) == data_set
        return
    with pytest.raises(Refused, match="nested deeper") as refused:
        read_native_xml(native_xml(data_set), limits)
    assert refused.value.because is Because.CANNOT_UNDERSTAND
