"""What no conversion may change or forget (C8.2, TS-3): seen by DCMTK, GDCM and OpenJPEG, on pictures of every kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from adapters.codecs.transcoder import Transcoder
from domain.errors import Refused
from domain.transcoding import (
    BIG_ENDIAN,
    DEFLATED,
    ENCODED_LOSSLESS,
    EXPLICIT,
    HTJ2K,
    HTJ2K_LOSSLESS,
    IMPLICIT,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    JPEG_LS_NEAR,
    LOSSY,
    RLE,
)
from tests.codecs import toolkits
from tests.codecs.pictures import made, opened, saved, transcoded
from tests.codecs.test_samples import holds

LOSSLESS = (IMPLICIT, BIG_ENDIAN, *ENCODED_LOSSLESS)
few = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Kind:
    """A picture's description; ``beside`` tells which of the unused bits have something in them."""

    bits_allocated: int = 16
    bits_stored: int = 12
    signed: bool = False
    photometric: str = "MONOCHROME2"
    planar: int = 0
    frames: int = 1
    rows: int = 16
    columns: int = 16
    beside: str = ""

    def image(self) -> Dataset:
        described = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "beside"}
        image = made(**described, samples=3 if self.photometric in ("RGB", "YBR_FULL") else 1)
        if self.beside:
            words = np.frombuffer(image.PixelData, "<u2").astype(np.uint16)
            free = 16 - self.bits_stored
            bits = np.random.default_rng(7).integers(0, 1 << free, words.shape).astype(np.uint16)
            if self.beside == "high":
                words |= bits << self.bits_stored
            else:
                words = words << free | bits
                image.HighBit = 15
            image.PixelData = words.tobytes()
        return image


