"""Icons beside an image (PS3.3 F.7): whatever syntax the image goes in, they are one that the syntax allows (TS-3)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from adapters.codecs.transcoder import Transcoder
from domain.errors import Refused
from domain.transcoding import (
    ENCODED_LOSSLESS,
    EXPLICIT,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    NATIVE,
    RLE,
)
from tests.codecs.pictures import made, opened, saved, transcoded


def beside(image: Dataset, icon: Dataset, *, undefined_length: bool) -> Dataset:
    small = Dataset()
    for keyword in ("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored"):
        setattr(small, keyword, icon[keyword].value)
    small.HighBit, small.PixelRepresentation = icon.HighBit, icon.PixelRepresentation
    small.PixelData = icon.PixelData
    small["PixelData"].VR = icon["PixelData"].VR
    small["PixelData"].is_undefined_length = icon["PixelData"].is_undefined_length
    small.is_undefined_length_sequence_item = undefined_length
    image.IconImageSequence = [small]
    image["IconImageSequence"].is_undefined_length = undefined_length
    return image


@pytest.mark.parametrize("undefined_length", [False, True], ids=["defined", "undefined"])
@pytest.mark.parametrize("stored", [JPEG_LS, JPEG_2000_LOSSLESS, JPEG_LOSSLESS_SV1, RLE])
def test_TS_3_a_compressed_icon_goes_uncompressed_in_every_other_syntax(
    transcoder: Transcoder, tmp_path: Path, stored: str, undefined_length: bool
) -> None:
    small = made(8, 8, rows=16, columns=24, seed=1)
    icon = dcmread(transcoded(transcoder, saved(small, tmp_path / "icon.dcm"), stored))
    image = dcmread(transcoded(transcoder, saved(made(), tmp_path / "image.dcm"), stored))
    beside(image, icon, undefined_length=undefined_length).save_as(source := tmp_path / "source.dcm")
    for syntax in {*NATIVE, *ENCODED_LOSSLESS} - {stored}:
        seen = dcmread(transcoded(transcoder, source, syntax))
        (item,) = seen.IconImageSequence
        assert not item["PixelData"].is_undefined_length
        samples = item.PixelData
        assert np.array_equal(np.frombuffer(samples, "u1"), np.frombuffer(small.PixelData, "u1")), syntax
        assert item.PhotometricInterpretation == "MONOCHROME2"
        done = subprocess.run(["dcmdump", "+E", str(seen.filename)], capture_output=True, check=True)
        assert b"E:" not in done.stderr
    native = dcmread(transcoded(transcoder, source, EXPLICIT))
    assert native.PixelData == made().PixelData


def test_TS_3_an_uncompressed_icon_stays_as_it_is(transcoder: Transcoder, tmp_path: Path) -> None:
    icon = made(8, 8, rows=16, columns=24, seed=1)
    source = saved(beside(made(), icon, undefined_length=True), tmp_path / "source.dcm")
    for syntax in ENCODED_LOSSLESS:
        back = dcmread(transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT))
        assert back == dcmread(source)


def test_B14_an_icon_that_cannot_be_decoded_lets_its_object_go_as_it_is_stored_only(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    icon = made(8, 8, rows=16, columns=24)
    icon.PixelData = encapsulate([b"\xff\xd8 no picture"])
    icon["PixelData"].is_undefined_length = True
    image = dcmread(transcoded(transcoder, saved(made(8, 8), tmp_path / "image.dcm"), JPEG_BASELINE))
    beside(image, icon, undefined_length=False).save_as(source := tmp_path / "source.dcm")
    with opened(source) as stored, pytest.raises(Refused):
        transcoder.converted(stored, EXPLICIT)
