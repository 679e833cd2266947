"""The rendering pipeline against values computed by hand, pydicom's functions and DCMTK's (C7.10, C8.11, B13-B16)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence as Items
from pydicom.uid import EncapsulatedPDFStorage

from adapters.codecs.transcoder import Transcoder
from domain.errors import InvalidInput, NotAcceptable, NotThere, Refused
from domain.limits import Limits
from domain.rendering import ALL_FRAMES, GIF, JPEG, PNG, ColourSpace, Region, Rendering, Window
from tests.archive.samples import SAMPLES
from tests.codecs.pictures import made, opened, saved, transcoded
from tests.edges import edges

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
Pixels = np.ndarray[Any, Any]


def shown(transcoder: Transcoder, path: Path, asked: Rendering) -> tuple[str, bytes, tuple[str, ...]]:
    with opened(path) as stored:
        answer = transcoder.shown(stored, asked)
    try:
        return answer.media_type, os.pread(answer.descriptor, answer.length, 0), answer.notes
    finally:
        os.close(answer.descriptor)


@pytest.fixture
def show(transcoder: Transcoder, tmp_path: Path) -> Callable[..., Pixels]:
    """The pixels that an image is shown as."""

    def rendered(image: Dataset | Path, **asked: Any) -> Pixels:
        path = image if isinstance(image, Path) else saved(image, tmp_path / "image.dcm")
        return np.asarray(imagecodecs.png_decode(shown(transcoder, path, Rendering((PNG,), **asked))[1]))

    return rendered


def stored_values(image: Dataset) -> Pixels:
    return np.asarray(dcmread_of(image).pixel_array)


def dcmread_of(image: Dataset) -> Dataset:
    read = Dataset()
    read.update(image)
    read.ensure_file_meta()
    read.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    return read


def stretched(values: Pixels, low: float, high: float) -> Pixels:
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)


def table(first: int, entries: list[int], bits: int, name: str = "LUT") -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new(0x00283006, "US", entries)
    return item


def group(**macros: Dataset) -> Dataset:
    item = Dataset()
    for keyword, macro in macros.items():
        setattr(item, keyword, Items([macro]))
    return item


def of(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def test_C7_10_a_modality_lut_takes_the_place_of_the_rescale(show: Callable[..., Pixels]) -> None:
    """PS3.3 C.11.1."""
    image = made(8, 8)
    image.ModalityLUTSequence = Items([table(50, [(at * 37) % 4000 for at in range(100)], 16)])
    image.WindowCenter, image.WindowWidth = 2000, 4000
    assert np.array_equal(show(image), expected_levels(image))


def expected_levels(image: Dataset) -> Pixels:
    x = apply_modality_lut(stored_values(image), image).astype(float)
    return np.rint(np.clip((x - (image.WindowCenter - 0.5)) / (image.WindowWidth - 1) + 0.5, 0, 1) * 255)


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_C7_10_a_voi_lut_is_used_where_there_is_no_window(show: Callable[..., Pixels], bits: int) -> None:
    """PS3.3 C.11.2.1.1."""
    image = made(16, 12)
    entries = [min((1 << bits) - 1, at * at >> 8) for at in range(4096)]
    image.VOILUTSequence = Items([table(0, entries, bits)])
    expected = np.array(entries)[stored_values(image)]
    if bits > 8:
        assert np.array_equal(apply_voi_lut(stored_values(image), image), expected)
    assert np.array_equal(show(image), np.rint(expected * 255 / ((1 << bits) - 1)))
    image.WindowCenter, image.WindowWidth = 1000, 2000
    assert np.array_equal(show(image), expected_levels(image)), "a window comes first"
    assert np.array_equal(
        show(image, window=Window(7, 9))[0], np.rint(np.clip((stored_values(image)[0] - 6.5) / 8 + 0.5, 0, 1) * 255)
    ), "the request's window comes before all"


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
    ],
)
def test_C7_10_white_is_where_the_presentation_says(
    show: Callable[..., Pixels], photometric: str, shape: str | None, inverted: bool
) -> None:
    """PS3.3 C.7.6.3.1.2, C.11.6.1.2: MONOCHROME1, Presentation LUT Shape."""
    image = made(8, 8, photometric=photometric)
    if shape:
        image.PresentationLUTShape = shape
    values = stored_values(image)
    assert np.array_equal(show(image), 255 - values if inverted else values)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high_bit", [11, 13, 15])
def test_C7_10_only_the_stored_bits_are_values(show: Callable[..., Pixels], signed: bool, high_bit: int) -> None:
    """PS3.5 8.1.1."""
    image = made(16, 12, signed=signed)
    values = np.frombuffer(image.PixelData, "<i2" if signed else "<u2").astype(np.int32)
    placed = ((values & 0xFFF) << high_bit - 11) | (1 if high_bit > 11 else 0x8000)
    image.PixelData, image.HighBit = (placed & 0xFFFF).astype("<u2").tobytes(), high_bit
    image.WindowCenter, image.WindowWidth = (0 if signed else 2048), 4096
    x = values.reshape(33, 31).astype(float)
    assert np.array_equal(show(image), np.rint(np.clip((x - (image.WindowCenter - 0.5)) / 4095 + 0.5, 0, 1) * 255))


def test_C8_11_what_has_no_window_is_fitted_to_its_values(show: Callable[..., Pixels]) -> None:
    image = made(16, 12)
    values = stored_values(image)
    low, high = np.percentile(values, (0.5, 99.5))
    assert np.array_equal(show(image), stretched(values, low, high))
    padded = values.copy()
    padded[:20] = 4000
    image.PixelData, image.PixelPaddingValue = padded.astype("<u2").tobytes(), 3999
    image.PixelPaddingRangeLimit = 4095
    low, high = np.percentile(padded[padded < 3999], (0.5, 99.5))
    assert np.array_equal(show(image), stretched(padded, low, high)), "padding does not count"
    image.WindowCenter, image.WindowWidth = 100, 0
    assert np.array_equal(show(image), stretched(padded, low, high)), "a window of no width is none"


def test_C7_10_one_bit_thirty_two_bits_and_flat_images(show: Callable[..., Pixels]) -> None:
    """PS3.5 8.1.1; PS3.18 8.7.4: 8 bits per channel."""
    bits = made(1, 1, rows=17, columns=13)
    values = np.unpackbits(np.frombuffer(bits.PixelData, "u1"), bitorder="little")[: 17 * 13].reshape(17, 13)
    assert np.array_equal(show(bits), values * 255)
    deep = made(32, 32)
    values = np.frombuffer(deep.PixelData, "<u4").reshape(33, 31).astype(float)
    assert np.array_equal(show(deep), stretched(values, *np.percentile(values, (0.5, 99.5))))
    flat = made(16, 12)
    flat.PixelData = b"\x07\x00" * (33 * 31)
    assert len(np.unique(show(flat))) == 1


@pytest.mark.parametrize(("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_C7_10_float_pixels(show: Callable[..., Pixels], keyword: str, kind: str) -> None:
    """PS3.3 C.7.6.24."""
    image = made(32, 32, frames=2)
    values = np.linspace(-1.5, 2.5, 2 * 33 * 31).reshape(2, 33, 31)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(image, name)
    image.BitsAllocated = np.dtype(kind).itemsize * 8
    setattr(image, keyword, values.astype(kind).tobytes())
    image.WindowCenter, image.WindowWidth, image.VOILUTFunction = "0.5", "2", "LINEAR_EXACT"
    assert np.array_equal(show(image, frame=2), stretched(values[1].astype(kind).astype(float), -0.5, 1.5))


def test_C7_10_palettes_of_any_kind(show: Callable[..., Pixels]) -> None:
    """PS3.3 C.7.6.3.1.5, C.7.6.3.1.6."""
    image = made(8, 8, photometric="PALETTE COLOR")
    image.RedPaletteColorLookupTableData = bytes(255 - at for at in range(256))
    values = stored_values(image)
    assert np.array_equal(show(image)[..., 0], 255 - values)
    wide = made(16, 12, photometric="PALETTE COLOR")
    for number, colour in enumerate(("Red", "Green", "Blue")):
        setattr(wide, f"{colour}PaletteColorLookupTableDescriptor", [1000, 100, 16])
        entries = (np.arange(1000) * (31 + number) % 65536).astype("<u2")
        entries[-1] = 65535
        setattr(wide, f"{colour}PaletteColorLookupTableData", entries.tobytes())
    assert np.array_equal(show(wide), apply_color_lut(stored_values(wide), wide) >> 8)


def line(begin: int, end: int, length: int) -> list[float]:
    """A linear segment: its first value is a step behind the one before it."""
    return [begin + (end - begin) * step / length for step in range(1, length + 1)]


def test_C7_10_segmented_palettes(show: Callable[..., Pixels]) -> None:
    """PS3.3 C.7.9.2: discrete, linear and indirect segments; the offset of the last is in bytes."""
    image = made(8, 8, photometric="PALETTE COLOR")
    palettes: dict[str, tuple[list[int], list[float]]] = {
        "Red": (
            [0, 2, 0, 1000, 1, 100, 60000, 1, 154, 0],
            [0, 1000, *line(1000, 60000, 100), *line(60000, 0, 154)],
        ),
        "Green": ([0, 1, 5000, 1, 255, 65535], [5000, *line(5000, 65535, 255)]),
        "Blue": (
            [0, 4, 0, 0, 9000, 0, 1, 100, 52000, 2, 1, 12, 0, 1, 52, 65535],
            [0, 0, 9000, 0, *line(0, 52000, 100), *[52000] * 100, *line(52000, 65535, 52)],
        ),
    }
    for colour, (segments, _) in palettes.items():
        delattr(image, f"{colour}PaletteColorLookupTableData")
        setattr(image, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        data = np.array(segments, "<u2").tobytes()
        setattr(image, f"Segmented{colour}PaletteColorLookupTableData", data)
    tables = np.array([np.rint(entries).astype(int) >> 8 for _, entries in palettes.values()])
    assert np.array_equal(show(image), np.moveaxis(tables[:, stored_values(image)], 0, -1))


def test_C7_10_colours_in_every_order(show: Callable[..., Pixels], transcoder: Transcoder, tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.2, C.7.6.3.1.3: RGB, YBR_FULL, by pixel and by plane."""
    image = made(8, 8, samples=3, photometric="RGB")
    by_plane = made(8, 8, samples=3, photometric="RGB", planar=1)
    assert np.array_equal(show(image), stored_values(image))
    assert np.array_equal(show(by_plane), stored_values(image))
    deep = made(16, 12, samples=3, photometric="RGB")
    assert np.array_equal(show(deep), stored_values(deep) >> 4)
    ybr = made(8, 8, samples=3, photometric="YBR_FULL")
    assert np.abs(show(ybr).astype(int) - stored_values(ybr)).max() <= 1, "pydicom's array of YBR is RGB"
    partial = made(8, 8, samples=3, photometric="YBR_PARTIAL_422", rows=1, columns=2)
    partial.PixelData = bytes((16, 235, 128, 128))
    assert show(partial).tolist() == [[[0] * 3, [255] * 3]]
    partial.PixelData = bytes((81, 81, 90, 240))
    assert np.abs(show(partial).astype(int) - [255, 0, 0]).max() <= 1


