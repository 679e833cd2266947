"""The matching rules of PS3.4 C.2.2.2, each case of C1 that a single record can show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.attributes import BY_TAG, Level
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.matching import Key, glob, matches, query
from domain.temporal import check, covers
from tests.edges import edges


def holds(vr: str, stored: list[Any], *wanted: str) -> bool:
    return matches({"00091001": {"vr": vr, "Value": stored}}, {"00091001": Key(vr, wanted)})


@pytest.mark.parametrize("vr", ["LO", "PN", "DA", "UI", "IS", "SQ"])
def test_C1_3_a_zero_length_key_also_matches_what_is_absent(vr: str) -> None:
    assert matches({}, {"00091001": Key(vr)})
    assert matches({"00091001": {"vr": vr}}, {"00091001": Key(vr, ("",) if vr != "SQ" else ())})


@pytest.mark.parametrize("vr", ["LO", "PN", "SH", "CS", "AE", "UT"])
def test_C1_3_a_lone_star_is_universal(vr: str) -> None:
    assert matches({}, {"00091001": Key(vr, ("*",))})


@pytest.mark.parametrize("vr", ["UI", "IS", "DS", "US", "AS"])
def test_C1_4_a_star_is_no_wild_card_elsewhere(vr: str) -> None:
    assert not matches({}, {"00091001": Key(vr, ("*",))})
    assert not holds(vr, ["1"], "*")


@pytest.mark.parametrize(
    ("stored", "wanted", "expected"),
    [
        ("HEAD CT", "HEAD*", True),
        ("HEAD CT", "*CT", True),
        ("HEAD CT", "H??D CT", True),
        ("HEAD CT", "H?D CT", False),
        ("HEAD CT", "head ct", False),
        ("HEAD CT", "HEAD", False),
        ("50% A_B\\C", "50%*", True),
        ("5000", "50%*", False),
        ("AXB", "A_B", False),
        (" HEAD ", "HEAD", True),
        ("HEAD", "HEAD  ", True),
        ("e\u0301", "\u00e9", True),
        ("'; DROP TABLE study; --", "'; DROP TABLE study; --", True),
    ],
)
def test_C1_2_C1_4_text_is_compared_exactly_but_for_wild_cards(stored: str, wanted: str, expected: bool) -> None:
    assert holds("LO", [stored], wanted) is expected


_YAMADA = {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}


@pytest.mark.parametrize(
    ("stored", "wanted", "expected"),
    [
        ({"Alphabetic": "DOE^JOHN"}, "doe^john", True),
        ({"Alphabetic": "MÜLLER^JÖRG"}, "muller^jorg", True),
        ({"Alphabetic": "MULLER"}, "müller", True),
        ({"Alphabetic": "DOE^JOHN^^^"}, "DOE^JOHN", True),
        ({"Alphabetic": "DOE"}, "DOE^^^^", True),
        ({"Alphabetic": "DOE"}, "DOE^*", True),
        ({"Alphabetic": "DOE"}, "DOE?", False),
        ({"Alphabetic": "DOE^JOHN"}, "DOE", False),
        ({"Alphabetic": "DOE^JOHN"}, "DOE*", True),
        ({"Alphabetic": "DOE ^ JOHN"}, "DOE^JOHN", True),
        (_YAMADA, "yamada*", True),
        (_YAMADA, "山田*", True),
        (_YAMADA, "やまだ^たろう", True),
        (_YAMADA, "yamada*=山田*", True),
        (_YAMADA, "yamada*=佐藤*", False),
        (_YAMADA, "=山田*", True),
        (_YAMADA, "==やまだ*", True),
        (_YAMADA, "=やまだ*", False),
        ({"Alphabetic": "DOE"}, "*=*", True),
        ({"Alphabetic": "DOE"}, "*=?*", False),
        ("DOE^J=山田", "=山田", True),
    ],
)
def test_C1_5_C1_6_names_match_group_by_group_without_case_and_accents(
    stored: Any, wanted: str, expected: bool
) -> None:
    assert holds("PN", [stored], wanted) is expected


def test_C1_5_a_star_for_each_group_is_not_universal() -> None:
    assert not matches({"00100010": {"vr": "PN"}}, {"00100010": Key("PN", ("*=*",))})


@pytest.mark.parametrize(
    ("vr", "stored", "wanted", "expected"),
    [
        ("TM", "223000", "2230", True),
        ("TM", "2230", "223000", True),
        ("TM", "22:30:00", "2230", True),
        ("TM", "223000.000", "2230", True),
        ("TM", "223100", "2230", False),
        ("DA", "2024.01.31", "20240131", True),
        ("DA", "20240131", "2024.01.31", True),
        ("DA", "20240131", "202401", True),
        ("DA", "20240131", "20240101-20240131", True),
        ("DA", "20240131", "20240131-", True),
        ("DA", "20240131", "-20240131", True),
        ("DA", "20240131", "-20240130", False),
        ("DA", "20240131", "2024-2024", True),
        ("DA", "20240131", "99991231-00010101", False),
        ("TM", "101559.9", "1015-1015", True),
        ("TM", "101600", "1015-1015", False),
        ("TM", "235900", "2300-0100", False),
        ("DT", "20240131101500", "2024013110", True),
        ("DT", "20240131", "2024", True),
        ("DT", "20240131101500+0100", "20240131091500+0000", True),
        ("DT", "20240131101500+0100", "20240131101500+0000", False),
        ("DT", "20240131101500+0100", "20240131101500", True),
        ("DT", "20240131233000-0500", "20240201+0000", True),
        ("DT", "20240131", "20240101-20240201", True),
        ("DT", "20240131", "20240131-0500-20240201-0500", True),
        ("DT", "20240131", "20240201-", False),
        ("DT", "20240131", "-20240131", True),
        ("DT", "20240131", "2024-0500", True),
        ("DT", "20230131", "2022-2024", True),
        ("DT", "00010101+1400", "00010101+1400", True),
        ("DT", "99991231235959-1200", "9999-1200", True),
    ],
)
def test_C1_7_C1_8_times_match_by_meaning_and_ranges_hold_both_ends(
    vr: str, stored: str, wanted: str, expected: bool
) -> None:
    assert holds(vr, [stored], wanted) is expected


def test_C1_10_the_zone_of_a_query_or_record_holds_for_a_DT_without_one() -> None:
    assert covers("20240131091500", "DT", "20240131101500", "+0000", "+0100")
    assert not covers("20240131101500", "DT", "20240131101500", "+0000", "+0100")
    record = {"0008002A": {"vr": "DT", "Value": ["20240131101500"]}, "00080201": {"vr": "SH", "Value": ["+0100"]}}
    assert matches(record, {"0008002A": Key("DT", ("20240131091500",))}, "+0000")
    assert matches(record, {"0008002A": Key("DT", ("20240131101500",))})


@pytest.mark.parametrize(
    ("vr", "key"),
    [
        ("DA", "-"),
        ("DA", "2024-13-99"),
        ("DA", "*"),
        ("DA", "yesterday"),
        ("DA", "20240131-20240131-20240131"),
        ("TM", "1015-x"),
        ("DT", "-"),
        ("DT", "20241399"),
        ("DT", "2024+9900"),
        ("DT", "20240101-20240201-20240301"),
        ("DA", "２０２４０１０１"),
    ],
)
def test_B35_a_key_that_is_no_date_or_range_is_refused(vr: str, key: str) -> None:
    with pytest.raises(Refused) as refused:
        check(key, vr)
    assert refused.value.because is Because.CANNOT_UNDERSTAND


@pytest.mark.parametrize("stored", ["", "abc", "99999999", "2024-01-01", "20240230"])
def test_B18_a_stored_value_that_is_no_date_matches_no_year(stored: str) -> None:
    assert not covers("2024", "DT", stored)
    assert not covers("1900-2023", "DA", stored)


@pytest.mark.parametrize(
    ("vr", "stored", "wanted", "expected"),
    [
        ("IS", 1, "001", True),
        ("IS", 1, "1", True),
        ("IS", 1, "2", False),
        ("DS", 1.5, "1.50", True),
        ("US", 512, "512", True),
        ("IS", 1, "one", False),
        ("DS", 1.5, "nan", False),
    ],
)
def test_C1_14_numbers_are_compared_as_numbers(vr: str, stored: Any, wanted: str, expected: bool) -> None:
    assert holds(vr, [stored], wanted) is expected


def test_C1_11_any_uid_of_a_list_matches() -> None:
    uids = tuple(f"1.2.{number}" for number in range(900))
    assert holds("UI", ["1.2.899"], *uids)
    assert not holds("UI", ["1.2.900"], *uids)


def test_C1_13_several_values_mean_any_of_them() -> None:
    assert holds("CS", ["CT", "SR"], "MR", "SR")
    assert holds("CS", ["CT"], "CT", "")
    assert not holds("CS", ["CT"], "MR", "")


def _code(value: str, scheme: str) -> dict[str, Any]:
    return {"00080100": {"vr": "SH", "Value": [value]}, "00080102": {"vr": "SH", "Value": [scheme]}}


def test_C1_12_one_stored_item_must_match_all_keys_of_the_item() -> None:
    record = {"00081032": {"vr": "SQ", "Value": [_code("A", "X"), _code("B", "Y")]}}

    def wanted(value: str, scheme: str) -> dict[str, Key]:
        return {"00081032": Key("SQ", (), {"00080100": Key("SH", (value,)), "00080102": Key("SH", (scheme,))})}

    assert matches(record, wanted("B", "Y"))
    assert matches(record, wanted("B", ""))
    assert not matches(record, wanted("A", "Y"))
    assert matches({}, wanted("", ""))
    assert not matches({}, wanted("A", ""))


def _asked(root: Level, level: str, **keys: tuple[str, ...]) -> Any:
    tags = {"patient": "00100020", "study": "0020000D", "series": "0020000E", "image": "00080018"}
    return query(root, level, {tags[name]: Key(BY_TAG[tags[name]].vr, value) for name, value in keys.items()}, Limits())


@pytest.mark.parametrize(
    ("root", "level", "keys"),
    [
        (Level.STUDY, "", {}),
        (Level.STUDY, "WORKLIST", {}),
        (Level.STUDY, "PATIENT", {"patient": ("P",)}),
        (Level.PATIENT, "STUDY", {}),
        (Level.PATIENT, "STUDY", {"patient": ()}),
        (Level.PATIENT, "STUDY", {"patient": ("*",)}),
        (Level.PATIENT, "STUDY", {"patient": ("P*",)}),
        (Level.PATIENT, "STUDY", {"patient": ("P?",)}),
        (Level.PATIENT, "STUDY", {"patient": ("P", "Q")}),
        (Level.PATIENT, "SERIES", {"patient": ("P",)}),
        (Level.STUDY, "SERIES", {}),
        (Level.STUDY, "SERIES", {"study": ("1.2", "1.3")}),
        (Level.STUDY, "SERIES", {"study": ("*",)}),
        (Level.STUDY, "IMAGE", {"study": ("1.2",)}),
    ],
)
def test_C1_15_unique_keys_above_the_level_must_have_one_value(
    root: Level, level: str, keys: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(Refused) as refused:
        _asked(root, level, **keys)
    assert refused.value.because is Because.IDENTIFIER_DOES_NOT_MATCH


def test_C1_15_a_relational_query_needs_no_upper_keys() -> None:
    asked = query(Level.STUDY, "IMAGE", {"00200013": Key("IS", ("1",))}, Limits(), relational=True)
    assert asked.level is Level.IMAGE


def test_C1_18_keys_that_are_not_supported_are_named_and_not_matched() -> None:
    keys = {
        "00080060": Key("CS", ("CT",)),
        "00091001": Key("LO", ("X",)),
        "00090010": Key("LO", ("ACME",)),
        "00080005": Key("CS", ("ISO_IR 100",)),
        "00080054": Key("AE"),
    }
    asked = query(Level.STUDY, "STUDY", keys, Limits())
    assert asked.unsupported == {"00080060", "00091001"}
    assert not asked.matching


@edges
@pytest.mark.parametrize(
    ("limit", "keys"),
    [
        ("query_uids_max", lambda count: {"0020000D": Key("UI", tuple(f"1.{number}" for number in range(count)))}),
        ("query_text_max", lambda count: {"00081030": Key("LO", ("x" * count,))}),
        ("query_text_max", lambda count: {"0020000D": Key("UI", ("1" * count,))}),
        ("query_values_max", lambda count: {"00080061": Key("CS", ("CT",) * count)}),
        ("query_keys_max", lambda count: _empty_keys(count)),
        ("query_keys_max", lambda count: {"00081032": Key("SQ", (), _empty_keys(count - 1))}),
    ],
    ids=["uids", "text", "long uid", "values", "keys", "keys of an item"],
)
def test_D21_B34_B36_a_query_past_a_limit_is_refused(
    limit: str, keys: Callable[[int], dict[str, Key]], off: int
) -> None:
    asked = keys(getattr(Limits(), limit) + off)
    if off <= 0:
        assert query(Level.STUDY, "STUDY", asked, Limits()).keys == asked
        return
    with pytest.raises(Refused) as refused:
        query(Level.STUDY, "STUDY", asked, Limits())
    assert refused.value.because is Because.IDENTIFIER_DOES_NOT_MATCH


def _empty_keys(count: int) -> dict[str, Key]:
    return {f"0009{number:04X}": Key("LO") for number in range(0x1000, 0x1000 + count)}


@given(st.text("ab*?%_\\", max_size=12), st.text("ab%_\\", max_size=12))
def test_a_glob_says_what_its_definition_says(pattern: str, text: str) -> None:
    def by_definition(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return any(by_definition(p[1:], t[at:]) for at in range(len(t) + 1))
        return bool(t) and p[0] in ("?", t[0]) and by_definition(p[1:], t[1:])

    collapsed = pattern
    while "**" in collapsed:
        collapsed = collapsed.replace("**", "*")
    assert glob(pattern, text) is by_definition(collapsed, text)


@pytest.mark.parametrize("pattern", ["*a" * 60 + "b", "?" * 64, "*" * 60, "*?" * 60])
def test_B34_a_bomb_of_wild_cards_is_answered(pattern: str) -> None:
    glob(pattern, "a" * 1024)


_DIGITS = st.sampled_from(["DA", "TM", "DT"])


@given(_DIGITS, st.text("0123456789.:+-", max_size=40), st.text("0123456789.:+-", max_size=30))
def test_any_text_is_a_key_that_compares_or_is_refused(vr: str, key: str, value: str) -> None:
    fault = None
    try:
        covers(key, vr, value)
    except Refused as refused:
        fault = refused.because
    assert fault in (None, Because.CANNOT_UNDERSTAND)
