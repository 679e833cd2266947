"""Whole data sets in the DICOM JSON Model (PS3.18 Annex F): C7.8, C7.9, B18, B19, beside pydicom's own."""

from __future__ import annotations

import base64
import json
import math
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from adapters.dicom.json_model import JsonModel
from adapters.dicom.part10 import read_file_header
from domain.errors import Refused
from domain.instance import Content
from domain.limits import Limits
from processes.metadata import bulk_data_uris, with_base
from tests.dicom.encoding import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG_BASELINE,
    UNDEFINED,
    element,
    encoded,
    image,
    item,
    minimal,
    sequence_end,
    text,
)
from tests.dicom.test_header_values import DECIMALS, LETTERS, SAMPLES, TEXTS, TIMES, UIDS
from tests.edges import edges

LIMITS = Limits()
MODEL = JsonModel(LIMITS)
AT = "/studies/1/series/2/instances/3"
BINARY = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
UTF_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}


class Stored:
    """A data set in memory, and how much of it was read."""

    def __init__(self, data: bytes, syntax: str = EXPLICIT) -> None:
        self.data = data
        self.read_bytes = 0
        self.content = Content("0" * 64, len(data), 300, syntax, "default", "x")

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        piece = self.data[offset : offset + length]
        self.read_bytes += len(piece)
        return piece

    def model(self) -> dict[str, Any]:
        raw = MODEL.json(self.read, self.content, AT)
        assert b"\n" not in raw, "one line"
        raw.decode("utf-8")
        return dict(json.loads(raw, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")))

    def value(self, uri: str, piece: int = 1_000) -> bytes:
        """What a BulkDataURI leads to, read in ranges."""
        path = uri.removeprefix(f"{AT}/bulkdata/").split("/")
        found = MODEL.bulk_value(self.read, self.content, path)
        assert found is not None
        assert found.length is not None
        ranges = range(0, found.length, piece)
        return b"".join(part for at in ranges for part in found.pieces(at, min(piece, found.length - at)))


def told(tag: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What we say of an element where pydicom says this; each line is a difference with its reason."""
    if tag == 0x00080005:
        return dict(UTF_8)  # The JSON is UTF-8, whatever the object was (C7.8).
    vr = entry["vr"]
    if vr == "SQ":
        # pydicom gives an empty sequence an empty Value; F.2.5 leaves it out.
        items = [said(one) for one in entry.get("Value", ())]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if "Value" not in entry:
        return {name: value for name, value in entry.items() if value != ""}
    values = [_told_value(vr, value) for value in entry["Value"]]
    return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}


def _told_value(vr: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if vr == "PN":
        groups = {name: text.strip(" ") for name, text in value.items() if text.strip(" ")}
        return groups or None
    if vr in ("SV", "UV") and abs(value) > 2**53 - 1:
        return str(value)  # JavaScript has no such number (Table F.2.3-1, note).
    if vr in ("DA", "TM"):
        return str(value).replace(".", "", 2 if vr == "DA" else 0).replace(":", "").strip(" ")  # Forms of ACR-NEMA.
    if isinstance(value, str) and vr not in ("LT", "ST", "UT", "UR"):
        return value.strip(" ") or None  # Spaces at the ends have no meaning in these VRs (PS3.5 6.2).
    return value


def said(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told(int(name, 16), entry) for name, entry in entries.items() if not name.endswith("0000")}


def expected(data_set: Dataset) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {**said(data_set.to_json_dict(bulk_data_threshold=10**9)), "00080005": UTF_8}


def inlined(stored: Stored, model: Mapping[str, Any]) -> dict[str, Any]:
    """The model with all binary bulk data in it, as pydicom gives it."""
    whole = {}
    for name, entry in model.items():
        if entry["vr"] == "SQ":
            whole[name] = {
                **entry,
                **({"Value": [inlined(stored, one) for one in entry["Value"]]} if "Value" in entry else {}),
            }
        elif "BulkDataURI" in entry and entry["vr"] in BINARY:
            data = base64.b64encode(stored.value(entry["BulkDataURI"])).decode()
            whole[name] = {"vr": entry["vr"], "InlineBinary": data}
        else:
            whole[name] = entry
    return whole


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_C7_8_a_sample_file_says_what_pydicom_reads(path: Path) -> None:
    """PS3.18 Annex F, beside what pydicom reads."""
    raw = path.read_bytes()
    try:
        meta = read_file_header(raw)
    except ValueError:
        pytest.skip("no Part 10 header")
    stored = Stored(raw[meta.size :], meta.transfer_syntax_uid)
    data_set = pydicom.dcmread(path, force=True)
    try:
        model = stored.model()
    except Refused:
        assert "truncated" in path.name or path.name == "nested_priv_SQ.dcm", "not stored either"
        return
    assert list(model) == sorted(model), "F.2.2: in ascending order"
    pixels = model.pop("7FE00010", {"vr": "OW"})
    assert pixels.get("BulkDataURI", f"{AT}/bulkdata/7FE00010") == f"{AT}/bulkdata/7FE00010"
    data_set.pop("PixelData", None)
    if path.name == "badVR.dcm":
        return  # pydicom cannot tell what it read.
    assert inlined(stored, model) == expected(data_set)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "AE": st.text("ABC ", min_size=1, max_size=16),
    "AT": st.lists(st.integers(0x00080000, 0x7FE00010), min_size=1, max_size=3),
    "DA": st.dates().map(lambda day: day.strftime("%Y%m%d").rjust(8, "0")),
    "DS": st.lists(DECIMALS, min_size=1, max_size=4),
    "FD": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3),
    "FL": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "IS": st.lists(st.integers(-(2**31), 2**31 - 1).map(str), min_size=1, max_size=3),
    "LO": TEXTS,
    "LT": LETTERS,
    "OB": st.binary(max_size=1100).map(lambda data: data + b"\0" * (len(data) % 2)),
    "OD": st.lists(st.floats(), max_size=140).map(lambda numbers: struct.pack(f"<{len(numbers)}d", *numbers)),
    "OF": st.lists(st.floats(width=32), max_size=300).map(lambda numbers: struct.pack(f"<{len(numbers)}f", *numbers)),
    "OW": st.binary(max_size=1100).map(lambda data: data + b"\0" * (len(data) % 2)),
    # pydicom's own JSON fails over empty names and groups: see the test of names below.
    "PN": st.lists(st.text("AÉя^", min_size=1, max_size=6), min_size=1, max_size=3).map("=".join),
    "SL": st.integers(-(2**31), 2**31 - 1),
    "SS": st.integers(-(2**15), 2**15 - 1),
    "SV": st.integers(-(2**63), 2**63 - 1),
    "TM": TIMES,
    "UC": TEXTS,
    "UI": UIDS,
    "UL": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
    "UN": st.binary(max_size=1100).map(lambda data: data + b"\0" * (len(data) % 2)),
    "UR": st.just("https://pacs.example/x"),
    "US": st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=3),
    "UT": LETTERS,
    "UV": st.integers(0, 2**64 - 1),
}
_STANDARD = {
    *("AE00080054", "AT00280009", "CS00080008", "DA00080020", "DS00280030", "FD00189073", "IS00201209"),
    *("LO00081030", "LT00204000", "PN00100010", "SL00186020", "SS00189219", "TM00080030", "UI00080016", "UL00186018"),
    *("US00280010", "UT0040A160", "UC00080119", "UR00080120", "OB00420011", "OW00281201", "OF00660016", "SV00720082"),
}
_WORDS = {"OW": 2, "OF": 4, "OD": 8}


@st.composite
def data_sets(draw: st.DrawFn, depth: int = 0) -> Dataset:
    """Standard attributes of every VR, private blocks of two makers, and the same again in items."""
    made = Dataset()
    for one in draw(st.lists(st.sampled_from(sorted(_STANDARD)), max_size=8, unique=True)):
        vr, tag = one[:2], int(one[2:], 16)
        made.add_new(tag, vr, draw(_VALUES.get(vr, st.text("ABC", max_size=6))))
    for creator in draw(st.lists(st.sampled_from(("ANNALS ONE", "ANNALS TWO")), max_size=2, unique=True)):
        block = made.private_block(0x0029, creator, create=True)
        for number, vr in enumerate(draw(st.lists(st.sampled_from(sorted(_VALUES)), max_size=4)), 1):
            block.add_new(number, vr, draw(_VALUES[vr]))
        if depth < 2 and draw(st.booleans()):
            block.add_new(0x80, "SQ", Sequence(draw(st.lists(data_sets(depth + 1), max_size=2))))
    if depth < 2:
        made.add_new(0x00400275, "SQ", Sequence(draw(st.lists(data_sets(depth + 1), max_size=2))))
    return made


def _swap(data_set: Dataset) -> None:
    """Words in big endian order, as pydicom expects them of whoever writes big endian."""
    for one in data_set.iterall():
        if size := _WORDS.get(one.VR):
            one.value = np.frombuffer(one.value, f"<u{size}").astype(f">u{size}").tobytes()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=80)
@given(data_sets(), st.sampled_from((EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)))
def test_C7_8_any_data_set_says_what_pydicom_says(data_set: Dataset, syntax: str) -> None:
    """PS3.18 Annex F: every VR of Table F.2.3-1, private attributes and sequences too."""
    data_set.SpecificCharacterSet = "ISO_IR 192"
    plain = encoded(data_set, IMPLICIT if syntax == IMPLICIT else EXPLICIT)
    again = pydicom.filereader.read_dataset(pydicom.filebase.DicomBytesIO(plain), syntax == IMPLICIT, True)
    wanted = expected(again)
    if syntax == BIG_ENDIAN:
        _swap(data_set)
        plain = encoded(data_set, BIG_ENDIAN)
    stored = Stored(zlib.compress(plain, wbits=-zlib.MAX_WBITS) if syntax == DEFLATED else plain, syntax)
    model = stored.model()
    assert inlined(stored, model) == wanted
    for uri in bulk_data_uris(model):
        assert len(stored.value(uri)) > LIMITS.metadata_inline_max


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize(
    "size", [LIMITS.metadata_inline_max - 2, LIMITS.metadata_inline_max, LIMITS.metadata_inline_max + 2]
)
def test_C7_8_binary_is_inline_up_to_the_limit_and_named_beyond(syntax: str, size: int) -> None:
    """F.2.7: InlineBinary; F.2.6: BulkDataURI; both little endian."""
    little = bytes(range(256)) * 5
    little = little[:size]
    sent = np.frombuffer(little, "<u2").astype(">u2").tobytes() if syntax == BIG_ENDIAN else little
    stored = Stored(element(0x00281201, "OW", sent, syntax), syntax)
    entry = stored.model()["00281201"]
    if size > LIMITS.metadata_inline_max:
        assert entry == {"vr": "OW", "BulkDataURI": f"{AT}/bulkdata/00281201"}
        assert stored.value(entry["BulkDataURI"], 333) == little
    else:
        assert entry == {"vr": "OW", "InlineBinary": base64.b64encode(little).decode()}


def test_C7_8_pixels_are_always_named_and_never_read() -> None:
    """F.2.6, 10.4.1.1.2."""
    small, large = Stored(image(2, 2)), Stored(image(2048, 2048))
    for stored in (small, large):
        assert stored.model()["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{AT}/bulkdata/7FE00010"}
    assert large.read_bytes <= 64 * 1024
    assert small.value(f"{AT}/bulkdata/7FE00010") == bytes(8)
    fragments = b"".join(
        (
            element(0x7FE00010, "OB", b"", length=UNDEFINED),
            item(b""),
            item(bytes(100)),
            sequence_end(),
        )
    )
    encapsulated = Stored(minimal() + fragments, JPEG_BASELINE)
    assert encapsulated.model()["7FE00010"] == {"vr": "OB", "BulkDataURI": f"{AT}/bulkdata/7FE00010"}
    found = MODEL.bulk_value(encapsulated.read, encapsulated.content, ["7FE00010"])
    assert found is not None
    assert found.length is None, "fragments are no value that can be cut into ranges"


def test_C7_8_long_text_and_numbers_are_named_and_text_is_given_as_utf_8() -> None:
    """F.2.2 note 4; 10.4.3.3.2 lists the VRs."""
    words = ("é" * (LIMITS.metadata_value_max + 1)).encode("latin-1")
    numbers = struct.pack("<20000d", *range(20_000))
    stored = Stored(
        b"".join(
            (
                element(0x00080005, "CS", b"ISO_IR 100"),
                element(0x00189073, "FD", b""),
                element(0x0040A160, "UT", text(words)),
                element(0x00720074, "FD", numbers, length=None) if len(numbers) < 65536 else b"",
                element(0x00720082, "OD", numbers),
            )
        )
    )
    model = stored.model()
    assert model["0040A160"] == {"vr": "UT", "BulkDataURI": f"{AT}/bulkdata/0040A160"}
    assert stored.value(model["0040A160"]["BulkDataURI"]).decode() == "é" * (LIMITS.metadata_value_max + 1)
    assert stored.value(model["00720082"]["BulkDataURI"]) == numbers
    assert model["00080005"] == UTF_8


def test_C7_8_text_is_read_in_the_character_set_of_its_item() -> None:
    """F.2: UTF-8, whatever the item's own Specific Character Set is."""
    inner = element(0x00080005, "CS", b"ISO_IR 144") + element(0x00081030, "LO", text("Щ".encode("iso8859_5")))
    stored = Stored(
        b"".join(
            (
                element(0x00080005, "CS", b"ISO_IR 100"),
                element(0x00081032, "SQ", item(inner)),
                element(0x00100010, "PN", text("Müller^Jörg".encode("latin-1"))),
            )
        )
    )
    model = stored.model()
    assert model["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
    assert model["00081032"]["Value"] == [{"00080005": UTF_8, "00081030": {"vr": "LO", "Value": ["Щ"]}}]
    assert Stored(element(0x00081030, "LO", b"A ")).model()["00080005"] == UTF_8


def test_C7_8_names_have_their_groups_and_holes_are_null() -> None:
    """F.2.2: component groups by name; F.2.5: null for an empty value."""
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう".encode()
    data = element(0x00080005, "CS", b"ISO_IR 192") + element(0x00101001, "PN", text(name + b"\\\\=\xe5\xb1\xb1"))
    assert Stored(data).model()["00101001"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"},
        None,
        {"Ideographic": "山"},
    ]


def test_C7_8_tags_private_creators_and_what_has_no_place() -> None:
    """F.2.2: no group lengths; group 2 is of the file, not of the data set; AT as eight hex digits."""
    data = b"".join(
        (
            element(0x00020010, "UI", b"1.2\0"),
            element(0x00080000, "UL", bytes(4)),
            element(0x00090010, "LO", b"GEMS_IDEN_01"),
            element(0x00091001, "", b"FULL", IMPLICIT),
            element(0x00091002, "UN", struct.pack("<h", -3)),
            element(0x000910FF, "UN", b"\1\2"),
            element(0x00280009, "AT", struct.pack("<4H", 0x18, 0x1063, 0x7FE0, 0x10)),
        )
    )
    model = Stored(data).model()
    assert model["00090010"] == {"vr": "LO", "Value": ["GEMS_IDEN_01"]}
    assert model["00091001"] == {"vr": "LO", "Value": ["FULL"]}, "by the maker's dictionary"
    assert model["00091002"] == {"vr": "SH", "Value": ["\ufffd\ufffd"]} or model["00091002"]["vr"] == "SH"
    assert model["000910FF"] == {"vr": "UN", "InlineBinary": "AQI="}
    assert model["00280009"] == {"vr": "AT", "Value": ["00181063", "7FE00010"]}
    assert not {"00020010", "00080000"} & model.keys()


@pytest.mark.parametrize(
    ("signed", "vr", "value"), [(0, "US", 65535), (1, "SS", -1)], ids=["unsigned pixels", "signed pixels"]
)
def test_C7_8_implicit_VR_is_resolved_by_the_pixels_also_in_items(signed: int, vr: str, value: int) -> None:
    """PS3.5 A.1 and PS3.3 C.7.6.3.1: US or SS by Pixel Representation."""
    smallest = element(0x00280106, "", b"\xff\xff", IMPLICIT)
    data = b"".join(
        (
            element(0x00280103, "", struct.pack("<H", signed), IMPLICIT),
            smallest,
            element(0x00283010, "", item(smallest), IMPLICIT),
        )
    )
    model = Stored(data, IMPLICIT).model()
    assert model["00280106"] == {"vr": vr, "Value": [value]}
    assert model["00283010"]["Value"][0]["00280106"] == {"vr": vr, "Value": [value]}


@pytest.mark.parametrize(
    ("tag", "vr", "raw", "values"),
    [
        (0x00200013, "IS", b"1e9 ", None),
        (0x00200013, "IS", b"abc ", None),
        (0x00200013, "IS", b"1" + b"0" * 30 + b" ", None),
        (0x00280030, "DS", b"NaN\\1.5 ", [None, 1.5]),
        (0x00280030, "DS", b"1e400 ", None),
        (0x00280030, "DS", b"Inf\\\\2", [None, None, 2.0]),
        (0x00189073, "FD", struct.pack("<2d", math.nan, 1.0), [None, 1.0]),
        (0x00189073, "FD", struct.pack("<d", math.inf), None),
        (0x00291001, "FL", struct.pack("<f", math.nan), None),
        (0x00280010, "US", b"\1", None),
        (0x00280009, "AT", b"\1\2", None),
        (0x00100030, "DA", b"99999999", None),
        (0x00080030, "TM", b"256161", None),
        (0x00081030, "LO", b"A\0B ", ["A\ufffdB"]),
        (0x00081030, "LO", b"A\x1bB ", ["A\x1bB"]),
        (0x00081030, "LO", b"\xff\xfeA ", ["\ufffd\ufffdA"]),
        (0x00081030, "LO", "\u202eABC".encode(), ["\u202eABC"]),
        (0x00081030, "LO", b"\xed\xa0\x80 ", ["\ufffd\ufffd\ufffd"]),
        (0x00081030, "LO", b'"BulkDataURI":"x', ['"BulkDataURI":"x']),
    ],
)
def test_B18_B19_what_is_broken_is_null_and_the_JSON_is_valid(tag: int, vr: str, raw: bytes, values: Any) -> None:
    stored = Stored(element(0x00080005, "CS", b"ISO_IR 192") + element(tag, vr, raw))
    entry = stored.model()[f"{tag:08X}"]
    assert (entry["vr"], entry.get("Value")) == (vr, values)


def test_C7_15_only_the_URIs_get_the_public_base() -> None:
    """F.2.6: a BulkDataURI gets the base of the service, no text that looks like one."""
    evil = b'"BulkDataURI":"/studies'
    stored = Stored(image(2, 2, [(0x00081030, "LO", text(evil))]))
    based = json.loads(with_base(MODEL.json(stored.read, stored.content, AT), "https://pacs.example/x"))
    assert based["7FE00010"]["BulkDataURI"] == f"https://pacs.example/x{AT}/bulkdata/7FE00010"
    assert based["00081030"]["Value"] == [evil.decode()]


@pytest.mark.parametrize(
    "path",
    [
        "00080018",
        "7FE00011",
        "00081032/1/00080100",
        "00400275/0/00291001",
        "00400275/9/00291001",
        "00400275",
        "00291010",
    ],
)
def test_C7_9_what_is_no_bulk_data_is_not_found(path: str) -> None:
    """10.4.3.3.5."""
    inner = element(0x00290010, "LO", b"ANNALS") + element(0x00291001, "OB", b"\1\2")
    stored = Stored(minimal([(0x00400275, "SQ", item(inner)), (0x00291010, "OB", b"")]))
    assert MODEL.bulk_value(stored.read, stored.content, path.split("/")) is None
    found = MODEL.bulk_value(stored.read, stored.content, ["00400275", "1", "00291001"])
    assert found is not None
    assert b"".join(found.pieces(0, 2)) == b"\1\2"


def test_a_header_beyond_its_limit_is_refused_and_not_held() -> None:
    model = JsonModel(Limits(header_size_max=100_000))
    many = b"".join(element(0x00290010 + n, "LO", b"x" * 60_000) for n in range(2))
    stored = Stored(minimal() + many)
    with pytest.raises(Refused, match="header_size_max"):
        model.json(stored.read, stored.content, AT)


@edges
def test_D21_a_header_has_so_many_bytes_and_no_more(off: int) -> None:
    """Each element counts 32 bytes more than its value."""
    stored = Stored(b"".join(element(0x00290010 + number, "LO", b"x" * 60) for number in range(3)))
    model = JsonModel(Limits(header_size_max=3 * (60 + 32) - off))
    if off <= 0:
        assert b"00290012" in model.json(stored.read, stored.content, AT)
        return
    with pytest.raises(Refused, match="header_size_max"):
        model.json(stored.read, stored.content, AT)


@pytest.mark.parametrize("off", [-2, 0, 2], ids=["limit-1", "limit", "limit+1"])
def test_D21_a_text_stands_in_its_place_up_to_the_limit_and_is_named_beyond(off: int) -> None:
    """Values have an even length."""
    words = b"x" * (LIMITS.metadata_value_max + off)
    entry = Stored(element(0x0040A160, "UT", words)).model()["0040A160"]
    assert entry == (
        {"vr": "UT", "Value": [words.decode()]} if off <= 0 else {"vr": "UT", "BulkDataURI": f"{AT}/bulkdata/0040A160"}
    )
