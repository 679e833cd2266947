"""Files of other makers are read where an object is in them, and refused with a reason where none is (B04 to B06)."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.foreign_file import ForeignFile, ForeignFileReader, MediaDirectory, NotAnObject
from adapters.dicom.part10 import file_header
from domain.limits import Limits
from tests.dicom.encoding import BIG_ENDIAN, CT_CLASS, DEFLATED, EXPLICIT, IMPLICIT, INSTANCE, minimal

READER = ForeignFileReader(Limits())
WHOLE = file_header(CT_CLASS, INSTANCE, EXPLICIT, "X") + minimal()
STARTS = [b"", WHOLE, WHOLE[132:], *(minimal(syntax=syntax) for syntax in (IMPLICIT, EXPLICIT, BIG_ENDIAN))]


def read(data: bytes) -> ForeignFile:
    descriptor = os.memfd_create("file")
    try:
        os.write(descriptor, data)
        return READER.read(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("data", "offset"),
    [(WHOLE, len(WHOLE) - len(minimal())), (WHOLE[132:], len(WHOLE) - len(minimal()) - 132), (minimal(), 0)],
    ids=["Part 10", "without preamble", "bare"],
)
def test_an_object_is_found_with_and_without_its_header(data: bytes, offset: int) -> None:
    assert read(data) == ForeignFile(CT_CLASS, INSTANCE, EXPLICIT, offset, len(minimal()))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_B06_the_syntax_of_a_bare_data_set_is_told_by_its_first_element(syntax: str) -> None:
    data = minimal(syntax=syntax)
    assert read(data) == ForeignFile(CT_CLASS, INSTANCE, syntax, 0, len(data))


def test_a_deflated_object_is_looked_into() -> None:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(minimal()) + deflater.flush()
    header = file_header(CT_CLASS, INSTANCE, DEFLATED, "X")
    assert read(header + data) == ForeignFile(CT_CLASS, INSTANCE, DEFLATED, len(header), len(data))
    with pytest.raises(NotAnObject):
        read(header + data[:-4])


def test_a_header_with_much_private_information_is_read() -> None:
    private = struct.pack("<HH2sHI", 2, 0x0102, b"OB", 0, 200_000) + bytes(200_000)
    header = file_header(CT_CLASS, INSTANCE, EXPLICIT, "X") + private
    assert read(header + minimal()).offset == len(header)


@pytest.mark.parametrize("uid", [b"1.2.\xff3", b"9." * 40, b"../../etc", b"1..2"])
@pytest.mark.parametrize("tag", [0x00080016, 0x00080018])
def test_B06_an_illegal_UID_is_no_object(tag: int, uid: bytes) -> None:
    with pytest.raises(NotAnObject, match="UID"):
        read(minimal([(tag, "UI", uid + bytes(len(uid) & 1))]))


@pytest.mark.parametrize("syntax", ["\xe9", "1.2.a", "..", "9" * 64])
def test_a_header_with_an_illegal_syntax_is_no_object(syntax: str) -> None:
    data = file_header(CT_CLASS, INSTANCE, syntax, "X") + minimal()
    if syntax.isdigit():
        assert read(data).transfer_syntax_uid == syntax
        return
    with pytest.raises(NotAnObject):
        read(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"x", "not a DICOM file"),
        (b"some text that is longer than a header", "not a DICOM file"),
        (b"PK\x03\x04" + bytes(200), "not a DICOM file"),
        (WHOLE[:140], "header"),
        (WHOLE[: len(WHOLE) - len(minimal())], "header"),
        (WHOLE[:-1], "past the end"),
        (bytes(128) + b"DICM" + bytes(300), "header"),
    ],
)
def test_B04_B05_B06_what_is_no_object_is_refused_with_a_reason(data: bytes, says: str) -> None:
    with pytest.raises(NotAnObject, match=says):
        read(data)


def test_a_DICOMDIR_is_told_apart() -> None:
    with pytest.raises(MediaDirectory):
        read(file_header("1.2.840.10008.1.3.10", INSTANCE, EXPLICIT, "X") + minimal())


@given(st.binary(max_size=600), st.sampled_from(STARTS), st.floats(0, 1))
def test_noise_is_refused_and_raises_nothing_else(noise: bytes, start: bytes, part: float) -> None:
    at = int(part * len(start))
    data = start[:at] + noise + start[at + len(noise) :]
    try:
        file = read(data)
    except (NotAnObject, MediaDirectory):
        return
    assert file.offset + file.length == len(data)


def test_the_descriptor_of_a_pipe_is_an_error_not_a_wait(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises((OSError, NotAnObject)):
            READER.read(reading)
    finally:
        os.close(reading)
        os.close(writing)
