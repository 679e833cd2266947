"""Data sets that no door may take, and the status of their refusal (B07 to B12): one list for C-STORE and STOW-RS."""

from __future__ import annotations

import struct
import zlib

import pytest

from tests.dicom.encoding import element, minimal

RESOURCES, CANNOT_UNDERSTAND = 0xA700, 0xC000
WHOLE = minimal() + element(0x7FE00010, "OW", bytes(512))
MIB = 1024 * 1024


def nested(depth: int) -> bytes:
    """A whole data set with sequences in sequences."""
    opened = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return minimal() + opened * depth + closed * depth


def deflate_bomb() -> bytes:
    """256 MiB of pixels in some hundred kilobytes."""
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data_set = bomb.compress(minimal() + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 256 * MIB))
    for _ in range(256):
        data_set += bomb.compress(bytes(MIB))
    return data_set + bomb.flush()


def many_elements(count: int) -> bytes:
    """A data set with so many empty private elements."""
    tags = ((0x0029 + 2 * (number // 60_000), 0x1000 + number % 60_000) for number in range(count))
    return minimal() + b"".join(struct.pack("<HH2sH", *tag, b"LO", 0) for tag in tags)


BROKEN = [
    pytest.param(b"", CANNOT_UNDERSTAND, id="empty"),
    pytest.param(b"noise that is no data set at all", CANNOT_UNDERSTAND, id="noise"),
    pytest.param(WHOLE[:-1], CANNOT_UNDERSTAND, id="B07-cut"),
    pytest.param(WHOLE[:40], CANNOT_UNDERSTAND, id="B07-cut-early"),
    pytest.param(WHOLE + b"\x10\x00\x10\x00PN\xff\xff", CANNOT_UNDERSTAND, id="B09-length-past-the-end"),
    pytest.param(minimal() + struct.pack("<HH2sHI", 0x0029, 0x1010, b"OB", 0, 2**32 - 2), CANNOT_UNDERSTAND, id="B09"),
    pytest.param(minimal() + struct.pack("<HH2sH", 0x0029, 0x1010, b"LO", 3) + b"abc", CANNOT_UNDERSTAND, id="B09-odd"),
    pytest.param(
        minimal()
        + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 2**32 - 1)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0),
        CANNOT_UNDERSTAND,
        id="B08-encapsulated-without-delimiter",
    ),
    pytest.param(WHOLE + element(0x7FE00010, "OW", bytes(2)), CANNOT_UNDERSTAND, id="B21e-an-element-twice"),
    pytest.param(many_elements(110_000), CANNOT_UNDERSTAND, id="B11-elements"),
    pytest.param(nested(65), CANNOT_UNDERSTAND, id="B10-65-deep"),
    pytest.param(nested(200), CANNOT_UNDERSTAND, id="B10-200-deep"),
    pytest.param(nested(20_000), CANNOT_UNDERSTAND, id="B10-20000-deep"),
    pytest.param(WHOLE + bytes(3 * 512 * 1024), RESOURCES, id="B20-too-large"),
]