def test_C7_10_functional_groups_say_it_for_each_frame(show: Callable[..., Pixels]) -> None:
    """PS3.3 C.7.6.16: a frame's own group, else the shared one."""
    image = made(16, 12, frames=2)
    rescale = of(RescaleSlope="2", RescaleIntercept="-100")
    image.SharedFunctionalGroupsSequence = Items([group(PixelValueTransformationSequence=rescale)])
    windows = [of(WindowCenter=str(center), WindowWidth="500") for center in (300, 3000)]
    image.PerFrameFunctionalGroupsSequence = Items([group(FrameVOILUTSequence=one) for one in windows])
    for frame, center in ((1, 300), (2, 3000)):
        x = stored_values(image)[frame - 1] * 2.0 - 100
        assert np.array_equal(show(image, frame=frame), np.rint(np.clip((x - (center - 0.5)) / 499 + 0.5, 0, 1) * 255))


def test_C7_10_any_syntax_is_shown_alike(show: Callable[..., Pixels], transcoder: Transcoder, tmp_path: Path) -> None:
    """PS3.5 10: the encoding says nothing of what is shown."""
    image = made(16, 12, signed=True)
    image.ModalityLUTSequence = Items([table(-2048, list(range(0, 65536, 16)), 16)])
    source = saved(image, tmp_path / "source.dcm")
    expected = show(source)
    for syntax in (_BIG_ENDIAN, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"):
        assert np.array_equal(show(transcoded(transcoder, source, syntax)), expected), syntax


def test_C7_10_pixels_that_are_not_square_are_squared_in_a_viewport(show: Callable[..., Pixels]) -> None:
    """PS3.3 C.7.6.3.1.7; PS3.18 8.3.5.1.3."""
    image = made(8, 8, rows=40, columns=40)
    image.PixelAspectRatio = [2, 1]
    assert show(image).shape == (40, 40), "without a viewport the pixels are those of the source (8.3.5.1.3)"
    assert show(image, size=(80, 80)).shape == (80, 40)


def test_C7_10_scaling_keeps_means_and_makes_no_new_edges(show: Callable[..., Pixels]) -> None:
    """PS3.18 8.3.5.1.3: scaled without distortion."""
    image = made(8, 8, rows=64, columns=64)
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 200
    image.PixelData = checks.astype(np.uint8).tobytes()
    assert np.all(np.abs(show(image, size=(8, 8))[1:-1, 1:-1].astype(int) - 100) <= 2)
    image.PixelData = np.repeat(np.arange(64, dtype=np.uint8) * 4, 64).tobytes()
    assert np.all(np.diff(show(image, size=(640, 640))[:, 0].astype(int)) >= 0)
    part = show(image, region=Region(0.5, 0.25, 0.25, 0.5, in_fractions=True))
    assert np.array_equal(part, stored_values(image)[16:48, 32:48])


def test_C7_10_icc_profiles(show: Callable[..., Pixels], transcoder: Transcoder, tmp_path: Path) -> None:
    """8.3.5.1.5: the object's profile is applied, kept, or left out; well-known ones are embedded."""
    image = made(8, 8, samples=3, photometric="RGB")
    plain = show(image)
    adobe = imagecodecs.cms_profile("adobergb")
    image.ICCProfile = adobe + b"\0" * (len(adobe) % 2)
    path = saved(image, tmp_path / "icc.dcm")
    expected = imagecodecs.cms_transform(stored_values(image), adobe, imagecodecs.cms_profile("srgb"), colorspace="rgb")
    assert np.array_equal(show(path), expected)
    for space, changed, embedded in (
        (ColourSpace.NONE, False, False),
        (ColourSpace.OWN, False, True),
        (ColourSpace.SRGB, True, True),
        (ColourSpace.ROMM_RGB, True, True),
        (ColourSpace.DISPLAY_P3, True, True),
    ):
        data = shown(transcoder, path, Rendering((PNG,), colour_space=space))[1]
        assert (b"iCCP" in data) == embedded, space
        assert np.array_equal(imagecodecs.png_decode(data), plain) != changed, space
        data = shown(transcoder, path, Rendering((JPEG,), colour_space=space))[1]
        assert (b"ICC_PROFILE\0" in data) == embedded
        assert imagecodecs.jpeg8_decode(data).shape == plain.shape
    image.ICCProfile = b"no profile at all" + bytes(111)
    assert np.array_equal(show(image), plain), "what is no profile describes nothing"


def test_C7_10_moving_pictures(transcoder: Transcoder, tmp_path: Path) -> None:
    """PS3.18 Table 8.7.4-1; PS3.3 C.7.6.5.1.1."""
    image = made(8, 8, samples=3, photometric="RGB", frames=5)
    image.FrameTime = "40"
    path = saved(image, tmp_path / "moving.dcm")
    media_type, data, notes = shown(transcoder, path, Rendering(("*/*",), ALL_FRAMES))
    moving = imagecodecs.gif_decode(data)
    assert (media_type, moving.shape, notes) == (GIF, (5, 33, 31, 3), ())
    assert data.count(b"\x21\xf9\x04\x00\x04\x00") == 5
    difference = np.abs(moving.astype(int) - dcmread(path).pixel_array)
    assert difference.mean() < 20, "252 colours and a pattern"
    few = Transcoder(replace(Limits(), rendered_frames_max=2), 1)
    try:
        _, data, notes = shown(few, path, Rendering((GIF,), ALL_FRAMES))
        assert len(imagecodecs.gif_decode(data)) == 2
        assert "One frame of 3" in notes[0]
    finally:
        few.close()


def test_C7_10_the_representative_frame(show: Callable[..., Pixels]) -> None:
    """PS3.18 10.4.1.1.4; PS3.3 C.7.6.6: Representative Frame Number."""
    image = made(8, 8, frames=5)
    frames = stored_values(image)
    assert np.array_equal(show(image), frames[2])
    image.RepresentativeFrameNumber = 5
    assert np.array_equal(show(image), frames[4])
    with pytest.raises(NotThere):
        show(image, frame=6)


@pytest.mark.parametrize(
    "name",
    ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG-lossy.dcm",
     "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_rle_16bit.dcm", "examples_palette.dcm",
     "examples_overlay.dcm", "ExplVR_BigEnd.dcm", "SC_ybr_full_422_uncompressed.dcm", "image_dfl.dcm"],
)  # fmt: skip
def test_C7_10_dcmtk_shows_the_same(show: Callable[..., Pixels], tmp_path: Path, name: str) -> None:
    """Within 1 gray level: DCMTK cuts the fraction of a level, here it is rounded."""
    path = next(SAMPLES.rglob(name))
    header = dcmread(path, stop_before_pixels=True)
    window: list[str] = []
    asked: dict[str, Any] = {}
    if header.PhotometricInterpretation.startswith("MONOCHROME") and header.BitsStored > 8:
        center, width = (600, 1600) if "WindowCenter" not in header else (header.WindowCenter, header.WindowWidth)
        center, width = (float(one if np.isscalar(one) else one[0]) for one in (center, width))
        window, asked = ["+Ww", f"{center}", f"{width}"], {"window": Window(center, width)}
    subprocess.run(["dcmj2pnm", *window, "+on", str(path), str(tmp_path / "theirs.png")], check=True)
    theirs = imagecodecs.png_decode((tmp_path / "theirs.png").read_bytes())
    ours = show(path, frame=1, **asked)
    theirs = theirs[..., 0] if theirs.ndim > ours.ndim else theirs
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def _with_plane(image: Dataset, group: int, plane: Pixels, origin: list[int], **more: Any) -> Dataset:
    bits = np.packbits(plane.ravel(), bitorder="little").tobytes()
    for element, vr, value in (
        (0x0010, "US", plane.shape[-2]),
        (0x0011, "US", plane.shape[-1]),
        (0x0040, "CS", more.get("kind", "G")),
        (0x0050, "SS", origin),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", bits + b"\0" * (len(bits) % 2)),
    ):
        image.add_new(group << 16 | element, vr, value)
    if plane.ndim == 3:
        image.add_new(group << 16 | 0x0015, "IS", plane.shape[0])
        image.add_new(group << 16 | 0x0051, "US", more["first"])
    return image


