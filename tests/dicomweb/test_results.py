"""What a search answers with, in the DICOM JSON Model; which attributes it answers is shown on a whole archive."""

from __future__ import annotations

from api.dicomweb.results import Selection
from api.dicomweb.search_parameters import search_parameters
from domain.attributes import Level
from domain.limits import Limits


def test_C7_8_attributes_of_items_are_in_the_order_of_their_tags() -> None:
    """F.2.2: attribute objects are ordered by their names, also where parts of items were asked for one by one."""
    tags = [f"0008{number:04X}" for number in (0x100, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x10D, 0x10F)]
    item = {tag: {"vr": "SH", "Value": ["x"]} for tag in tags}
    inner = {"00081032": {"vr": "SQ", "Value": [{"0040A170": {"vr": "SQ", "Value": [item]}}]}}
    record = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, **inner}
    asked = ",".join(f"00081032.0040A170.{tag}" for tag in reversed(tags))
    search = search_parameters(f"includefield={asked}".encode(), Limits())
    answered = Selection(search, Level.STUDY, [Level.STUDY], "http://x").of(record)
    assert list(answered["00081032"]["Value"][0]["0040A170"]["Value"][0]) == tags


def test_C7_2_modalities_in_study_are_left_out_where_there_are_none() -> None:
    """Table 10.6.3-3. OHIF's list of studies breaks at one that has them without a Value; who asks for them gets it."""
    record = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00080061": {"vr": "CS"}}
    for query_string, expected in ((b"", None), (b"includefield=ModalitiesInStudy", {"vr": "CS"})):
        search = search_parameters(query_string, Limits())
        answered = Selection(search, Level.STUDY, [Level.STUDY], "http://x").of(record)
        assert answered.get("00080061") == expected
