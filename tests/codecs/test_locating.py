"""Where frames lie (C7.7): offset tables right, wrong and missing, frames in pieces, frames within bytes."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import JPEG2000Lossless, RLELossless

from adapters.codecs.locating import FrameLocator
from domain.errors import Because, Refused
from domain.limits import Limits
from processes.pixel_ports import Stored
from tests.codecs.pictures import EXPLICIT, made, opened, saved
from tests.edges import edges

FRAMES = [b"\xff\x4f\xff\x51" + bytes([number]) * (58 + 2 * number) for number in range(5)]


def _item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def _encapsulated(path: Path, data: bytes, frames: int, syntax: str = JPEG2000Lossless, **tables: bytes) -> Path:
    image = made(frames=frames)
    for keyword, value in tables.items():
        setattr(image, keyword, value)
    image.PixelData = data
    image["PixelData"].is_undefined_length = True
    image["PixelData"].VR = "OB"
    return saved(image, path, syntax)


def _frames(stored: Stored, numbers: Sequence[int]) -> list[bytes]:
    located = FrameLocator(Limits())(stored)
    found = []
    for number in numbers:
        pieces = located.frame(number)
        found.append(
            b"".join(
                one if isinstance(one, bytes) else os.pread(stored.descriptor, one.length, one.offset) for one in pieces
            )
        )
    return found


def _in_pieces(frames: Sequence[bytes], offsets: bool, wrong: int = 0) -> bytes:
    """Each frame in two fragments."""
    table, at, items = [], 0, b""
    for frame in frames:
        table.append(at + wrong)
        fragments = _item(frame[:30]) + _item(frame[30:])
        items += fragments
        at += len(fragments)
    return _item(struct.pack(f"<{len(table)}I", *table) if offsets else b"") + items


@pytest.mark.parametrize(
    "data",
    [
        encapsulate(FRAMES, has_bot=True),
        encapsulate(FRAMES, has_bot=False),
        _in_pieces(FRAMES, offsets=True),
        _in_pieces(FRAMES, offsets=False),
        _in_pieces(FRAMES, offsets=True, wrong=8),
        _item(struct.pack("<2I", 0, 4)) + b"".join(map(_item, FRAMES)),
        _item(b"") + b"".join(_item(b"") + _item(frame[:30]) + _item(frame[30:]) for frame in FRAMES),
    ],
    ids=["table", "no table", "pieces", "pieces, no table", "pieces, wrong table", "short table", "empty pieces"],
)
def test_C7_7_fragments_are_joined_to_frames(tmp_path: Path, data: bytes) -> None:
    """PS3.5 A.4; PS3.18 8.7.3.3.2: the octet stream without the fragment delimiters."""
    with opened(_encapsulated(tmp_path / "a.dcm", data, len(FRAMES))) as stored:
        assert _frames(stored, range(1, 6)) == FRAMES
        assert _frames(stored, [4]) == [FRAMES[3]]


def test_C7_7_the_extended_offset_table_is_followed(tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.8."""
    data, offsets, lengths = encapsulate_extended(FRAMES)
    path = _encapsulated(
        tmp_path / "a.dcm", data, len(FRAMES), ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths
    )
    with opened(path) as stored:
        assert _frames(stored, [5, 1]) == [FRAMES[4], FRAMES[0]]


def test_C7_7_what_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    """PS3.5 A.4: without offsets only the frames' own markers tell."""
    nameless = [frame.replace(b"\xff\x4f\xff\x51", bytes(4)) for frame in FRAMES]
    for number, (data, count) in enumerate(
        [
            (_in_pieces(nameless, offsets=False), 5),
            (encapsulate(FRAMES), 6),
            (encapsulate(FRAMES)[:-4] + b"\xfe\xff\x0d\xe0", 6),
        ]
    ):
        path = _encapsulated(tmp_path / f"{number}.dcm", data, count, RLELossless)
        with opened(path) as stored, pytest.raises(Refused):
            _frames(stored, [2])


@pytest.mark.parametrize(
    "form",
    [
        {"bits_allocated": 1, "bits_stored": 1, "rows": 5, "columns": 3},
        {"bits_allocated": 1, "bits_stored": 1, "rows": 8, "columns": 4},
        {"bits_allocated": 8, "bits_stored": 8},
        {"bits_allocated": 16, "signed": True},
        {"bits_allocated": 8, "bits_stored": 8, "samples": 3, "photometric": "RGB", "planar": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_C7_7_native_frames_begin_where_the_last_one_ends(tmp_path: Path, form: dict[str, int], vr: str) -> None:
    """PS3.5 8.1.1: frames of one bit a pixel are not padded; each is answered from a byte's first bit on."""
    image = made(frames=3, **form)  # type: ignore[arg-type]
    if vr == "OB" and form["bits_allocated"] == 16:
        vr = "OW"
    image["PixelData"].VR = vr
    path = saved(image, tmp_path / "a.dcm", EXPLICIT)
    expected = dcmread(path).pixel_array
    with opened(path) as stored:
        for number, frame in enumerate(_frames(stored, [1, 2, 3])):
            pixels = expected[number]
            if form["bits_allocated"] == 1:
                assert frame == np.packbits(pixels.ravel(), bitorder="little").tobytes()
            else:
                assert frame == (np.moveaxis(pixels, -1, 0) if form.get("planar") else pixels).tobytes()


def test_C7_7_one_frame_of_many_is_found_without_reading_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PS3.5 A.4: offset tables are there for that."""
    big = [b"\xff\x4f\xff\x51" + bytes(200_000)] * 100
    paths = {
        "table": _encapsulated(tmp_path / "a.dcm", encapsulate(big, has_bot=True), 100),
        "none": _encapsulated(tmp_path / "b.dcm", encapsulate(big, has_bot=False), 100),
        "native": saved(made(frames=100, rows=300, columns=300), tmp_path / "c.dcm"),
    }
    read: list[int] = []
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        data = pread(descriptor, length, offset)
        read.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    for path in paths.values():
        read.clear()
        with opened(path) as stored:
            FrameLocator(Limits())(stored).frame(70)
        assert sum(read) < 300_000


@edges
def test_D21_B14_an_image_has_so_many_frames_and_no_more(tmp_path: Path, off: int) -> None:
    path = saved(made(frames=4 + off), tmp_path / "a.dcm")
    locator = FrameLocator(Limits(decoded_frames_max=4))
    with opened(path) as stored:
        if off <= 0:
            assert locator(stored).count == 4 + off
            return
        with pytest.raises(Refused, match="decoded_frames_max") as refused:
            locator(stored)
        assert refused.value.because is Because.CANNOT_PERFORM_SUB_OPERATIONS