@pytest.mark.parametrize("origin", [[1, 1], [5, 9], [-2, 20], [30, 30], [100, 1]])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2", "RGB"])
def test_C7_10_overlay_planes_are_drawn_in_white(
    show: Callable[..., Pixels], origin: list[int], photometric: str
) -> None:
    """C.9.2: the plane's first pixel is at its origin, which counts from 1 and may lie outside."""
    gray = photometric != "RGB"
    image = made(8, 8, photometric=photometric, samples=1 if gray else 3)
    image.PixelData = b"\x40" * len(image.PixelData)
    plane = np.random.default_rng(1).integers(0, 2, (13, 17)).astype(bool)
    bare = show(image)
    got = show(_with_plane(image, 0x6002, plane, origin))
    expected = bare.copy()
    for row, column in zip(*np.nonzero(plane), strict=True):
        at = (row + origin[0] - 1, column + origin[1] - 1)
        if 0 <= at[0] < 33 and 0 <= at[1] < 31:
            expected[at] = 255
    assert np.array_equal(got, expected)


def test_C7_10_an_overlay_in_the_high_bits_of_the_pixels(show: Callable[..., Pixels]) -> None:
    """C.9.2 of editions before 2004: Overlay Bit Position names a bit above those of the pixels."""
    image = made(16, 12)
    image.WindowCenter, image.WindowWidth = 2048, 4096
    bare = show(image)
    plane = np.random.default_rng(2).integers(0, 2, (33, 31)).astype(np.uint16)
    image.PixelData = (np.frombuffer(image.PixelData, "<u2").reshape(33, 31) | plane << 13).tobytes()
    for element, vr, value in (
        (0x0010, "US", 33),
        (0x0011, "US", 31),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 16),
        (0x0102, "US", 13),
    ):
        image.add_new(0x60000000 | element, vr, value)
    assert np.array_equal(show(image), np.where(plane, 255, bare))
    image[0x60000102].value = 3
    assert np.array_equal(show(image), bare)


