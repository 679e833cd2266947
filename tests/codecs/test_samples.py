"""The samples of pydicom and pynetdicom through the codecs, seen by DCMTK, GDCM, OpenJPEG and pydicom (TS-1, TS-3).

``make test`` takes a representative few, ``make soak`` all.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pynetdicom
import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from adapters.codecs.transcoder import Transcoder
from domain.errors import Refused
from domain.transcoding import (
    BIG_ENDIAN,
    ENCODED,
    ENCODED_LOSSY,
    EXPLICIT,
    HTJ2K,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LS_NEAR,
    LOSSY,
    NATIVE,
    RLE,
)
from tests.archive.samples import SAMPLES
from tests.codecs import toolkits
from tests.codecs.pictures import opened, transcoded

_SOAK = os.environ.get("ANNALS_SOAK") == "1"
REPRESENTATIVE = (
    "693_J2KI.dcm",
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG-lossy.dcm",
    "JPGExtended.dcm",
    "MR_small_bigendian.dcm",
    "SC_rgb_dcmtk_+eb+cy+s2.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_palette.dcm",
    "liver_1frame.dcm",
    "rtdose_1frame.dcm",
    "rtdose_rle.dcm",
)
BROKEN = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "too many tiles",
    "MR_truncated.dcm": "longer than the object",
    "SC_rgb_jpeg.dcm": "VR",
    "badVR.dcm": "not fully described",
}
"""What is damaged, and how the codecs say so."""

_DESCRIBING = {0x00280004, 0x00280006, 0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00010}
_LOSSY_MARKS = {0x00080008, 0x00082111, 0x00089215, 0x00282110, 0x00282112, 0x00282114}
_BOUNDS = {JPEG_BASELINE: 28, JPEG_EXTENDED: 35, JPEG_2000: 48, HTJ2K: 45}
"""Decibels, of the range of the image's samples."""

_BITS = {0x00280101, 0x00280102}
"""They change where an encoder uses more than are stored."""

_LARGE_ENOUGH = 4096
_UNCERTAIN = dict.fromkeys(
    ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm", "SC_rgb_small_odd_jpeg.dcm"), (JPEG_LS_NEAR,)
)
"""Nine pixels: whether the encoder's buffer is large enough for the header depends on their values."""


