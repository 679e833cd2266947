"""The header's values are those that pydicom reads from the same bytes, cleaned and typed (reliability B18, B19)."""

from __future__ import annotations

import json
import math
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from adapters.dicom.part10 import read_file_header
from domain.attributes import ATTRIBUTES, BY_TAG, Level
from domain.errors import Refused
from domain.limits import Limits
from processes.ports import Header
from tests.dicom.encoding import (
    BIG_ENDIAN,
    CT_CLASS,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    INSTANCE,
    SERIES,
    STUDY,
    description,
    element,
    encoded,
    image,
    item,
    minimal,
    read,
    text,
)
from tests.edges import edges

PARTS = {Level.PATIENT: "patient", Level.STUDY: "study", Level.SERIES: "series"}
CODED = {"00080100", "00080102", "00080103", "00080104", "00080105", "00080106", "00080119", "00080120", "0008010F"}
BINARY = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}


def expected(data_set: Dataset) -> dict[str, Any]:
    """What pydicom reads of the indexed attributes, in the DICOM JSON Model and stripped of padding."""
    found: dict[str, Any] = {}
    for attribute in ATTRIBUTES:
        tag = int(attribute.tag, 16)
        if tag in data_set:
            try:
                values = model(data_set[tag], attribute.vr)
            except ValueError:
                values = []
            if attribute.level is Level.IMAGE and attribute.vr == "SQ":
                values = [{key: value for key, value in entry.items() if key in CODED} for entry in values]
            found[attribute.tag] = entry_of(attribute.vr, values)
    return found


def entry_of(vr: str, values: list[Any]) -> dict[str, Any]:
    return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}


def model(data_element: Any, vr: str) -> list[Any]:
    if vr == "SQ":
        return [
            {
                f"{int(inner.tag):08X}": entry_of(inner.VR, model(inner, inner.VR))
                for inner in entry
                if not inner.tag.is_private and inner.VR not in BINARY and inner.keyword != "SpecificCharacterSet"
            }
            for entry in data_element.value
        ]
    value = data_element.value
    if value is None or value == "":
        return []
    values = list(value) if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    return [one(entry, vr) for entry in values]


def one(value: Any, vr: str) -> Any:
    if vr == "PN":
        groups = {
            "Alphabetic": value.alphabetic.strip(" "),
            "Ideographic": value.ideographic.strip(" "),
            "Phonetic": value.phonetic.strip(" "),
        }
        return {key: group for key, group in groups.items() if group} or None
    if vr == "DS":
        return None if value == "" else float(value)
    if vr == "IS":
        return None if value == "" else int(value)
    if vr in ("US", "SS", "UL", "SL", "FL", "FD"):
        return value
    if vr in ("LT", "ST", "UT", "UR"):
        return str(value)
    if vr == "DA":
        return str(value).replace(".", "")
    if vr == "TM":
        return str(value).replace(":", "").rstrip(" ")
    return str(value).strip(" ") or None


def merged(header: Header) -> dict[str, Any]:
    return {tag: value for part in (*header.particulars.values(), header.attributes) for tag, value in part.items()}


def check_header(header: Header) -> None:
    """What must hold for the header of any data set that is accepted."""
    text_of_header = json.dumps([header.particulars, header.attributes, header.warnings], allow_nan=False)
    assert "\\u0000" not in text_of_header
    text_of_header.encode()
    json.dumps([header.particulars, header.attributes], ensure_ascii=False).encode()
    assert set(header.particulars) == {"patient", "study", "series"}
    for level, part in PARTS.items():
        assert all(BY_TAG[tag].level is level for tag in header.particulars[part])
    assert all(BY_TAG[tag].level is Level.IMAGE for tag in header.attributes)


