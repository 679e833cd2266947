"""Identity, what may stand in a fact, and that no input raises anything but a refusal (B01, B02, B03, NET-7, D3)."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from adapters.dicom.part10 import read_file_header
from domain.errors import Because, Refused
from domain.limits import MIB
from tests.dicom.encoding import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    INSTANCE,
    JPEG_BASELINE,
    element,
    item,
    minimal,
    read,
    text,
    uid,
)

UIDS = {
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
}
BAD_UIDS = (
    b"../../etc/x",
    b"/etc/x",
    b"C:\\x",
    b"1.2\0.3",
    b"1.2\n3",
    b"1.2.x",
    b"1.2\\1.3",
    b"\xef\xbc\x91.2",
    b"",
    b".1.2",
    b"1.2.",
    b"1..2",
    b"1" * 65,
    b"1." + b"2" * 70,
)


@pytest.mark.parametrize("name", UIDS)
@pytest.mark.parametrize("bad", BAD_UIDS)
def test_B01_B02_a_uid_that_cannot_be_one_is_refused_without_its_text(name: str, bad: bytes) -> None:
    data = minimal([(UIDS[name], "UI", text(bad, b"\0"))])
    with pytest.raises(Refused) as refusal:
        read(data)
    assert refusal.value.because is Because.CANNOT_UNDERSTAND
    assert name in str(refusal.value)
    assert "etc" not in str(refusal.value)


@pytest.mark.parametrize("name", UIDS)
def test_B02_a_missing_uid_is_refused(name: str) -> None:
    uids = {"SOPClassUID": "1.1", "SOPInstanceUID": "1.2", "StudyInstanceUID": "1.3", "SeriesInstanceUID": "1.4"}
    data = b"".join(element(UIDS[key], "UI", uid(value)) for key, value in uids.items() if key != name)
    with pytest.raises(Refused, match=name) as refusal:
        read(data, sop_class="1.1", instance="1.2")
    assert refusal.value.because is Because.CANNOT_UNDERSTAND


@pytest.mark.parametrize("name", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("odd", ["1.02.3", "01.2", "5", "0"])
def test_B02_C2_7_a_uid_that_does_not_conform_is_accepted_verbatim_with_a_warning(name: str, odd: str) -> None:
    header = read(minimal([(UIDS[name], "UI", uid(odd))]), instance=odd if name == "SOPInstanceUID" else INSTANCE)
    assert odd in (header.sop_instance_uid, header.study_instance_uid, header.series_instance_uid)
    assert header.warnings == (f"{name}: does not conform to PS3.5 9.1",)


@pytest.mark.parametrize("padding", [b"", b"\0", b" ", b"\0\0", b" \0"])
def test_padding_of_a_uid_is_no_part_of_it(padding: bytes) -> None:
    raw = b"1.2.3" + padding if len(padding) & 1 else b"1.2.34" + padding
    assert read(minimal([(0x00080018, "UI", raw)]), instance=raw.decode().rstrip(" \0")).warnings == ()


def test_B03_another_identity_than_the_request_names_is_refused() -> None:
    for named in ({"instance": "1.2.3.5"}, {"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, {"instance": ""}):
        with pytest.raises(Refused) as refusal:
            read(minimal(), **named)
        assert refusal.value.because is Because.IDENTIFIER_DOES_NOT_MATCH


def test_NET_7_C2_10_the_accession_number_is_cropped_in_the_index_only_when_asked_for() -> None:
    data = minimal([(0x00080050, "SH", b"ACC-1234567890-ABCDEF ")])
    plain, cropped = read(data), read(data, crop_accession_number=True)
    assert plain.particulars["study"]["00080050"]["Value"] == ["ACC-1234567890-ABCDEF"]
    assert plain.warnings == ()
    assert cropped.particulars["study"]["00080050"]["Value"] == ["ACC-1234567890-A"]
    assert cropped.warnings == ("AccessionNumber: is cropped to 16 characters",)


PLANTED = "Прохорова^Анна"


def test_P17_personal_text_never_stands_in_attributes_or_warnings() -> None:
    name = text(PLANTED)
    concept = item(element(0x00080100, "SH", b"18748-4 ") + element(0x00100010, "PN", name))
    elements = [
        (0x00080005, "CS", b"ISO_IR 192"),
        (0x00080008, "CS", b"ORIGINAL\\" + name + b" "),
        (0x00080016, "UI", uid("1.2.840.10008.5.1.4.1.1.2")),
        (0x00080020, "DA", name),
        (0x00080023, "DA", name),
        (0x00080033, "TM", name),
        (0x0008002A, "DT", name),
        (0x00100010, "PN", name + b"=" + name + b"=x=y"),
        (0x00100020, "LO", name),
        (0x00104000, "LT", name * 100),
        (0x00200013, "IS", name),
        (0x00280010, "US", b"\x01\x02"),
        (0x00420012, "LO", name),
        (0x0040A043, "SQ", concept),
        (0x00700080, "CS", name),
    ]
    header = read(minimal([(tag, vr, text(raw)) for tag, vr, raw in elements]))
    fact = json.dumps([header.attributes, header.warnings], ensure_ascii=False)
    assert "Прохорова" not in fact
    assert "Анна" not in fact
    assert header.particulars["patient"]["00100020"]["Value"] == [PLANTED]
    assert header.attributes["0040A043"]["Value"] == [{"00080100": {"vr": "SH", "Value": ["18748-4"]}}]
    assert header.attributes["00080008"]["Value"] == ["ORIGINAL", None]
    assert len(header.warnings) <= 20


def test_warnings_are_counted() -> None:
    dates = [(0x00400000 + number, "DA", b"x ") for number in (0x244, 0x250)]
    bad = [(0x00080000 + number, "DA", b"bad-date") for number in (0x12, 0x20, 0x21, 0x22, 0x23)]
    header = read(minimal([*bad, *dates]))
    assert len(header.warnings) == len(set(header.warnings)) == 7


SYNTAXES = st.sampled_from((IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, JPEG_BASELINE, "1.2.3"))


@settings(max_examples=300)
@given(st.binary(max_size=4096), SYNTAXES, st.booleans())
def test_random_bytes_raise_nothing_but_a_refusal(noise: bytes, syntax: str, after_identity: bool) -> None:
    data = minimal(syntax=syntax if syntax in (IMPLICIT, BIG_ENDIAN) else EXPLICIT) + noise if after_identity else noise
    try:
        header = read(data, syntax)
    except Refused:
        return
    json.dumps([header.particulars, header.attributes], allow_nan=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "SC_rgb_rle.dcm", "image_dfl.dcm"]
)
def test_samples_with_changed_bytes_raise_nothing_but_a_refusal(name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    raw, known = path.read_bytes(), pydicom.dcmread(path)
    meta = read_file_header(raw)
    original = raw[meta.size :][:12_000]
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    print("seed", seed)
    for _ in range(150):
        data = bytearray(original)
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(data))
            match dice.randrange(4):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    data[at : at + 4] = struct.pack("<I", dice.choice((0, 2, 0x7FFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF)))
                case 2:
                    del data[at : at + dice.randint(1, 64)]
                case 3:
                    data[at:at] = data[at : at + dice.randint(1, 64)]
        try:
            header = read(
                bytes(data), meta.transfer_syntax_uid, sop_class=known.SOPClassUID, instance=known.SOPInstanceUID
            )
        except Refused:
            continue
        json.dumps([header.particulars, header.attributes, header.warnings], allow_nan=False)


def test_the_scan_of_a_hostile_data_set_holds_little_memory() -> None:
    codes = item(element(0x00080100, "SH", b"x" * 1000)) * 2000
    hostile = minimal(
        [
            (0x00081032, "SQ", codes),
            (0x00101002, "SQ", item(b"") * 90_000),
            (0x00104000, "UT", b"x" * (4 * MIB)),
            (0x00400275, "SQ", codes),
        ]
    )
    tracemalloc.start()
    try:
        header = read(hostile)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB
    assert len(json.dumps(header.particulars)) < 200_000