@st.composite
def kinds(draw: st.DrawFn) -> Kind:
    allocated = draw(st.sampled_from((8, 16)))
    stored = draw(st.integers(2, allocated))
    photometric = draw(st.sampled_from(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL")))
    is_gray = photometric.startswith("MONOCHROME")
    signed = is_gray and draw(st.booleans())
    beside = (
        draw(st.sampled_from(("", "high", "low"))) if allocated == 16 and stored < 16 and not signed and is_gray else ""
    )
    return Kind(
        allocated,
        stored,
        signed,
        photometric,
        0 if is_gray or photometric == "PALETTE COLOR" else draw(st.integers(0, 1)),
        draw(st.integers(1, 3)),
        draw(st.integers(8, 24)),
        draw(st.integers(8, 24)),
        beside,
    )


def samples_in(path: Path) -> toolkits.Array:
    return toolkits.samples_of(dcmread(path))


@few
@example(Kind(bits_stored=8), JPEG_LOSSLESS_SV1, JPEG_LS)
@example(Kind(bits_stored=5, signed=True), JPEG_LS, JPEG_LOSSLESS_SV1)
@example(Kind(8, 5), JPEG_LS, RLE)
@example(Kind(bits_stored=5, beside="high"), JPEG_LOSSLESS_SV1, JPEG_LS)
@example(Kind(beside="low"), JPEG_2000_LOSSLESS, JPEG_LS)
@example(Kind(bits_stored=16, signed=True), HTJ2K_LOSSLESS, JPEG_LOSSLESS_SV1)
@example(Kind(bits_stored=16, photometric="PALETTE COLOR"), JPEG_LS, JPEG_2000_LOSSLESS)
@example(Kind(8, 8, photometric="RGB", planar=1, frames=2), JPEG_LS, HTJ2K_LOSSLESS)
@given(kinds(), st.sampled_from(LOSSLESS), st.sampled_from(LOSSLESS))
def test_C8_2_every_bit_of_every_kind_of_picture_survives(
    transcoder: Transcoder, tmp_path: Path, kind: Kind, first: str, second: str
) -> None:
    source = saved(kind.image(), tmp_path / "a.dcm")
    expected = samples_in(source)
    encoded = transcoded(transcoder, source, first)
    back = transcoded(transcoder, transcoded(transcoder, encoded, second), EXPLICIT)
    assert np.array_equal(samples_in(back), expected)
    check(encoded, expected, dcmread(source), kind.beside)


def check(encoded: Path, expected: toolkits.Array, image: Dataset, beside: str = "") -> None:
    """Each toolkit sees the samples; bits beside them are looked at where a toolkit neither clears nor moves them."""
    seen = list(toolkits.seen(encoded))
    assert seen
    for toolkit, samples, _ in seen:
        if not beside:
            assert np.array_equal(toolkits.extended(samples, image), toolkits.extended(expected, image)), toolkit
        elif toolkit in ("DCMTK", "OpenJPEG"):
            assert np.array_equal(samples, expected), toolkit


@pytest.mark.parametrize(
    "kind",
    [
        Kind(8, 8, rows=1, columns=1),
        Kind(signed=True, rows=1, columns=1),
        Kind(rows=1, columns=7),
        Kind(8, 8, rows=5, columns=7, frames=3),
        Kind(8, 8, photometric="RGB", planar=1, rows=1, columns=1),
        Kind(8, 8, photometric="RGB", rows=3, columns=3),
        Kind(bits_stored=16, photometric="RGB", planar=1, rows=5, columns=3),
    ],
    ids=str,
)
def test_TS_1_C8_2_the_smallest_pictures_survive_every_lossless_pair(
    transcoder: Transcoder, tmp_path: Path, kind: Kind
) -> None:
    source = saved(kind.image(), tmp_path / "a.dcm")
    expected = samples_in(source)
    for first in LOSSLESS:
        encoded = transcoded(transcoder, source, first)
        check(encoded, expected, dcmread(source))
        for second in set(LOSSLESS) - {first}:
            back = transcoded(transcoder, transcoded(transcoder, encoded, second), EXPLICIT)
            assert np.array_equal(samples_in(back), expected), (first, second)


def test_C8_2_shared_chrominance_is_seen_alike_by_others(transcoder: Transcoder, tmp_path: Path) -> None:
    """Two pixels share their colour; where they are compressed each has it of its own (PS3.3 C.7.6.3.1.2)."""
    pairs = np.random.default_rng(1).integers(16, 236, (2, 16, 8, 4), np.uint8)
    image = Kind(8, 8, photometric="RGB", frames=2).image()
    image.PhotometricInterpretation, image.PixelData = "YBR_FULL_422", pairs.tobytes()
    source = saved(image, tmp_path / "a.dcm")
    expected = np.stack([pairs[..., [0, 2, 3]], pairs[..., [1, 2, 3]]], axis=3).reshape(2, 16, 16, 3)
    for syntax in set(ENCODED_LOSSLESS) - {DEFLATED}:
        encoded = transcoded(transcoder, source, syntax)
        seen = list(toolkits.seen(encoded))
        assert seen
        for toolkit, samples, _ in seen:
            assert np.array_equal(samples, expected), (syntax, toolkit)


def test_TS_3_colours_of_a_partial_range_go_only_in_native_syntaxes(transcoder: Transcoder, tmp_path: Path) -> None:
    """No photometric interpretation says that each pixel has its colour: YBR_PARTIAL_422 would promise fewer bytes."""
    image = Kind(8, 8, photometric="RGB").image()
    pairs = np.random.default_rng(1).integers(16, 236, (16, 8, 4), np.uint8).tobytes()
    image.PhotometricInterpretation, image.PixelData = "YBR_PARTIAL_422", pairs
    source = saved(image, tmp_path / "a.dcm")
    for syntax in (IMPLICIT, BIG_ENDIAN, DEFLATED):
        assert dcmread(transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT)).PixelData == pairs
    full = Kind(8, 8, photometric="RGB").image()
    other = dcmread(transcoded(transcoder, saved(full, tmp_path / "full.dcm"), RLE))
    other.PhotometricInterpretation = "YBR_PARTIAL_422"
    other.save_as(tmp_path / "other.dcm")
    for path, wanted in ((source, RLE), (tmp_path / "other.dcm", EXPLICIT)):
        with opened(path) as stored, pytest.raises(Refused, match="partial range"):
            transcoder.converted(stored, wanted)


def overlay(image: Dataset, group: int, **values: Any) -> None:
    """An overlay plane as large as the image (PS3.3 C.9.2)."""
    for element, vr, value in (
        (0x0010, "US", image.Rows),
        (0x0011, "US", image.Columns),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", values["allocated"]),
        (0x0102, "US", values["position"]),
    ):
        image.add_new(group << 16 | element, vr, value)
    if "data" in values:
        image.add_new(group << 16 | 0x3000, "OW", values["data"])


def planes(image: Dataset) -> list[Any]:
    """All that is said of overlays."""
    return [element for element in image if element.tag.group >> 8 == 0x60]


def test_C8_2_overlays_survive_in_the_unused_bits_and_in_their_own_element(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    image = Kind(beside="high").image()
    overlay(image, 0x6000, allocated=16, position=12)
    overlay(image, 0x6002, allocated=1, position=0, data=bytes(range(32)))
    source = saved(image, tmp_path / "a.dcm")
    expected = dcmread(source)
    for syntax in LOSSLESS:
        back = dcmread(transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT))
        assert planes(back) == planes(expected)
        assert np.array_equal(back.overlay_array(0x6002), expected.overlay_array(0x6002))
        # The plane in bit 12 of the words (6000,0102).
        assert np.array_equal(samples_in(Path(back.filename)) >> 12 & 1, samples_in(source) >> 12 & 1)


def test_C8_2_an_overlay_in_its_own_element_survives_a_loss_of_the_pixels(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    image = Kind().image()
    overlay(image, 0x6000, allocated=1, position=0, data=bytes(range(32)))
    source = saved(image, tmp_path / "a.dcm")
    for syntax in LOSSY - {JPEG_BASELINE}:
        lossy = dcmread(transcoded(transcoder, source, syntax))
        assert np.array_equal(lossy.overlay_array(0x6000), dcmread(source).overlay_array(0x6000)), syntax


@pytest.mark.parametrize("beside", ["high", "low"])
def test_C8_2_bits_beside_the_samples_are_never_lost(transcoder: Transcoder, tmp_path: Path, beside: str) -> None:
    source = saved(Kind(beside=beside).image(), tmp_path / "a.dcm")
    for syntax in LOSSY:
        with opened(source) as stored, pytest.raises(Refused):
            transcoder.converted(stored, syntax)


@pytest.mark.parametrize("allocated", [8, 16])
def test_C8_2_the_indices_of_a_palette_are_never_compressed_with_loss(
    transcoder: Transcoder, tmp_path: Path, allocated: int
) -> None:
    source = saved(Kind(allocated, allocated, photometric="PALETTE COLOR").image(), tmp_path / "a.dcm")
    for syntax in LOSSY:
        with opened(source) as stored, pytest.raises(Refused):
            transcoder.converted(stored, syntax)


@pytest.mark.parametrize("allocated", [8, 16])
def test_C8_2_a_mask_is_never_compressed_with_loss(transcoder: Transcoder, tmp_path: Path, allocated: int) -> None:
    """All of its samples may become alike within what JPEG-LS is allowed to lose, and most with the wavelets."""
    image = Kind(allocated, 8 if allocated == 8 else 12).image()
    image.PixelData = np.random.default_rng(1).integers(0, 2, (16, 16)).astype(f"<u{allocated // 8}").tobytes()
    source = saved(image, tmp_path / "a.dcm")
    for syntax in LOSSY - {JPEG_EXTENDED if allocated == 8 else JPEG_BASELINE}:
        with opened(source) as stored, pytest.raises(Refused, match="so few values"):
            transcoder.converted(stored, syntax)


@pytest.mark.parametrize(
    ("syntax", "kind", "decibels"),
    [
        (JPEG_2000, Kind(bits_stored=16, signed=True, rows=64, columns=64), 48),
        (JPEG_2000, Kind(signed=True, rows=64, columns=64), 48),
        (HTJ2K, Kind(bits_stored=16, signed=True, rows=64, columns=64), 45),
        (JPEG_EXTENDED, Kind(rows=64, columns=64), 35),
        (JPEG_BASELINE, Kind(8, 8, photometric="RGB", planar=1, rows=64, columns=64), 15),
        (JPEG_BASELINE, Kind(8, 8, photometric="YBR_FULL", rows=64, columns=64), 15),
        (JPEG_LS_NEAR, Kind(8, 8, photometric="RGB", planar=1, rows=64, columns=64), 40),
        (JPEG_2000, Kind(8, 8, photometric="RGB", planar=1, rows=64, columns=64), 40),
    ],
)
def test_C8_2_what_loses_is_still_the_same_picture_to_others(
    transcoder: Transcoder, tmp_path: Path, syntax: str, kind: Kind, decibels: float
) -> None:
    image = kind.image()
    source = saved(image, tmp_path / "a.dcm")
    expected = toolkits.as_rgb(samples_in(source), image.PhotometricInterpretation)
    seen = list(toolkits.seen(transcoded(transcoder, source, syntax)))
    assert seen
    for toolkit, samples, photometric in seen:
        found = toolkits.as_rgb(toolkits.extended(samples, image), photometric)
        assert toolkits.decibels(expected, found) > decibels, toolkit


@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K])
@pytest.mark.parametrize(
    "kind",
    [Kind(8, 8), Kind(8, 8, photometric="RGB"), Kind(), Kind(bits_stored=16), Kind(bits_stored=16, signed=True)],
    ids=["8", "RGB", "12", "16", "signed"],
)
def test_C8_2_what_loses_never_makes_black_of_white(
    transcoder: Transcoder, tmp_path: Path, syntax: str, kind: Kind
) -> None:
    """The loss takes samples at the ends of their range past it; there they stay at the end."""
    image = replace(kind, rows=64, columns=64).image()
    samples = samples_in(saved(image, tmp_path / "range.dcm"))
    low, high = (
        (-(1 << kind.bits_stored - 1), (1 << kind.bits_stored - 1) - 1)
        if kind.signed
        else (0, (1 << kind.bits_stored) - 1)
    )
    checks = np.where(np.random.default_rng(3).integers(0, 2, samples.shape), low, high).astype(samples.dtype)
    image.PixelData = checks.tobytes()
    lossy = transcoded(transcoder, saved(image, tmp_path / "a.dcm"), syntax)
    found = samples_in(transcoded(transcoder, lossy, EXPLICIT))
    assert np.abs(found.astype(np.int64) - checks).max() < (high - low) // 8