SAMPLES = sorted(
    Path(str(name))
    for name in get_testdata_files()
    if Path(str(pydicom.__file__)).parent in Path(str(name)).parents and Path(str(name)).suffix == ".dcm"
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_header_of_a_sample_file_is_what_pydicom_reads(path: Path) -> None:
    raw = path.read_bytes()
    try:
        meta = read_file_header(raw)
    except ValueError:
        pytest.skip("no Part 10 header")
    data = raw[meta.size :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, force=True)
        named = (str(data_set.get("SOPClassUID", "")), str(data_set.get("SOPInstanceUID", "")))
        complete = all(named) and data_set.get("StudyInstanceUID") and data_set.get("SeriesInstanceUID")
        try:
            header = read(data, meta.transfer_syntax_uid, sop_class=named[0], instance=named[1])
        except Refused:
            assert not complete or "truncated" in path.name or path.name == "nested_priv_SQ.dcm"
            return
        assert complete
        check_header(header)
        assert merged(header) == expected(data_set)


LETTERS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x24F, exclude_characters="\\^=\x7f"), max_size=24)
TEXTS = st.lists(LETTERS, min_size=1, max_size=3)
NAMES = st.lists(
    st.builds("=".join, st.lists(st.builds("^".join, st.lists(LETTERS, max_size=5)), min_size=1, max_size=3)),
    min_size=1,
    max_size=2,
)
CODES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ", max_size=16)
DATES = st.dates().map(lambda day: day.strftime("%Y%m%d").rjust(8, "0"))
TIMES = st.times().map(lambda time: time.strftime("%H%M%S.%f"))
UIDS = st.from_regex(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,5})){1,6}", fullmatch=True)
DECIMALS = st.floats(-1e6, 1e6, width=32).map(lambda number: f"{number:.6g}")
STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "PN": NAMES,
    "LO": TEXTS,
    "SH": TEXTS,
    "LT": LETTERS,
    "CS": st.lists(CODES, min_size=1, max_size=4),
    "DA": DATES,
    "TM": TIMES,
    "DT": st.datetimes().map(lambda moment: moment.strftime("%Y%m%d%H%M%S.%f").rjust(21, "0")),
    "AS": st.from_regex(r"[0-9]{3}[DWMY]", fullmatch=True),
    "IS": st.lists(st.integers(-(2**31), 2**31 - 1).map(str), min_size=1, max_size=3),
    "DS": st.lists(DECIMALS, min_size=1, max_size=6),
    "US": st.integers(0, 65535),
    "UI": UIDS,
}
CODE_ITEMS = st.fixed_dictionaries({"CodeValue": CODES, "CodingSchemeDesignator": CODES, "CodeMeaning": LETTERS})
IDENTIFYING = {
    "SOPClassUID": CT_CLASS,
    "SOPInstanceUID": INSTANCE,
    "SeriesInstanceUID": SERIES,
    "StudyInstanceUID": STUDY,
}