def _with_pixels() -> dict[str, Path]:
    """Each sample that has pixels and names an instance, by its name."""
    found: dict[str, Path] = {}
    for path in (*SAMPLES.rglob("*"), *(Path(pynetdicom.__file__).parent / "tests" / "dicom_files").glob("*.dcm")):
        if not path.is_file() or path.name in found:
            continue
        try:
            image = dcmread(path)
        except (InvalidDicomError, OSError):
            continue
        named = "SOPClassUID" in image and "TransferSyntaxUID" in image.file_meta
        if named and any(name in image for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            found[path.name] = path
    return found


FILES = _with_pixels()
NAMES = sorted(FILES) if _SOAK else REPRESENTATIVE


def holds(syntax: str, image: Dataset) -> bool:
    """What each syntax can hold, by PS3.5 8.2 and A.4, and by never losing twice (TS-3)."""
    if syntax in NATIVE:
        return True
    if "PixelData" not in image or image.BitsAllocated == 1:
        return False
    was_lossy = image.file_meta.TransferSyntaxUID in LOSSY or image.get("LossyImageCompression") == "01"
    if syntax in LOSSY and (was_lossy or image.PhotometricInterpretation == "PALETTE COLOR"):
        return False
    signed, colour = image.PixelRepresentation == 1, image.SamplesPerPixel == 3
    if syntax == JPEG_BASELINE:
        return bool(image.BitsAllocated == image.BitsStored == 8 and not signed)
    if syntax == JPEG_EXTENDED:
        return bool(image.BitsAllocated == 16 and 9 <= image.BitsStored <= 12 and not signed and not colour)
    if syntax == JPEG_LS_NEAR and (signed or image.BitsStored < (8 if image.BitsAllocated == 8 else 9)):
        return False
    return bool(image.BitsAllocated in (8, 16) or syntax == RLE)


def raw(image: Dataset, without: set[int]) -> dict[int, Any]:
    """Every element's bytes, sequences as their items, group lengths apart."""
    found: dict[int, Any] = {}
    for tag in image.keys():  # noqa: SIM118 - a Dataset's own keys, not its elements
        if tag in without or tag.element == 0:
            continue
        element = image.get_item(tag)
        vr = element.VR
        if vr in (None, "UN") and not tag.is_private:
            vr = dictionary_VR(tag)
        found[int(tag)] = [raw(item, set()) for item in image[tag].value] if vr == "SQ" else element.value or b""
    return found


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_TS_1_TS_3_a_sample_in_every_syntax_that_holds_it_is_the_same_to_other_toolkits(
    transcoder: Transcoder, tmp_path: Path, name: str
) -> None:
    source = tmp_path / "source.dcm"
    shutil.copy(FILES[name], source)
    image = dcmread(source)
    if name in BROKEN:
        with opened(source) as stored, pytest.raises(Refused, match=BROKEN[name]):
            transcoder.converted(stored, RLE)
        return
    native = transcoded(transcoder, source, EXPLICIT)
    expected = _native_as_source(image, source, native)
    for syntax in sorted(ENCODED - set(_UNCERTAIN.get(name, ()))):
        if not holds(syntax, image):
            with opened(source) as stored, pytest.raises(Refused):
                transcoder.converted(stored, syntax)
            continue
        encoded = transcoded(transcoder, source, syntax)
        _check_attributes(dcmread(native), dcmread(encoded), syntax)
        if expected is not None:
            _check_pixels(expected, encoded, syntax)
        encoded.unlink()


def _native_as_source(image: Dataset, source: Path, native: Path) -> toolkits.Array | None:
    """The samples after checking that the native form holds the source's; None where they are floats."""
    if image.file_meta.TransferSyntaxUID != BIG_ENDIAN:
        assert raw(dcmread(native), _DESCRIBING | _LOSSY_MARKS) == raw(dcmread(source), _DESCRIBING | _LOSSY_MARKS)
    decoded = dcmread(native)
    if "PixelData" not in decoded:
        return None
    samples = toolkits.samples_of(decoded)
    if decoded.BitsAllocated == 1:
        return samples
    samples = toolkits.extended(samples, decoded)
    if samples.shape[-1] == 3:
        samples = toolkits.as_rgb(samples, decoded.PhotometricInterpretation)
    for toolkit, other in _seen(source):
        if image.file_meta.TransferSyntaxUID in LOSSY:
            assert toolkits.decibels(samples, other) > 40, toolkit
        else:
            assert np.array_equal(samples, other), toolkit
    return samples


def _seen(path: Path) -> list[tuple[str, toolkits.Array]]:
    """What the toolkits see, colours as RGB."""
    image = dcmread(path)
    found = []
    for toolkit, samples, photometric in toolkits.seen(path):
        if image.BitsAllocated > 1:
            samples = toolkits.extended(samples, image)
        if samples.ndim == 4 and samples.shape[-1] == 3:
            samples = toolkits.as_rgb(samples, photometric)
        found.append((toolkit, samples))
    return found


def _check_attributes(native: Dataset, encoded: Dataset, syntax: str) -> None:
    changing = _DESCRIBING | (_LOSSY_MARKS if syntax in ENCODED_LOSSY else set())
    changing |= _BITS if syntax in (HTJ2K, JPEG_EXTENDED) else set()
    if syntax == BIG_ENDIAN:
        return
    before, after = raw(native, changing), raw(encoded, changing)
    assert before == after, syntax
    if syntax in ENCODED_LOSSY:
        assert encoded.LossyImageCompression == "01"
        assert encoded.LossyImageCompressionRatio > 0
        assert encoded.LossyImageCompressionMethod
        assert encoded.ImageType[0] == "DERIVED"


def _check_pixels(expected: toolkits.Array, encoded: Path, syntax: str) -> None:
    seen = _seen(encoded)
    assert seen, syntax
    for toolkit, samples in seen:
        if syntax not in ENCODED_LOSSY:
            assert np.array_equal(samples, expected), (syntax, toolkit)
        elif syntax == JPEG_LS_NEAR:
            assert np.abs(samples.astype(np.int64) - expected).max() <= 2, (syntax, toolkit)
        elif expected.size >= _LARGE_ENOUGH:
            assert toolkits.decibels(expected, samples) >= _BOUNDS[syntax], (syntax, toolkit)
