"""Images shown by softcopy presentation states (C7.10; PS3.18 8.3.5.1, PS3.4 N.2), beside what DCMTK shows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ColorSoftcopyPresentationStateStorage, PseudoColorSoftcopyPresentationStateStorage

from adapters.codecs.transcoder import Transcoder
from adapters.rendering.glyphs import glyph
from domain.errors import NotThere, Refused
from domain.rendering import ALL_FRAMES, PNG, Region, Rendering
from tests.codecs.pictures import made, opened, saved, transcoded
from tests.rendering.states import annotation, area, graphic, layer, of, reference, state_of
from tests.rendering.test_pipeline import Pixels, stored_values, stretched, table

Show = Callable[..., Pixels]


@pytest.fixture
def show(transcoder: Transcoder, tmp_path: Path) -> Show:
    """The pixels of an image that is shown by a state."""

    def rendered(image: Dataset, state: Dataset | Path, **asked: Any) -> Pixels:
        path = state if isinstance(state, Path) else saved(state, tmp_path / "state.dcm")
        with opened(saved(image, tmp_path / "image.dcm")) as stored, opened(path) as by:
            answer = transcoder.shown(stored, Rendering((PNG,), **asked), by)
        try:
            return np.asarray(imagecodecs.png_decode(os.pread(answer.descriptor, answer.length, 0)))
        finally:
            os.close(answer.descriptor)

    return rendered


def _gray(**how: Any) -> Dataset:
    """An image whose own transformations would all be seen if they were used (PS3.4 N.2: they are not)."""
    image = made(16, 12, **how)
    image.PhotometricInterpretation = "MONOCHROME1"
    image.RescaleSlope, image.RescaleIntercept = "3", "-700"
    image.WindowCenter, image.WindowWidth = "20", "30"
    image.ShutterShape, image.CenterOfCircularShutter, image.RadiusOfCircularShutter = "CIRCULAR", [5, 5], 3
    return image


def _alone(image: Dataset) -> Pixels:
    """What Little CMS makes of the image by its own profile."""
    srgb = imagecodecs.cms_profile("srgb")
    return np.asarray(imagecodecs.cms_transform(stored_values(image), image.ICCProfile, srgb, colorspace="rgb"))


def _linear(x: Any, center: float, width: float) -> Any:
    return np.rint(np.clip((x - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


def test_C7_10_what_a_state_does_not_define_is_identity(show: Show) -> None:
    """N.2: the image's own transformations, shutters and photometric interpretation are not used instead."""
    image = _gray()
    assert np.array_equal(show(image, state_of(image)), stretched(stored_values(image), 0, 4095))
    inverse = show(image, state_of(image, PresentationLUTShape="INVERSE"))
    assert np.array_equal(inverse, 255 - stretched(stored_values(image), 0, 4095))


def test_C7_10_modality_VOI_and_presentation_LUTs_of_the_state(show: Show) -> None:
    """N.2.1.1, N.2.1.3, N.2.1.4; PS3.3 C.11.8: a VOI for images that it names comes before none for others."""
    image, other = _gray(), _gray(seed=1)
    x = stored_values(image).astype(float)
    window = of(WindowCenter="900", WindowWidth="1000")
    state = state_of(image, other, RescaleSlope="0.5", RescaleIntercept="-100", SoftcopyVOILUTSequence=Items([window]))
    assert np.array_equal(show(image, state), _linear(x * 0.5 - 100, 900, 1000))
    window.ReferencedImageSequence = Items([reference(other)])
    assert np.array_equal(show(image, state), stretched(x * 0.5 - 100, -100, 4095 * 0.5 - 100))
    entries = [min(4095, at * at >> 12) for at in range(4096)]
    state = state_of(image, SoftcopyVOILUTSequence=Items([of(VOILUTSequence=Items([table(0, entries, 12)]))]))
    assert np.array_equal(show(image, state), np.rint(np.array(entries)[stored_values(image)] * 255 / 4095))
    del state.PresentationLUTShape
    state.PresentationLUTSequence = Items([table(0, list(range(255, -1, -1)), 8)])
    assert (
        np.abs(show(image, state).astype(int) - (255 - np.array(entries)[stored_values(image)] * 255 / 4095)).max() <= 1
    )