@pytest.mark.parametrize(
    "kind",
    [Kind(8, 5), Kind(8, 6, signed=True), Kind(bits_stored=8), Kind(bits_stored=10), Kind(), Kind(signed=True)],
    ids=["8-5", "8-6-signed", "16-8", "16-10", "16-12", "16-12-signed"],
)
@pytest.mark.parametrize("syntax", sorted(LOSSY))
def test_C8_2_what_loses_keeps_its_samples_within_the_bits_that_it_says_are_stored(
    transcoder: Transcoder, tmp_path: Path, syntax: str, kind: Kind
) -> None:
    """A sample past them is shown without its upper bits by others: white would be black."""
    image = replace(kind, rows=64, columns=64).image()
    low, high = (-(1 << kind.bits_stored - 1), 1 << kind.bits_stored - 1) if kind.signed else (0, 1 << kind.bits_stored)
    samples = samples_in(saved(image, tmp_path / "range.dcm"))
    checks = np.where(np.random.default_rng(3).integers(0, 2, samples.shape), low, high - 1).astype(samples.dtype)
    image.PixelData = checks.tobytes()
    source = saved(image, tmp_path / "a.dcm")
    if not holds(syntax, dcmread(source)):
        return
    lossy = transcoded(transcoder, source, syntax)
    for path in (lossy, transcoded(transcoder, lossy, EXPLICIT)):
        described = dcmread(path)
        assert described.HighBit == described.BitsStored - 1
        for toolkit, found, _ in toolkits.seen(path):
            assert np.array_equal(toolkits.extended(found, described), found), toolkit
            assert np.abs(found.astype(np.int64) - checks).max() < (high - low) // 8