def test_C7_10_overlays_of_frames_and_regions(show: Callable[..., Pixels]) -> None:
    """C.9.3: a multi-frame overlay begins at its Image Frame Origin; of a region its outline is drawn."""
    image = made(8, 8, frames=4, rows=8, columns=5)
    image.PixelData = b"\x40" * 160
    planes = np.zeros((2, 8, 5), bool)
    planes[0, 2, 3] = planes[1, 7, 0] = True
    _with_plane(image, 0x6000, planes, [1, 1], first=2)
    area = np.zeros((8, 5), bool)
    area[1:6, 1:5] = True
    shown_at = [
        {(int(r), int(c)) for r, c in zip(*np.nonzero(show(image, frame=n) == 255), strict=True)} for n in range(1, 5)
    ]
    assert shown_at == [set(), {(2, 3)}, {(7, 0)}, set()]
    _with_plane(image, 0x601E, area, [1, 1], kind="R")
    outline = area.copy()
    outline[2:5, 2:4] = False
    assert np.array_equal(show(image, frame=1) == 255, outline)


def test_C7_10_an_overlay_that_is_cut_is_left_out(show: Callable[..., Pixels]) -> None:
    """PS3.3 C.9.2."""
    image = made(8, 8)
    image.PixelData = b"\x40" * len(image.PixelData)
    bare = show(image)
    _with_plane(image, 0x6000, np.ones((13, 17), bool), [1, 1])
    image[0x60003000].value = b"\xff\xff"
    assert np.array_equal(show(image), bare)