def test_C7_10_pseudo_colours_and_the_profile_of_the_state(show: Show) -> None:
    """N.2.2: all that the VOI gives goes through all of the palette; the state's ICC profile before the image's."""
    image = _gray()
    state = state_of(
        image,
        SOPClassUID=PseudoColorSoftcopyPresentationStateStorage,
        SoftcopyVOILUTSequence=Items([of(WindowCenter="2048", WindowWidth="4096")]),
    )
    del state.PresentationLUTShape
    for number, colour in enumerate(("Red", "Green", "Blue")):
        entries = np.arange(512) * 128 if number else 65535 - np.arange(512) * 128
        setattr(state, f"{colour}PaletteColorLookupTableDescriptor", [512, 0, 16])
        setattr(state, f"{colour}PaletteColorLookupTableData", entries.astype("<u2").tobytes())
    levels = np.rint(stored_values(image) / 4095 * 255)
    entry = np.rint(levels * 511 / 255).astype(int)
    expected = np.stack([(65535 - entry * 128) >> 8, *2 * [entry * 128 >> 8]], axis=-1)
    assert np.array_equal(show(image, state), expected)
    colours = made(8, 8, samples=3, photometric="RGB")
    state = state_of(colours, SOPClassUID=ColorSoftcopyPresentationStateStorage)
    state.ICCProfile = imagecodecs.cms_profile("adobergb")
    own = colours.copy()
    own.ICCProfile = imagecodecs.cms_profile("adobergb")
    assert np.array_equal(show(colours, state), _alone(own))
    assert not np.array_equal(show(colours, state), stored_values(colours))


def test_C7_10_frames_that_are_named_have_their_own(show: Show) -> None:
    """PS3.3 C.11.8, C.10.4: by Referenced Frame Number."""
    image = made(8, 8, frames=3)
    windows = [
        of(WindowCenter=str(center), WindowWidth="50", ReferencedImageSequence=Items([reference(image, *frames)]))
        for center, frames in ((60, (1, 3)), (150, (2,)))
    ]
    state = state_of(image, SoftcopyVOILUTSequence=Items(windows))
    for frame, center in ((1, 60), (2, 150), (3, 60)):
        assert np.array_equal(show(image, state, frame=frame), _linear(stored_values(image)[frame - 1], center, 50))


@pytest.mark.parametrize(("named", "shown"), [((), 0), ((3, 2), 1), ((0, 2), 1), ((-1, 4), 0)])
def test_C7_10_the_first_frame_of_those_that_are_named_and_there_is_shown(
    show: Show, named: tuple[int, ...], shown: int
) -> None:
    image = made(8, 8, frames=3)
    state = state_of(image, frames=named)
    assert np.array_equal(show(image, state, frame=ALL_FRAMES), show(image, state, frame=shown + 1))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["N", "Y"])