@few
@given(
    st.sampled_from((Kind(), Kind(8, 8), Kind(8, 8, photometric="RGB"), Kind(bits_stored=16, signed=True))),
    st.lists(st.sampled_from((EXPLICIT, *LOSSLESS, *LOSSY, *LOSSY)), min_size=2, max_size=6),
)
@example(Kind(), [JPEG_2000, JPEG_LS, HTJ2K])
@example(Kind(8, 8), [JPEG_BASELINE, RLE, JPEG_2000_LOSSLESS, JPEG_LS_NEAR])
@example(Kind(), [HTJ2K, HTJ2K_LOSSLESS, EXPLICIT, JPEG_EXTENDED])
@example(Kind(), [JPEG_LS_NEAR, BIG_ENDIAN, DEFLATED, JPEG_2000])
def test_C8_2_on_no_way_is_anything_lost_twice_or_a_loss_forgotten(
    transcoder: Transcoder, tmp_path: Path, kind: Kind, way: list[str]
) -> None:
    at = saved(kind.image(), tmp_path / "a.dcm")
    samples, losses = samples_in(at), 0
    for syntax in way:
        before = dcmread(at)
        if syntax in LOSSY and losses and syntax != before.file_meta.TransferSyntaxUID:
            with opened(at) as stored, pytest.raises(Refused):
                transcoder.converted(stored, syntax)
            continue
        if syntax == before.file_meta.TransferSyntaxUID:
            continue
        try:
            at = transcoded(transcoder, at, syntax)
        except Refused:
            # Not every syntax holds every picture; what holds none is tested elsewhere.
            assert syntax in LOSSY
            continue
        losses += syntax in LOSSY
        now = dcmread(at)
        assert now.get("LossyImageCompression", "00") == f"{losses:02}"
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod", "DerivationDescription"):
            value = now.get(keyword)
            assert isinstance(value, str | float) if losses else value is None
            assert syntax in LOSSY or value == before.get(keyword)
        assert now.ImageType[0] == ("DERIVED" if losses else "ORIGINAL")
        native = samples_in(transcoded(transcoder, at, IMPLICIT if syntax == EXPLICIT else EXPLICIT))
        assert syntax in LOSSY or np.array_equal(native, samples)
        samples = native
    assert losses <= 1