def test_C7_10_shutters_cover_what_is_outside(show: Callable[..., Pixels]) -> None:
    """C.7.6.11: edges count from 1; several shapes cover together; the rest is black or Shutter Presentation Value."""
    image = made(8, 8, rows=20, columns=20)
    image.PixelData = b"\x40" * 400
    line, column = np.indices((20, 20)) + 1
    image.ShutterShape = "RECTANGULAR"
    image.ShutterUpperHorizontalEdge, image.ShutterLowerHorizontalEdge = 3, 12
    image.ShutterLeftVerticalEdge, image.ShutterRightVerticalEdge = 5, 20
    seen = (line >= 3) & (line <= 12) & (column >= 5)
    assert np.array_equal(show(image), np.where(seen, 0x40, 0))
    image.ShutterShape = ["CIRCULAR", "RECTANGULAR"]
    image.CenterOfCircularShutter, image.RadiusOfCircularShutter = [8, 10], 6
    image.ShutterPresentationValue = 0x8000
    round_one = (line - 8) ** 2 + (column - 10) ** 2 <= 36
    assert np.array_equal(show(image), np.where(seen & round_one, 0x40, 0x80))
    image.ShutterShape = "POLYGONAL"
    image.VerticesOfThePolygonalShutter = [2, 2, 2, 18, 18, 2]
    corner = (line > 2) & (column > 2) & (line + column < 20)
    got = show(image)
    assert (got[corner] == 0x40).all()
    assert (got[(line < 2) | (column < 2) | (line + column > 20)] == 0x80).all()


