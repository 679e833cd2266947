"""What the scan accepts and refuses of a data set's structure (reliability B07 to B12, B17, B21e, D21)."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from adapters.dicom.part10 import read_file_header
from domain.errors import Because, Refused
from domain.limits import MIB, Limits
from tests.dicom.encoding import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    INSTANCE,
    JPEG_BASELINE,
    UNDEFINED,
    element,
    image,
    item,
    minimal,
    read,
    sequence_end,
    text,
)
from tests.edges import edges

SYNTAXES = (IMPLICIT, EXPLICIT, BIG_ENDIAN)
ORDER = {IMPLICIT: "<", EXPLICIT: "<", BIG_ENDIAN: ">"}


def refused(data: bytes, syntax: str = EXPLICIT, limits: Limits | None = None) -> str:
    with pytest.raises(Refused) as error:
        read(data, syntax, limits=limits)
    assert error.value.because is Because.CANNOT_UNDERSTAND
    return str(error.value)


def nested(depth: int, syntax: str, *, undefined: bool) -> bytes:
    """Sequences in one another: (0040,A730), which every dictionary knows."""
    order = ORDER[syntax]
    content = element(0x00080100, "SH", b"AB", syntax)
    for _ in range(depth):
        inner = item(content, undefined=undefined, order=order)
        if undefined:
            content = element(0x0040A730, "SQ", inner + sequence_end(order), syntax, UNDEFINED)
        else:
            content = element(0x0040A730, "SQ", inner, syntax)
    return minimal(syntax=syntax) + content


def encapsulated(fragments: list[bytes], *, end: bytes | None = None) -> bytes:
    pieces = b"".join(item(fragment) for fragment in fragments)
    value = pieces + (sequence_end() if end is None else end)
    return minimal() + element(0x7FE00010, "OB", value, EXPLICIT, UNDEFINED)


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
def test_B07_a_file_cut_anywhere_is_refused_or_said_to_lack_its_pixels(name: str) -> None:
    raw = Path(str(get_testdata_file(name))).read_bytes()
    meta = read_file_header(raw)
    data = raw[meta.size :]
    whole = read(data, meta.transfer_syntax_uid, sop_class=meta.sop_class_uid, instance=meta.sop_instance_uid)
    assert whole.warnings == ()
    boundaries = 0
    for offset in sorted({len(data) * step // 200 for step in range(200)} | set(range(len(data) - 20, len(data)))):
        try:
            header = read(
                data[:offset], meta.transfer_syntax_uid, sop_class=meta.sop_class_uid, instance=meta.sop_instance_uid
            )
        except Refused:
            continue
        boundaries += 1
        described = "00280103" in header.attributes
        assert header.warnings == (("PixelData: is missing",) if described else ())
    assert boundaries <= 2


def test_B07_no_cut_within_an_element_passes() -> None:
    data = image()
    boundaries = {0, len(data)}
    accepted = []
    for offset in range(len(data)):
        try:
            read(data[:offset])
        except Refused:
            continue
        accepted.append(offset)
    assert all(offset not in boundaries for offset in accepted)
    assert len(accepted) == 8


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("length", [0xFFFFFFFE, 0x7FFFFFFE, 1000])
def test_B09_a_length_past_the_end_is_refused(syntax: str, length: int) -> None:
    data = minimal(syntax=syntax) + element(0x7FE00010, "OW", bytes(8), syntax, length)
    assert "cut" in refused(data, syntax)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_B09_an_odd_length_is_refused(syntax: str) -> None:
    data = minimal([(0x00100020, "LO", b"ABC")], syntax)
    assert "odd length" in refused(data, syntax)


def test_B09_an_item_longer_than_its_sequence_is_refused() -> None:
    inner = element(0x00080100, "SH", b"AB")
    bad = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner) + 8) + inner
    data = minimal() + element(0x0040A730, "SQ", bad) + element(0x0040A731, "LO", b"ABCD")
    assert "cut" in refused(data)


def test_B09_an_element_longer_than_its_item_is_refused() -> None:
    inner = element(0x00080100, "SH", b"AB", length=4)
    data = minimal() + element(0x0040A730, "SQ", item(inner)) + element(0x0040A731, "LO", b"ABCD")
    assert "cut" in refused(data)


def test_B08_encapsulated_pixel_data_without_a_sequence_delimiter_is_refused() -> None:
    assert read(encapsulated([b"", b"\xff\xd8\xff\xd9"]), JPEG_BASELINE).warnings == ()
    assert "cut" in refused(encapsulated([b"", b"\xff\xd8\xff\xd9"], end=b""), JPEG_BASELINE)


def test_B09_an_odd_or_undefined_fragment_is_refused() -> None:
    assert "no fragment" in refused(encapsulated([b"", b"\xff\xd8\xff"]), JPEG_BASELINE)
    bad = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    assert "no fragment" in refused(encapsulated([b""], end=bad), JPEG_BASELINE)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("depth", "good"), [(63, True), (64, True), (65, False), (200, False)])
def test_B10_sequences_nested_deeper_than_the_limit_are_refused(
    depth: int, good: bool, syntax: str, undefined: bool
) -> None:
    data = nested(depth, syntax, undefined=undefined)
    if good:
        assert read(data, syntax).sop_instance_uid == INSTANCE
    else:
        assert "nested deeper" in refused(data, syntax)


def test_B10_twenty_thousand_levels_are_refused_without_recursion() -> None:
    opened = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, UNDEFINED) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, UNDEFINED
    )
    assert "nested deeper" in refused(minimal() + opened * 20_000)


@pytest.mark.parametrize(("count", "good"), [(99, True), (100, True), (101, False)])
def test_B11_items_are_counted(count: int, good: bool) -> None:
    data = minimal() + element(0x0040A730, "SQ", item(b"") * count)
    limits = replace(Limits(), sequence_items_max=100)
    if good:
        assert read(data, limits=limits).sop_instance_uid == INSTANCE
    else:
        assert "more items" in refused(data, limits=limits)


@pytest.mark.parametrize(("count", "good"), [(99, True), (100, True), (101, False)])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_B11_elements_are_counted(count: int, good: bool, syntax: str) -> None:
    data = minimal([(0x00290000 + 0x1000 + n, "LO", b"AB") for n in range(count - 4)], syntax)
    limits = replace(Limits(), elements_max=100)
    if good:
        assert read(data, syntax, limits=limits).sop_instance_uid == INSTANCE
    else:
        assert "more elements" in refused(data, syntax, limits)


@pytest.mark.parametrize(("count", "good"), [(9, True), (10, True), (11, False)])
def test_fragments_are_counted(count: int, good: bool) -> None:
    limits = replace(Limits(), fragments_max=10)
    data = encapsulated([b"AB"] * count)
    if good:
        assert read(data, JPEG_BASELINE, limits=limits).sop_instance_uid == INSTANCE
    else:
        assert "more fragments" in refused(data, JPEG_BASELINE, limits)


def test_B11_two_million_items_and_half_a_million_elements_are_refused_at_once() -> None:
    floods = (
        minimal() + element(0x0040A730, "SQ", item(b"") * 2_000_000),
        minimal() + element(0x0040A730, "SQ", item(element(0x00080100, "SH", b"")) * 500_000),
        minimal() + b"".join(element(0x00210000 + n, "LO", b"") for n in range(500_000)),
    )
    for flood in floods:
        started = time.process_time()
        assert "more" in refused(flood)
        assert time.process_time() - started < 5


def deflated(data: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeezer.compress(data) + squeezer.flush()


def test_B12_a_deflated_data_set_is_scanned_as_explicit_little_endian() -> None:
    small = minimal([(0x00100020, "LO", b"PATIENT1")])
    large = small + element(0x7FE00010, "OW", bytes(9 * MIB))
    for data in (small, large):
        for padding in (b"", b"\0"):
            header = read(deflated(data) + padding, DEFLATED)
            assert header.particulars["patient"]["00100020"]["Value"] == ["PATIENT1"]


def test_B12_a_deflate_bomb_is_refused_and_memory_stays_flat() -> None:
    bomb = deflated(minimal() + element(0x7FE00010, "OW", b"", length=256 * MIB) + bytes(256 * MIB))
    assert len(bomb) < MIB
    tracemalloc.start()
    try:
        assert "inflates past" in refused(bomb, DEFLATED)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


def test_B12_the_ratio_counts_from_its_floor_on_and_the_size_always() -> None:
    data = deflated(minimal() + element(0x7FE00010, "OW", bytes(2 * MIB)))
    assert read(data, DEFLATED).sop_instance_uid == INSTANCE
    assert "inflates past" in refused(data, DEFLATED, replace(Limits(), deflate_ratio_from=MIB))
    assert "inflates past" in refused(data, DEFLATED, replace(Limits(), inflated_size_max=MIB))


@edges
@pytest.mark.parametrize("limit", ["inflated_size_max", "deflate_ratio_from"])
def test_D21_B12_a_data_set_inflates_to_so_many_bytes_and_no_more(limit: str, off: int) -> None:
    plain = image(64, 64)
    limits = Limits(deflate_ratio_max=1, **{limit: len(plain) - off})
    if off <= 0:
        assert read(deflated(plain), DEFLATED, limits=limits).sop_instance_uid == INSTANCE
    else:
        assert "inflates past" in refused(deflated(plain), DEFLATED, limits)


@edges
def test_D21_B12_a_data_set_inflates_to_so_many_times_its_size_and_no_more(off: int) -> None:
    """The size is that of the first image that lies so near to a whole multiple."""
    ratio, data = next(
        (ratio, squeezed)
        for pixels in range(0, 4_000, 2)
        for plain in [minimal() + element(0x7FE00010, "OW", bytes(pixels))]
        for squeezed in [deflated(plain)]
        for ratio in range(2, 40)
        if len(plain) == ratio * len(squeezed) + off
    )
    limits = Limits(deflate_ratio_from=1, deflate_ratio_max=ratio)
    if off <= 0:
        assert read(data, DEFLATED, limits=limits).sop_instance_uid == INSTANCE
    else:
        assert "inflates past" in refused(data, DEFLATED, limits)


def test_B07_a_cut_damaged_or_continued_deflated_data_set_is_refused() -> None:
    data = deflated(image(64, 64))
    for offset in range(0, len(data) - 1, 7):
        refused(data[:offset], DEFLATED)
    assert "after the end" in refused(data + b"\0\0", DEFLATED)
    assert "damaged" in refused(b"\xff" + data, DEFLATED)


def test_a_gzip_trailer_after_a_deflated_data_set_is_accepted() -> None:
    inflated = minimal()
    trailer = struct.pack("<II", zlib.crc32(inflated), len(inflated))
    assert read(deflated(inflated) + trailer, DEFLATED).sop_instance_uid == INSTANCE


@pytest.mark.parametrize("form", ["<HH2sH", "<HH2sHI"])
def test_B17_an_unknown_vr_is_taken_as_unknown_with_either_length(form: str) -> None:
    numbers = (8,) if form == "<HH2sH" else (0, 8)
    odd = struct.pack(form, 0x0018, 0x9999, b"ZZ", *numbers) + b"12345678"
    data = (
        element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0")
        + element(0x00080018, "UI", b"1.2.3.4\0")
        + odd
        + element(0x0020000D, "UI", b"1.2\0")
        + element(0x0020000E, "UI", b"1.2.3\0")
        + element(0x00200010, "SH", b"ID")
    )
    header = read(data)
    assert header.particulars["study"]["00200010"]["Value"] == ["ID"]
    assert header.warnings == ("elements have an unknown VR",)


def test_B17_an_empty_element_of_unknown_vr_does_not_swallow_the_next() -> None:
    data = minimal()
    odd = struct.pack("<HH2sH", 0x0010, 0x9999, b"ZZ", 0)
    at = data.index(struct.pack("<HH", 0x0020, 0x000D))
    header = read(data[:at] + odd + data[at:])
    assert header.study_instance_uid == "1.2"


def test_B17_vr_un_everywhere_is_read_by_the_dictionary() -> None:
    elements = [
        (0x00080016, "UN", b"1.2.840.10008.5.1.4.1.1.2\0"),
        (0x00080018, "UN", b"1.2.3.4\0"),
        (0x00100010, "UN", b"Doe^Jane"),
        (0x0020000D, "UN", b"1.2\0"),
        (0x0020000E, "UN", b"1.2.3\0"),
        (0x00280010, "UN", struct.pack("<H", 512)),
    ]
    header = read(minimal(elements))
    assert header.particulars["patient"]["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert header.attributes["00280010"] == {"vr": "US", "Value": [512]}


def test_B17_private_elements_of_any_vr_are_jumped_over() -> None:
    private = [(0x00091001, vr, b"\xff\xfe\x00\xe0" * 4) for vr in ("LO", "SQ")]
    assert read(minimal(private[:1])).warnings == ()
    private_implicit = minimal([(0x00091001, "", b"\xfe\xff\x00\xe0\xff\xff\xff\xff")], IMPLICIT)
    assert read(private_implicit, IMPLICIT).sop_instance_uid == INSTANCE


@pytest.mark.parametrize("vr", ["UN", "SQ"])
@pytest.mark.parametrize("inner", [IMPLICIT, EXPLICIT])
def test_a_sequence_of_undefined_length_may_hold_implicit_items(vr: str, inner: str) -> None:
    content = element(0x00080100, "SH", b"CODE", inner) + element(0x00080104, "LO", b"MEANING ", inner)
    value = item(content, undefined=True) + sequence_end()
    data = minimal()
    at = data.index(struct.pack("<HH", 0x0020, 0x000D))
    procedure = element(0x00081032, vr, value, EXPLICIT, UNDEFINED)
    header = read(data[:at] + procedure + data[at:])
    (code,) = header.particulars["study"]["00081032"]["Value"]
    assert code["00080100"]["Value"] == ["CODE"]
    assert header.warnings == (("an item is encoded in implicit VR",) if (vr, inner) == ("SQ", IMPLICIT) else ())


def test_a_sequence_of_unknown_vr_in_big_endian_is_little_endian() -> None:
    content = element(0x00080100, "SH", b"CODE", IMPLICIT)
    value = item(content, undefined=True) + sequence_end()
    data = minimal(syntax=BIG_ENDIAN) + element(0x0040A730, "UN", value, BIG_ENDIAN, UNDEFINED)
    assert read(data, BIG_ENDIAN).sop_instance_uid == INSTANCE
    assert "no item" in refused(data.replace(b"\xfe\xff", b"\xff\xfe"), BIG_ENDIAN)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_B21e_an_element_twice_is_refused(syntax: str) -> None:
    twice = element(0x00200010, "SH", b"ID", syntax) * 2
    assert "stands twice" in refused(minimal(syntax=syntax) + twice, syntax)
    apart = element(0x00200010, "SH", b"ID", syntax) + element(0x00200013, "IS", b"1 ", syntax)
    assert "stands twice" in refused(minimal(syntax=syntax) + apart + apart, syntax)


def test_B21e_an_element_twice_within_an_item_is_refused() -> None:
    content = element(0x00080100, "SH", b"AB") * 2
    assert "stands twice" in refused(minimal() + element(0x0040A730, "SQ", item(content)))


def test_B21e_elements_out_of_order_are_accepted_with_a_warning() -> None:
    header = read(element(0x00200010, "SH", b"ID") + minimal([(0x00100020, "LO", b"PATIENT1")]))
    assert header.particulars["study"]["00200010"]["Value"] == ["ID"]
    assert header.particulars["patient"]["00100020"]["Value"] == ["PATIENT1"]
    assert header.warnings == ("the elements are not in the order of their tags",)


@pytest.mark.parametrize("group", [0x0000, 0x0002])
def test_B21e_elements_of_group_0_and_2_are_accepted_with_a_warning_and_not_indexed(group: int) -> None:
    header = read(element(group << 16 | 0x10, "UI", text("1.2.840")) + minimal())
    assert header.warnings == (f"the data set holds elements of group {group:04X}",)
    assert not any(tag.startswith(f"{group:04X}") for tag in header.attributes)


@pytest.mark.parametrize("tag", [0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFF0000])
def test_delimiters_where_none_may_be_are_refused(tag: int) -> None:
    refused(minimal() + struct.pack("<HHI", tag >> 16, tag & 0xFFFF, 0))
    refused(minimal() + element(tag, "LO", b"AB"))


def test_an_undefined_length_is_refused_where_the_vr_does_not_allow_it() -> None:
    for vr in ("UT", "UC"):
        assert "undefined length" in refused(minimal() + element(0x00281111, vr, b"", length=UNDEFINED))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("head_max", [0, 9, 61, 64, 127, 4096])
def test_a_header_longer_than_what_is_in_memory_reads_the_same(syntax: str, head_max: int) -> None:
    order = ORDER[syntax]
    codes = b"".join(
        item(element(0x00080100, "SH", text(f"CODE{number}"), syntax), undefined=number % 2 == 0, order=order)
        for number in range(30)
    )
    extra = [
        (0x00081032, "SQ", codes),
        (0x00104000, "LT", b"comment " * 100),
        (0x00200010, "SH", b"ID"),
        (0x00204000, "UT", bytes(300_000)),
        (0x00281050, "DS", b"40\\50 "),
    ]
    data = minimal(extra, syntax)
    assert read(data, syntax, head_max=head_max) == read(data, syntax, head_max=len(data))
