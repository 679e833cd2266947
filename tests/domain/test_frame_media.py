"""Which representation of a frame is tried for what was asked for (C7.5, C7.7; PS3.18 8.7.3.3, 8.7.8.2)."""

import pytest

from domain.frame_media import OCTETS, frame_order
from domain.transcoding import (
    EXPLICIT,
    IMPLICIT,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    RLE,
)

MPEG = "1.2.840.10008.1.2.4.102"


@pytest.mark.parametrize(
    ("stored", "asked", "order"),
    [
        (IMPLICIT, ("", ""), [(OCTETS, EXPLICIT)]),
        (RLE, ("", ""), [(OCTETS, EXPLICIT), ("image/dicom-rle", RLE)]),
        (RLE, (OCTETS, ""), [(OCTETS, EXPLICIT)]),
        (RLE, ("", "*"), [("image/dicom-rle", RLE)]),
        (RLE, (OCTETS, "*"), [(OCTETS, RLE)]),
        (IMPLICIT, (OCTETS, "*"), [(OCTETS, EXPLICIT)]),
        (RLE, ("", JPEG_LS), [("image/jls", JPEG_LS)]),
        (RLE, ("image/jp2", ""), [("image/jp2", JPEG_2000_LOSSLESS)]),
        (JPEG_2000, ("image/jp2", ""), [("image/jp2", JPEG_2000)]),
        (JPEG_BASELINE, ("image/jpeg", ""), [("image/jpeg", JPEG_BASELINE)]),
        (RLE, ("image/jpeg", ""), [("image/jpeg", JPEG_LOSSLESS_SV1)]),
        (RLE, ("image/jpeg", JPEG_LS), []),
        (RLE, ("image/x-dicom-rle", ""), [("image/dicom-rle", RLE)]),
        (RLE, ("image/png", "*"), []),
        (RLE, (OCTETS, IMPLICIT), []),
        (JPEG_BASELINE, ("image/jp2", JPEG_2000), []),
        (MPEG, (OCTETS, "*"), [(OCTETS, MPEG)]),
        (MPEG, (OCTETS, ""), []),
        (MPEG, ("", ""), [("video/mp4", MPEG)]),
        (MPEG, ("video/mp4", ""), [("video/mp4", MPEG)]),
        (MPEG, ("video/mpeg", ""), []),
    ],
)
def test_C7_5_C7_7_media_types_of_frames(stored: str, asked: tuple[str, str], order: list[tuple[str, str]]) -> None:
    """PS3.18 Tables 8.7.3-4 and 8.7.3-5."""
    assert frame_order(stored, [(*asked, 1.0)]) == order


def test_C7_5_frames_by_weight_and_as_stored_among_equals() -> None:
    """PS3.18 8.7.8.2; RFC 9110 12.4.2."""
    asked = [("image/jp2", "", 1.0), ("image/jls", "", 1.0), (OCTETS, "", 0.5)]
    jp2, jls, octets = ("image/jp2", JPEG_2000_LOSSLESS), ("image/jls", JPEG_LS), (OCTETS, EXPLICIT)
    assert frame_order(EXPLICIT, asked) == [jp2, jls, octets]
    assert frame_order(JPEG_LS, asked) == [jls, jp2, octets]