@st.composite
def data_sets(draw: st.DrawFn) -> Dataset:
    """Data sets with any of the indexed attributes, some private ones and sequences."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    for attribute in draw(st.lists(st.sampled_from(ATTRIBUTES), max_size=25, unique=True)):
        if attribute.vr == "SQ":
            codes = draw(st.lists(CODE_ITEMS, max_size=3))
            data_set.add_new(int(attribute.tag, 16), "SQ", Sequence([code_item(code) for code in codes]))
        else:
            coded = attribute.level is Level.IMAGE and attribute.vr == "LO"
            data_set.add_new(int(attribute.tag, 16), attribute.vr, draw(STRATEGIES["CS" if coded else attribute.vr]))
    for keyword, value in IDENTIFYING.items():
        setattr(data_set, keyword, value)
    if draw(st.booleans()):
        data_set.private_block(0x0029, "ANNALS TEST", create=True).add_new(0x01, "OB", draw(st.binary(max_size=9)))
    return data_set


def code_item(code: dict[str, str]) -> Dataset:
    entry = Dataset()
    for keyword, value in code.items():
        setattr(entry, keyword, value)
    return entry


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150)
@given(data_sets(), st.sampled_from((IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)), st.sampled_from((64, 65536)))
def test_the_header_of_any_data_set_is_what_pydicom_reads(data_set: Dataset, syntax: str, head_max: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = encoded(data_set, EXPLICIT if syntax == DEFLATED else syntax)
        again = pydicom.filereader.read_dataset(
            pydicom.filebase.DicomBytesIO(data), syntax == IMPLICIT, syntax != BIG_ENDIAN
        )
        if syntax == DEFLATED:
            data = zlib.compress(data, wbits=-zlib.MAX_WBITS)
        header = read(data, syntax, head_max=head_max)
        check_header(header)
        assert merged(header) == expected(again)
        assert [warning for warning in header.warnings if warning != "PixelData: is missing"] == []


def values(vr: str, tag: int, raw: bytes, **switches: Any) -> tuple[Any, tuple[str, ...]]:
    """The JSON value of one attribute sent with this VR, and the warnings."""
    header = read(minimal([(tag, vr, raw)]), **switches)
    check_header(header)
    return merged(header)[f"{tag:08X}"].get("Value"), header.warnings


@pytest.mark.parametrize(
    ("tag", "vr", "raw", "value"),
    [
        (0x00100030, "DA", b"20240229", "20240229"),
        (0x00100030, "DA", b"2024.02.29", "20240229"),
        (0x00100030, "DA", b"2024-02-29", "20240229"),
        (0x00100030, "DA", b"20230229", None),
        (0x00100030, "DA", b"99999999", None),
        (0x00100030, "DA", b"2024.0229 ", None),
        (0x00100030, "DA", b"202401", None),
        (0x00080030, "TM", b"10:11:12", "101112"),
        (0x00080030, "TM", b"10:11 ", "1011"),
        (0x00080030, "TM", b"1011", "1011"),
        (0x00080030, "TM", b"101112.5", "101112.5"),
        (0x00080030, "TM", b"10:11:12.123", "101112.123"),
        (0x00080030, "TM", b"101112.12345678 ", "101112.123456"),
        (0x00080030, "TM", b"235960", "235960"),
        (0x00080030, "TM", b"256161", None),
        (0x00080030, "TM", b"10:1112 ", None),
        (0x0008002A, "DT", b"20240229101112.5+0100 ", "20240229101112.5+0100"),
        (0x0008002A, "DT", b"2024", "2024"),
        (0x0008002A, "DT", b"20240230", None),
        (0x0008002A, "DT", b"20240229+9900 ", None),
        (0x00200013, "IS", b" 12 ", 12),
        (0x00200013, "IS", b"+7", 7),
        (0x00200013, "IS", b"5.00", 5),
        (0x00200013, "IS", b"1e9 ", None),
        (0x00200013, "IS", b"abc ", None),
        (0x00200013, "IS", b"1" + b"0" * 30 + b" ", None),
        (0x00200013, "IS", b"2147483648", None),
        (0x00200013, "IS", b"-2147483648 ", -(2**31)),
        (0x00201041, "DS", b"-1.5e2", -150.0),
        (0x00201041, "DS", b"NaN ", None),
        (0x00201041, "DS", b"Inf ", None),
        (0x00201041, "DS", b"1e400 ", None),
        (0x00201041, "DS", b"1_0 ", None),
        (0x00201041, "DS", b"1,5 ", None),
        (0x00280010, "US", b"\x00\x02", 512),
        (0x00280010, "US", b"\x02", None),
        (0x00280010, "UL", struct.pack("<I", 512), 512),
        (0x00280010, "UL", struct.pack("<I", 70_000), None),
        (0x00280010, "SS", struct.pack("<h", -1), None),
        (0x00280010, "FD", struct.pack("<d", math.nan), None),
        (0x00280010, "IS", b"512 ", 512),
        (0x00200013, "US", b"\x07\x00", 7),
        (0x00280008, "IS", b"-1", -1),
        (0x00280008, "IS", b"2147483647", 2**31 - 1),
    ],
)
def test_B18_B15_a_bad_value_is_indexed_as_null_with_a_warning(tag: int, vr: str, raw: bytes, value: Any) -> None:
    found, said = values(vr, tag, raw)
    assert found == (None if value is None else [value])
    keyword = BY_TAG[f"{tag:08X}"].keyword
    assert bool(said) == (value is None)
    assert all(warning.startswith((keyword, f"({tag >> 16:04X},{tag & 0xFFFF:04X})")) for warning in said)


def test_B18_a_bad_value_among_good_ones_is_null_in_its_place() -> None:
    assert values("DS", 0x00280030, b"0.5\\x \\\\NaN ")[0] == [0.5, None, None, None]
    assert values("DS", 0x00280030, b"")[0] is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"A\0B\x1bC\0", ["A\ufffdBC"]),
        (b"\xed\xa0\x80AB ", ["\ufffd\ufffd\ufffdAB"]),
        (b"\xff\xfeAB", ["\ufffd\ufffdAB"]),
        ("\u202eABC".encode(), ["\u202eABC"]),
        (b"\\A\\\\B", [None, "A", None, "B"]),
        (b"\\\\\\ ", None),
        (b" A  ", ["A"]),
    ],
)
def test_B19_text_is_cleaned_for_the_index(raw: bytes, value: Any) -> None:
    elements = [(0x00080005, "CS", b"ISO_IR 192"), (0x00100020, "LO", text(raw))]
    header = read(minimal(elements))
    check_header(header)
    found = header.particulars["patient"]["00100020"].get("Value")
    assert [entry and entry.replace("\x1b", "") for entry in found or ()] == (value or [])


def test_B19_long_text_is_cropped_to_the_limit() -> None:
    for count, cropped in ((1023, False), (1024, False), (1025, True), (65_534, True)):
        raw = text("x" * count)
        found, said = values("LO" if count < 60_000 else "UT", 0x00100020, raw)
        assert found == ["x" * min(count, 1024)]
        assert said == (("PatientID: is cropped in the index",) if cropped else ())
    many, said = values("UT", 0x00280030, b"1.5\\" * 20_000)
    assert many == [1.5] * 256
    assert said == ("PixelSpacing: is cropped in the index",)
    assert len(values("UT", 0x00101001, b"A\\" * 20_000)[0]) == 513


@pytest.mark.parametrize(
    ("sets", "raw", "value"),
    [
        (b"ISO_IR 100", b"J\xe9r\xf4me", "Jérôme"),
        (b"iso ir-100", b"J\xe9r\xf4me", "Jérôme"),
        (b"ISO_IR 144", b"\xbb\xee\xda\xe1", "Люкс"),
        (b"ISO_IR 192", "Ünï 山".encode(), "Ünï 山"),
        (b"GB18030", "王^小东".encode("gb18030"), "王^小东"),
        (b"GBK", "鎈\\誠".encode("gbk"), "鎈"),
        (b"ISO_IR 13", b"\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ"),
        (b"\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada=山田^太郎"),
        (b"ISO 2022 IR 13\\ISO 2022 IR 87", b"\xd4\xcf\xc0\xde=\x1b$B;3ED\x1b(J", "ﾔﾏﾀﾞ=山田"),
        (b"\\ISO 2022 IR 149", b"Hong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong=洪^吉洞"),
        (b"\\ISO 2022 IR 58", b"Wang=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab", "Wang=王^小东"),
        (b"ISO 2022 IR 6\\ISO 2022 IR 144", b"A \x1b-L\xbb\xee^B", "A Лю^B"),
    ],
)
def test_B19_text_is_decoded_by_its_character_set(sets: bytes, raw: bytes, value: str) -> None:
    header = read(minimal([(0x00080005, "CS", text(sets)), (0x00100010, "PN", text(raw))]))
    name = header.particulars["patient"]["00100010"]["Value"][0]
    groups = value.split("=")
    assert name == dict(zip(("Alphabetic", "Ideographic", "Phonetic"), groups, strict=False))
    assert header.warnings == ()


def test_B19_an_unknown_character_set_gives_replacement_characters_and_a_warning() -> None:
    header = read(minimal([(0x00080005, "CS", b"KLINGON "), (0x00100010, "PN", b"D\xf6e^J ")]))
    assert header.particulars["patient"]["00100010"]["Value"] == [{"Alphabetic": "D\ufffde^J"}]
    assert header.warnings == (
        "SpecificCharacterSet: is unknown, text is indexed with replacement characters",
        "PatientName: is not in its character set",
    )


def test_B19_undeclared_text_reads_as_latin_1_with_a_warning() -> None:
    header = read(minimal([(0x00100010, "PN", b"D\xf6e^J ")]))
    assert header.particulars["patient"]["00100010"]["Value"] == [{"Alphabetic": "Döe^J"}]
    assert header.warnings == ("PatientName: is not in its character set",)


def test_an_items_own_character_set_holds_in_it_only() -> None:
    inner = element(0x00080005, "CS", b"ISO_IR 144") + element(0x00080104, "LO", b"\xbb\xee\xda\xe1")
    after = element(0x00080104, "LO", b"J\xe9r\xf4")
    elements = [
        (0x00080005, "CS", b"ISO_IR 100"),
        (0x00081032, "SQ", item(inner) + item(after)),
        (0x00100010, "PN", b"J\xe9r\xf4"),
    ]
    header = read(minimal(elements))
    first, second = header.particulars["study"]["00081032"]["Value"]
    assert first == {"00080104": {"vr": "LO", "Value": ["Люкс"]}}
    assert second == {"00080104": {"vr": "LO", "Value": ["Jérô"]}}
    assert header.particulars["patient"]["00100010"]["Value"] == [{"Alphabetic": "Jérô"}]


def test_sequences_are_indexed_within_their_limits() -> None:
    codes = b"".join(item(element(0x00080100, "SH", text(f"CODE{number}"))) for number in range(200))
    header = read(minimal([(0x00081032, "SQ", codes)]))
    assert len(header.particulars["study"]["00081032"]["Value"]) == 64
    assert header.warnings == ("(0008,1032): not all items are indexed",)
    large = b"".join(item(element(0x00080119, "UC", b"x" * 4000)) for number in range(60))
    header = read(minimal([(0x00081032, "SQ", large)]))
    check_header(header)
    assert len(json.dumps(header.particulars)) < 100_000
    assert header.warnings


@pytest.mark.parametrize(
    ("description_of_it", "length", "warning"),
    [
        (description(4, 4), 32, ""),
        (description(4, 4), 30, "PixelData: is shorter than its description"),
        (description(4, 4), 0, "PixelData: is shorter than its description"),
        (description(4, 4), 34, "PixelData: is longer than its description"),
        (description(3, 3, bits=8), 10, ""),
        (description(3, 3, bits=8), 8, "PixelData: is shorter than its description"),
        (description(3, 3, bits=1), 2, ""),
        (description(4, 4, bits=8, samples=3), 48, ""),
        ([*description(4, 4), (0x00280008, "IS", b"3 ")], 96, ""),
        ([*description(4, 4), (0x00280008, "IS", b"2147483647")], 96, "PixelData: is shorter than its description"),
        (description(0, 4), 32, "PixelData: is longer than its description"),
        (description(65_535, 65_535), 32, "PixelData: is shorter than its description"),
        ([], 32, ""),
    ],
)
def test_B08_B15_native_pixel_data_of_another_length_than_described_is_said(
    description_of_it: list[tuple[int, str, bytes]], length: int, warning: str
) -> None:
    data = minimal([*description_of_it, (0x7FE00010, "OW", bytes(length))])
    assert read(data).warnings == ((warning,) if warning else ())


def test_B08_pixel_data_that_is_missing_or_of_the_wrong_kind_is_said() -> None:
    assert read(minimal(description(4, 4))).warnings == ("PixelData: is missing",)
    elsewhere = [*description(4, 4), (0x00287FE0, "UR", b"http://x")]
    assert read(minimal(elsewhere), "1.2.840.10008.1.2.4.94").warnings == ()
    assert read(image(), "1.2.840.10008.1.2.4.70").warnings == (
        "PixelData: is not encapsulated in an encapsulated transfer syntax",
    )
    fragments = item(b"") + item(b"\xff\xd8\xff\xd9") + b"\xfe\xff\xdd\xe0\0\0\0\0"
    frames = minimal([*description(4, 4), (0x00280008, "IS", b"2 ")]) + element(
        0x7FE00010, "OB", fragments, length=0xFFFFFFFF
    )
    assert read(frames, "1.2.840.10008.1.2.4.50").warnings == ("PixelData: is shorter than its description",)
    assert read(frames).warnings == ("PixelData: is encapsulated in a native transfer syntax",)


@edges
def test_D21_so_many_characters_of_a_text_are_indexed_and_a_warning_tells_of_more(off: int) -> None:
    words = "é" * (40 + off)
    data = minimal([(0x00080005, "CS", b"ISO_IR 192"), (0x00081030, "LO", text(words))])
    header = read(data, limits=Limits(indexed_text_max=40))
    assert header.particulars["study"]["00081030"]["Value"] == [words[:40]]
    assert header.warnings == (("StudyDescription: is cropped in the index",) if off > 0 else ())


@edges
def test_D21_so_many_items_of_a_sequence_are_indexed_and_a_warning_tells_of_more(off: int) -> None:
    items = b"".join(item(element(0x00080100, "SH", text(f"CODE{number}"))) for number in range(4 + off))
    header = read(minimal([(0x00081032, "SQ", items)]), limits=Limits(indexed_items_max=4))
    assert len(header.particulars["study"]["00081032"]["Value"]) == min(4, 4 + off)
    assert len(header.warnings) == (1 if off > 0 else 0)
    assert all("not all items are indexed" in warning for warning in header.warnings)


@edges
def test_D21_numbers_are_indexed_up_to_the_last_that_is_whole_within_so_many_characters(off: int) -> None:
    """Each number but the first takes two characters: with the one at the limit the text is full."""
    numbers = [10, *[1] * (19 + off)]
    header = read(minimal([(0x00281050, "DS", text("\\".join(map(str, numbers))))]), limits=Limits(indexed_text_max=40))
    assert header.attributes["00281050"]["Value"] == numbers[:20]
    assert header.warnings == (("WindowCenter: is cropped in the index",) if off > 0 else ())


@edges
def test_D21_so_many_warnings_are_told_of_a_header(off: int) -> None:
    long = [0x00080090, 0x00081030, 0x0008103E, 0x00104000][: 3 + off]
    header = read(
        minimal([(tag, "LO", text("x" * 50)) for tag in long]),
        limits=Limits(indexed_text_max=40, header_warnings_max=3),
    )
    assert len(header.warnings) == min(3, 3 + off)


@edges
def test_D21_the_indexed_sequences_have_so_many_bytes_with_32_for_each_element_and_no_more(off: int) -> None:
    items = item(element(0x00080100, "SH", text("CODE")) + element(0x00080102, "SH", text("DCM ")))
    header = read(minimal([(0x00081032, "SQ", items)]), limits=Limits(indexed_sequences_max=2 * (4 + 32) - off))
    told = ("the indexed sequences are larger than indexed_sequences_max",)
    assert header.warnings == (told if off > 0 else ())