def test_documents_and_videos_may_be_larger_than_a_header(tmp_path: Path) -> None:
    small = Transcoder(replace(Limits(), header_size_max=10_000), 1)
    try:
        document = made()
        document.SOPClassUID = EncapsulatedPDFStorage
        del document.PixelData
        document.MIMETypeOfEncapsulatedDocument = "application/pdf"
        document.EncapsulatedDocument = b"%PDF-1.7" + bytes(100_000)
        path = saved(document, tmp_path / "document.dcm")
        media_type, data, _ = shown(small, path, Rendering(("*/*",), ALL_FRAMES))
        assert (media_type, data) == ("application/pdf", document.EncapsulatedDocument)
        film = made(8, 8, frames=30, samples=3, photometric="YBR_PARTIAL_420")
        film.PixelData = encapsulate([b"ftypfilm" * 2000, b"more"], has_bot=False)
        film["PixelData"].is_undefined_length = True
        path = saved(film, tmp_path / "film.dcm", "1.2.840.10008.1.2.4.102")
        media_type, data, _ = shown(small, path, Rendering(("*/*",), ALL_FRAMES))
        assert (media_type, data) == ("video/mp4", b"ftypfilm" * 2000 + b"more")
        with pytest.raises(NotAcceptable):
            shown(small, path, Rendering((JPEG,), ALL_FRAMES))
        with pytest.raises(Refused):
            shown(small, path, Rendering(("video/mp4",), 1))
    finally:
        small.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"RedPaletteColorLookupTableDescriptor": [0, 0, 8]},
        {"RedPaletteColorLookupTableDescriptor": [256, 0, 12]},
        {"RedPaletteColorLookupTableDescriptor": [256]},
        {"RedPaletteColorLookupTableData": b""},
        {"SegmentedRedPaletteColorLookupTableData": b"\x02\x00\x09\x00\xff\xff\x00\x00"},
        {"SegmentedRedPaletteColorLookupTableData": b"\x07\x00\x01\x00" * 9},
        {"SegmentedRedPaletteColorLookupTableData": b"\x01\x00\xff\xff"},
    ],
)
def test_B16_a_broken_palette_is_refused_alone(show: Callable[..., Pixels], changes: dict[str, Any]) -> None:
    image = made(8, 8, photometric="PALETTE COLOR")
    if any(name.startswith("Segmented") for name in changes):
        image.RedPaletteColorLookupTableDescriptor = [256, 0, 16]
        del image.RedPaletteColorLookupTableData
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    with pytest.raises(Refused):
        show(image)
    assert show(made(8, 8)).shape == (33, 31)


