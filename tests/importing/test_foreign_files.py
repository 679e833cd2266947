"""Files of other makers are read where an object is in them, and refused with a reason where none is (B04 to B06)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.foreign_file import ForeignFile, ForeignFileReader, MediaDirectory, NotAnObject
from adapters.dicom.part10 import file_header
from domain.limits import Limits
from tests.dicom.encoding import CT_CLASS, EXPLICIT, INSTANCE, minimal

IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
READER = ForeignFileReader(Limits())
WHOLE = file_header(CT_CLASS, INSTANCE, EXPLICIT, "X") + minimal()


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


@given(st.binary(max_size=600), st.booleans(), st.integers(0, len(WHOLE)))
def test_noise_is_refused_and_raises_nothing_else(noise: bytes, inside: bool, at: int) -> None:
    data = WHOLE[:at] + noise + WHOLE[at + len(noise) :] if inside else noise
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