def test_C7_10_an_image_is_turned_clockwise_then_flipped(show: Show, degrees: int, flip: str) -> None:
    """PS3.3 C.10.6; C.10.4: the displayed area is in pixels of the image as it was before, from 1 on."""
    image = made(8, 8)
    part = area(0, 0, DisplayedAreaTopLeftHandCorner=[25, 4], DisplayedAreaBottomRightHandCorner=[6, 20])
    state = state_of(
        image, ImageRotation=degrees, ImageHorizontalFlip=flip, DisplayedAreaSelectionSequence=Items([part])
    )
    turned = np.rot90(stored_values(image)[3:20, 5:25], -degrees // 90)
    assert np.array_equal(show(image, state), turned[:, ::-1] if flip == "Y" else turned)


def test_C7_10_an_area_beyond_the_image_is_black_and_a_huge_one_is_refused(show: Show) -> None:
    """PS3.3 C.10.4: the area may reach beyond the image; B59: not without end."""
    image = made(8, 8, rows=4, columns=5)
    wide = area(0, 0, DisplayedAreaTopLeftHandCorner=[-1, 0], DisplayedAreaBottomRightHandCorner=[7, 4])
    state = state_of(image, DisplayedAreaSelectionSequence=Items([wide]))
    assert np.array_equal(show(image, state), np.pad(stored_values(image), ((1, 0), (2, 2))))
    wide.DisplayedAreaBottomRightHandCorner = [2_000_000_000, 4]
    with pytest.raises(Refused):
        show(image, state)


def test_C7_10_sizes(show: Show) -> None:
    """PS3.18 9.5.2.3: scaled to fit where a size is asked for, else as it is; MAGNIFY magnifies, and is cropped."""
    image = made(8, 8, rows=20, columns=30)
    state = state_of(image, ImageRotation=90, ImageHorizontalFlip="N")
    assert show(image, state).shape == (30, 20)
    assert show(image, state, size=(100, 60)).shape == (60, 40)
    state.DisplayedAreaSelectionSequence[0].PresentationPixelAspectRatio = [2, 1]
    assert show(image, state, size=(90, 90)).shape == (68, 90), "a pixel is twice as high as wide, before it is turned"
    state = state_of(image)
    mode = state.DisplayedAreaSelectionSequence[0]
    mode.PresentationSizeMode, mode.PresentationPixelMagnificationRatio = "MAGNIFY", 3.0
    assert show(image, state).shape == (60, 90)
    assert np.array_equal(show(image, state, size=(40, 100)), show(image, state)[:, 25:65])
    mode.PresentationPixelMagnificationRatio = 1e6
    assert max(show(image, state).shape) <= 4096
    half = show(image, state_of(image), region=Region(0.5, 0, 0.5, 1, in_fractions=True))
    assert np.array_equal(half, stored_values(image)[:, 15:]), "9.5.2.4: of what is displayed"


def _plane(state: Dataset, number: int, bits: Pixels, **more: Any) -> None:
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    for element, vr, value in (
        (0x0010, "US", bits.shape[0]),
        (0x0011, "US", bits.shape[1]),
        (0x0040, "CS", "G"),
        (0x0050, "SS", more.get("origin", [1, 1])),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", packed + b"\0" * (len(packed) % 2)),
        *(((0x1001, "CS", more["layer"]),) if "layer" in more else ()),
    ):
        state.add_new(number << 16 | element, vr, value)


def test_C7_10_shutters_of_the_state_also_as_a_bitmap(show: Show) -> None:
    """PS3.3 C.7.6.11, C.7.6.15: a bit of 1 is covered; its overlay is no overlay, whatever layer it names (C.11.7)."""
    image = made(8, 8, rows=20, columns=24)
    values = stored_values(image)
    line, column = np.indices((20, 24)) + 1
    state = state_of(image, ShutterShape="RECTANGULAR", ShutterPresentationValue=0x4000)
    state.ShutterUpperHorizontalEdge, state.ShutterLowerHorizontalEdge = 3, 12
    state.ShutterLeftVerticalEdge, state.ShutterRightVerticalEdge = 5, 20
    seen = (line >= 3) & (line <= 12) & (column >= 5) & (column <= 20)
    assert np.array_equal(show(image, state), np.where(seen, values, 0x40))
    bits = np.random.default_rng(3).integers(0, 2, (20, 24)).astype(bool)
    state = state_of(image, ShutterShape="BITMAP", ShutterPresentationValue=0x2000, ShutterOverlayGroup=0x6002)
    _plane(state, 0x6002, bits, layer="L")
    assert np.array_equal(show(image, state), np.where(bits, 0x20, values))
    _plane(state, 0x6002, bits[:5, :7], origin=[18, -2])
    covered = np.zeros((20, 24), bool)
    covered[17:, :4] = bits[:3, 3:7]
    assert np.array_equal(show(image, state), np.where(covered, 0x20, values))
    del state[0x60023000]
    assert np.array_equal(show(image, state), values), "a bitmap that is not there covers nothing"


def test_C7_10_overlays_are_those_that_the_state_activates(show: Show) -> None:
    """PS3.3 C.11.7, C.10.7: in the order and the gray of their layers; the state's own before the image's."""
    image = made(8, 8)
    image.PixelData = b"\x40" * len(image.PixelData)
    rng = np.random.default_rng(4)
    own, other, hidden = (rng.integers(0, 2, (33, 31)).astype(bool) for _ in range(3))
    for number, bits in ((0x6000, own), (0x6002, other), (0x6004, hidden)):
        _plane(image, number, bits)
    state = state_of(image, GraphicLayerSequence=Items([layer("LOW", 1, 100), layer("HIGH", 2, 200)]))
    state.add_new(0x60001001, "CS", "HIGH")
    state.add_new(0x60021001, "CS", "LOW")
    assert np.array_equal(show(image, state), np.where(own, 200, np.where(other, 100, 0x40)))
    _plane(state, 0x6000, hidden, layer="HIGH")
    assert np.array_equal(show(image, state), np.where(hidden, 200, np.where(other, 100, 0x40)))


def test_C7_10_graphics_are_drawn_where_they_belong(show: Show) -> None:
    """PS3.3 C.10.5: in pixels of the image, turned and scaled with it, or in fractions of the displayed area."""
    image = made(8, 8, rows=40, columns=60)
    image.PixelData = bytes(2400)
    layers = Items([layer("A", 2, 200), layer("B", 1, 100)])
    square = graphic("POLYLINE", (10, 5), (20, 5), (20, 15), (10, 15), (10, 5), filled="Y")
    state = state_of(image, GraphicLayerSequence=layers, GraphicAnnotationSequence=Items([annotation("A", square)]))
    got = show(image, state)
    expected = np.zeros((40, 60), np.uint8)
    expected[5:16, 10:21] = 200
    assert np.array_equal(got, expected), "and its outline, which lies on the pixels' edges"
    twice = show(image, state, size=(120, 80))
    assert np.array_equal(np.argwhere(twice).min(axis=0), (10, 20))
    assert np.array_equal(np.argwhere(twice).max(axis=0), (30, 40))
    state.ImageRotation, state.ImageHorizontalFlip = 90, "N"
    turned = show(image, state)
    assert (np.argwhere(turned).min(axis=0), np.argwhere(turned).max(axis=0)) == (
        pytest.approx((10, 25)),
        pytest.approx((20, 35)),
    )
    cross = annotation("B", graphic("POLYLINE", (0, 0.5), (1, 0.5), units="DISPLAY"), graphic("POINT", (35.5, 9.5)))
    state = state_of(image, GraphicLayerSequence=layers, GraphicAnnotationSequence=Items([cross]))
    got = show(image, state)
    assert np.all(got[20] == 100)
    assert np.all(got[9, 32:39] == 100)
    assert np.all(got[6:13, 35] == 100)
    assert np.count_nonzero(got) == 60 + 13


@pytest.mark.parametrize(
    ("kind", "points", "within"),
    [
        ("CIRCLE", [(30, 20), (30, 8)], lambda x, y: np.hypot(x - 30, y - 20) < 12),
        ("ELLIPSE", [(10, 20), (50, 20), (30, 12), (30, 28)], lambda x, y: np.hypot((x - 30) / 20, (y - 20) / 8) < 1),
        ("INTERPOLATED", [(10, 10), (50, 10), (50, 30), (10, 30), (10, 10)], None),
    ],
)
def test_C7_10_round_graphics(show: Show, kind: str, points: list[tuple[float, float]], within: Any) -> None:
    """PS3.3 C.10.5.1.2: a circle by its middle and a point on it, an ellipse by the ends of its axes."""
    image = made(8, 8, rows=40, columns=60)
    image.PixelData = bytes(2400)
    drawn = annotation("A", graphic(kind, *points, filled="Y"))
    got = show(image, state_of(image, GraphicAnnotationSequence=Items([drawn]))) > 0
    y, x = np.indices((40, 60)) + 0.5
    if within is None:
        assert all(got[int(row) - (row == 40), int(column)] for column, row in points), "it goes through its points"
        assert got[20, 30]
        return
    far = np.minimum(np.abs(np.gradient(within(x, y).astype(float))[0]), 1) + np.abs(
        np.gradient(within(x, y).astype(float))[1]
    )
    assert np.array_equal(got[far == 0], within(x, y)[far == 0])


def _written(text: str) -> Pixels:
    """A line of letters as they stand in the font."""
    cells = [np.unpackbits(np.frombuffer(glyph(one), np.uint8)).reshape(13, 8)[:, :7] for one in text]
    return np.concatenate(cells, axis=1).astype(bool)


@pytest.mark.parametrize("text", ["R", "12,5 mm", "Опухоль", "λ = 3 µm", "1.\r\n2."])
@pytest.mark.parametrize(("place", "left"), [("LEFT", 5), ("RIGHT", 95), ("CENTER", 50)])
def test_C7_10_texts_stand_in_their_boxes(show: Show, text: str, place: str, left: int) -> None:
    """PS3.3 C.10.5: at the top of the box, to one side or in its middle, with an edge that is read on any ground."""
    image = made(8, 8, rows=60, columns=100)
    image.PixelData = b"\x40" * 6000
    item = of(
        UnformattedTextValue=text,
        BoundingBoxAnnotationUnits="PIXEL",
        BoundingBoxTopLeftHandCorner=[5.0, 10.0],
        BoundingBoxBottomRightHandCorner=[95.0, 50.0],
        BoundingBoxTextHorizontalJustification=place,
    )
    drawn = annotation("A", TextObjectSequence=Items([item]))
    got = show(image, state_of(image, GraphicAnnotationSequence=Items([drawn])))
    lines = [_written(line) for line in text.split("\r\n")]
    width = max(line.shape[1] for line in lines)
    begin = int(left - width * {"LEFT": 0, "RIGHT": 1, "CENTER": 0.5}[place])
    for number, line in enumerate(lines):
        part = got[10 + 13 * number :, begin:][:13, : line.shape[1]]
        assert np.array_equal(part == 255, line)
    assert set(np.unique(got)) == {0, 0x40, 255}


def test_C7_10_texts_beside_anchors_and_letters_that_no_font_has(show: Show) -> None:
    """PS3.3 C.10.5: without a box a text is at its anchor, to which a line leads where it is to be seen."""
    image = made(8, 8, rows=60, columns=100)
    image.PixelData = b"\x40" * 6000
    item = of(
        UnformattedTextValue="漢",
        AnchorPointAnnotationUnits="DISPLAY",
        AnchorPoint=[0.5, 0.5],
        AnchorPointVisibility="N",
    )
    state = state_of(image, GraphicAnnotationSequence=Items([annotation("A", TextObjectSequence=Items([item]))]))
    got = show(image, state)
    assert np.array_equal(got[23:36, 54:61] == 255, _written("\ufffd"))
    bare = np.count_nonzero(got == 255)
    item.AnchorPointVisibility = "Y"
    assert np.count_nonzero(show(image, state) == 255) > bare
    item.AnchorPoint = [float("nan"), 1e30]
    assert np.all(show(image, state) == 0x40), "nowhere"
    del item.AnchorPoint
    assert np.all(show(image, state) == 0x40)


def test_C7_10_annotations_come_last(show: Show) -> None:
    """PS3.18 8.3.5.1.1: when all else is done."""
    image = made(8, 8, rows=60, columns=100)
    image.PixelData = b"\x40" * 6000
    image.PatientName, image.SpecificCharacterSet = "Жук^Иван", "ISO_IR 192"
    got = show(image, state_of(image, ImageRotation=90), size=(200, 300), annotations=("patient",))
    name = _written("Жук, Иван")
    assert np.array_equal(got[4:17, 4 : 4 + name.shape[1]] == 255, name)


def test_C7_10_endless_graphics_and_texts_are_refused(show: Show) -> None:
    """B59."""
    image = made(8, 8)
    texts = Items([of(UnformattedTextValue="x", AnchorPoint=[1.0, 1.0]) for _ in range(1001)])
    with pytest.raises(Refused):
        show(image, state_of(image, GraphicAnnotationSequence=Items([of(GraphicLayer="A", TextObjectSequence=texts)])))
    many = graphic("POLYLINE", *(((at % 30), (at % 7)) for at in range(8_000)))
    with pytest.raises(Refused):
        show(image, state_of(image, GraphicAnnotationSequence=Items([annotation("A", *13 * [many])])))
    odd = [
        graphic("POLYLINE"),
        graphic("CIRCLE", (1, 1)),
        graphic("ELLIPSE", (1, 1), (2, 2)),
        graphic("SPIRAL", (1, 1), (2, 2)),
        graphic("POLYLINE", (float("nan"), 1), (2, 2)),
        graphic("POLYLINE", (-1e30, 1), (1e30, 1), (float("inf"), 2)),
        graphic("POINT", (1e30, -1e30)),
    ]
    got = show(image, state_of(image, GraphicAnnotationSequence=Items([annotation("A", *odd)])))
    assert got.shape == (33, 31)


def test_C7_10_a_state_of_another_image_shows_nothing_and_any_syntax_will_do(
    show: Show, transcoder: Transcoder, tmp_path: Path
) -> None:
    image, other = made(8, 8), made(8, 8, seed=2)
    with pytest.raises(NotThere):
        show(image, state_of(other))
    state = state_of(image, ImageRotation=90, ImageHorizontalFlip="Y")
    expected = show(image, state)
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"):
        path = transcoded(transcoder, saved(state, tmp_path / "plain.dcm"), syntax)
        assert np.array_equal(show(image, path), expected)


def test_C7_10_DCMTK_shows_the_same(show: Show, tmp_path: Path) -> None:
    """dcmp2pgm, which applies LUTs and shutters, then turns and flips, but draws no graphics."""
    image = _gray(rows=40, columns=60)
    state = state_of(
        image,
        RescaleSlope="2",
        RescaleIntercept="-500",
        RescaleType="US",
        ImageRotation=270,
        ImageHorizontalFlip="Y",
        SoftcopyVOILUTSequence=Items([of(WindowCenter="3000", WindowWidth="2500")]),
        PresentationLUTShape="INVERSE",
        PresentationCreationDate="20260101",
        PresentationCreationTime="120000",
    )
    got = show(image, state)
    target = tmp_path / "shown.pgm"
    subprocess.run(
        ["dcmp2pgm", "-p", tmp_path / "state.dcm", tmp_path / "image.dcm", target], check=True, capture_output=True
    )
    header, data = target.read_bytes().split(b"255\n", 1)
    columns, rows = (int(one) for one in header.split()[-2:])
    theirs = np.frombuffer(data, np.uint8).reshape(rows, columns)
    assert got.shape == theirs.shape
    assert np.abs(got.astype(int) - theirs).max() <= 1