@pytest.mark.parametrize(
    "changes",
    [
        {"ModalityLUTSequence": Items([Dataset()])},
        {"ModalityLUTSequence": Items([table(0, [1, 2, 3], 4)])},
        {"VOILUTSequence": Items([table(0, [1], 33)])},
        {"RescaleSlope": "1e308", "RescaleIntercept": "1e308"},
        {"WindowCenter": "1e308", "WindowWidth": "1e-300", "VOILUTFunction": "SIGMOID"},
        {"PixelAspectRatio": [0, 0]},
        {"PixelAspectRatio": [2147483647, 1]},
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": "-1"},
        {"BitsAllocated": 7},
    ],
)
def test_B15_odd_descriptions_harm_nobody(show: Callable[..., Pixels], changes: dict[str, Any]) -> None:
    image = made(16, 12)
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    said = ""
    try:
        assert show(image, size=(50, 50)).size > 0
    except Refused as refused:
        said = str(refused)
    assert "codec process" not in said, "it was seen, not survived"
    assert show(made(8, 8)).shape == (33, 31)


def test_B59_pictures_are_bounded(transcoder: Transcoder, tmp_path: Path) -> None:
    path = saved(made(8, 8, rows=300, columns=200), tmp_path / "large.dcm")
    small = Transcoder(replace(Limits(), rendered_side_max=100), 1)
    try:
        _, data, notes = shown(small, path, Rendering((PNG,)))
        assert imagecodecs.png_decode(data).shape == (100, 67)
        assert "rendered_side_max" in notes[0]
    finally:
        small.close()
    with pytest.raises(InvalidInput):
        shown(transcoder, path, Rendering((PNG,), region=Region(500, 0, 10, 10)))


def test_F45_a_picture_that_takes_too_long_or_too_much_fails_alone(tmp_path: Path) -> None:
    impatient = Transcoder(replace(Limits(), rendering_timeout_seconds=0.01), 1)
    path = saved(made(8, 8, rows=500, columns=500), tmp_path / "large.dcm")
    try:
        with opened(path) as stored:
            impatient.frame(stored, 1)
        (child,) = impatient._workers.processes()
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(Refused, match="rendering_timeout_seconds"):
            shown(impatient, path, Rendering((PNG,), size=(10, 10)))
    finally:
        impatient.close()
    small = Transcoder(replace(Limits(), codec_memory_max=400 * 1024 * 1024), 1)
    try:
        image = made(8, 8)
        image.Rows = image.Columns = 9000
        image.PixelData = bytes(9000 * 9000)
        huge = saved(image, tmp_path / "huge.dcm")
        with pytest.raises(Refused):
            shown(small, huge, Rendering((PNG,)))
        assert shown(small, path, Rendering((PNG,), size=(10, 10)))[0] == PNG
    finally:
        small.close()


def test_B13_runs_past_the_end_of_an_rle_frame_are_refused_alone(show: Callable[..., Pixels], tmp_path: Path) -> None:
    image = made(16, 12)
    runs = b"\x81\x07" * 20
    image.PixelData = encapsulate([np.array([2, 64, 64 + len(runs), *[0] * 13], "<u4").tobytes() + runs * 2])
    image["PixelData"].is_undefined_length = True
    path = saved(image, tmp_path / "runs.dcm", "1.2.840.10008.1.2.5")
    with pytest.raises(Refused, match="RLE frame cannot be decoded"):
        show(path)


@edges
@pytest.mark.parametrize(("limit", "of_each"), [("rendered_frames_max", 1), ("rendered_pixels_max", 33 * 31)])
def test_D21_B59_a_moving_picture_has_so_many_frames_and_pixels_and_no_more(
    tmp_path: Path, limit: str, of_each: int, off: int
) -> None:
    path = saved(made(8, 8, samples=3, photometric="RGB", frames=5), tmp_path / "moving.dcm")
    few = Transcoder(replace(Limits(), **{limit: 5 * of_each - off}), 1)
    try:
        _, data, notes = shown(few, path, Rendering((GIF,), ALL_FRAMES))
    finally:
        few.close()
    assert len(imagecodecs.gif_decode(data)) == (5 if off <= 0 else 3)
    assert bool(notes) == (off > 0)
