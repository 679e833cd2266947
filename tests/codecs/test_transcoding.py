"""Transcoding: lossless ways there and back are the same bytes; DCMTK and GDCM see the same pixels (TS-1, TS-3)."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom.dsutils import split_dataset

from adapters.codecs.transcoder import Transcoder
from domain.errors import Refused
from domain.transcoding import (
    BIG_ENDIAN,
    DEFLATED,
    ENCODED,
    ENCODED_LOSSLESS,
    EXPLICIT,
    HTJ2K,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    IMPLICIT,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    JPEG_LS_NEAR,
    LOSSY,
    NATIVE,
    RLE,
)
from tests.codecs import toolkits
from tests.codecs.pictures import PRIVATE, made, opened, saved, transcoded

KINDS: dict[str, dict[str, Any]] = {
    "8": {"bits_allocated": 8, "bits_stored": 8},
    "12": {},
    "16": {"bits_stored": 16},
    "signed-12": {"signed": True},
    "signed-16": {"signed": True, "bits_stored": 16},
    "rgb": {"bits_allocated": 8, "bits_stored": 8, "samples": 3, "photometric": "RGB"},
    "palette": {"bits_allocated": 8, "bits_stored": 8, "photometric": "PALETTE COLOR"},
    "frames": {"frames": 5},
    "odd-frames": {"bits_allocated": 8, "bits_stored": 8, "frames": 3},
}
KINDS_OF_LOSSY = {
    JPEG_BASELINE: ("8", "rgb"),
    JPEG_EXTENDED: ("12", "frames"),
    JPEG_LS_NEAR: ("12", "rgb", "frames"),
    JPEG_2000: ("12", "signed-16", "rgb", "frames"),
    HTJ2K: ("12", "signed-16", "rgb", "frames"),
}
LOSSLESS = (IMPLICIT, EXPLICIT, BIG_ENDIAN, *ENCODED_LOSSLESS)


def data_set(path: Path) -> bytes:
    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


@pytest.mark.parametrize("kind", KINDS)
def test_TS_3_every_lossless_pair_and_back_gives_the_same_bytes(
    transcoder: Transcoder, tmp_path: Path, kind: str
) -> None:
    source = saved(made(**KINDS[kind]), tmp_path / "source.dcm")
    # Implicit VR forgets the VR of private elements: there the implicit form is what must come back.
    expected = {False: data_set(source), True: data_set(transcoded(transcoder, source, IMPLICIT))}
    for first in LOSSLESS:
        there = transcoded(transcoder, source, first)
        for second in LOSSLESS:
            forgets = IMPLICIT in (first, second)
            back = transcoded(transcoder, transcoded(transcoder, there, second), EXPLICIT)
            got = transcoded(transcoder, back, IMPLICIT) if forgets else back
            assert data_set(got) == expected[forgets], (first, second)


@pytest.mark.parametrize(
    ("syntax", "command"),
    [
        (JPEG_LOSSLESS_SV1, ["dcmdjpeg"]),
        (JPEG_LOSSLESS, ["dcmdjpeg"]),
        (JPEG_LS, ["dcmdjpls"]),
        (RLE, ["dcmdrle"]),
        (DEFLATED, ["dcmconv", "+te"]),
        (BIG_ENDIAN, ["dcmconv", "+te"]),
        (IMPLICIT, ["dcmconv", "+te"]),
        (JPEG_2000_LOSSLESS, ["gdcmconv", "--raw"]),
        (JPEG_LS, ["gdcmconv", "--raw"]),
        (JPEG_LOSSLESS_SV1, ["gdcmconv", "--raw"]),
        (RLE, ["gdcmconv", "--raw"]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_TS_1_other_toolkits_decode_the_same_pixels(
    transcoder: Transcoder, tmp_path: Path, kind: str, syntax: str, command: list[str]
) -> None:
    image = made(**KINDS[kind])
    source = saved(image, tmp_path / "source.dcm")
    encoded, decoded = transcoded(transcoder, source, syntax), tmp_path / "decoded.dcm"
    done = subprocess.run([*command, str(encoded), str(decoded)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pixels = dcmread(decoded)
    assert np.array_equal(pixels.pixel_array, dcmread(source).pixel_array)
    assert pixels[0x0029, 0x1001].value == PRIVATE


@pytest.mark.parametrize(
    ("syntax", "kind", "method", "tolerance"),
    [
        (JPEG_BASELINE, "8", "ISO_10918_1", 40),
        (JPEG_LS_NEAR, "12", "ISO_14495_1", 2),
        (JPEG_2000, "12", "ISO_15444_1", 100),
        (JPEG_2000, "signed-12", "ISO_15444_1", 100),
        (JPEG_EXTENDED, "12", "ISO_10918_1", 40),
        (HTJ2K, "12", "ISO_15444_15", 100),
        (HTJ2K, "signed-16", "ISO_15444_15", 1600),
    ],
)
def test_C8_1_what_is_lossy_says_so_and_is_never_compressed_with_loss_again(
    transcoder: Transcoder, tmp_path: Path, syntax: str, kind: str, method: str, tolerance: int
) -> None:
    image = made(**KINDS[kind])
    source = saved(image, tmp_path / "source.dcm")
    lossy = transcoded(transcoder, source, syntax)
    native = transcoded(transcoder, lossy, EXPLICIT)
    for path in (lossy, native):
        read = dcmread(path)
        assert (read.LossyImageCompression, read.LossyImageCompressionMethod) == ("01", method)
        assert read.LossyImageCompressionRatio > 0
        assert read.ImageType == ["DERIVED", "PRIMARY", "AXIAL"]
        assert read.SOPInstanceUID == image.SOPInstanceUID
    difference = dcmread(native).pixel_array.astype(int) - dcmread(source).pixel_array
    assert abs(difference).max() <= tolerance
    for path in (lossy, native):
        for again in LOSSY - {syntax}:
            with opened(path) as stored, pytest.raises(Refused):
                transcoder.converted(stored, again)


def test_TS_3_overlays_in_the_unused_bits_survive(transcoder: Transcoder, tmp_path: Path) -> None:
    image = made()
    image.PixelData = (np.frombuffer(image.PixelData, "<u2") | 0x4000).astype("<u2").tobytes()
    source = saved(image, tmp_path / "source.dcm")
    for syntax in ENCODED_LOSSLESS:
        back = transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT)
        assert data_set(back) == data_set(source), syntax


def test_TS_3_overlays_in_the_unused_bits_are_never_compressed_with_loss(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    image = made()
    image.PixelData = (np.frombuffer(image.PixelData, "<u2") | 0x4000).astype("<u2").tobytes()
    source = saved(image, tmp_path / "source.dcm")
    for syntax in LOSSY - {JPEG_BASELINE}:
        with opened(source) as stored, pytest.raises(Refused, match="bits beside"):
            transcoder.converted(stored, syntax)


def test_C8_1_what_is_lossless_keeps_the_UID_and_is_not_marked(transcoder: Transcoder, tmp_path: Path) -> None:
    image = made()
    source = saved(image, tmp_path / "source.dcm")
    for syntax in ENCODED_LOSSLESS:
        read = dcmread(transcoded(transcoder, source, syntax))
        assert (read.SOPInstanceUID, read.ImageType) == (image.SOPInstanceUID, image.ImageType), syntax
        assert not {"LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"} & set(
            read.dir()
        ), syntax


def test_C8_2_a_lossless_syntax_after_a_lossy_one_keeps_the_marks_of_the_loss(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    lossy = transcoded(transcoder, saved(made(), tmp_path / "source.dcm"), JPEG_2000)
    marks = dcmread(lossy)
    pixels = dcmread(transcoded(transcoder, lossy, EXPLICIT)).pixel_array
    for syntax in ENCODED_LOSSLESS:
        again = transcoded(transcoder, lossy, syntax)
        read = dcmread(again)
        assert read.LossyImageCompression == "01"
        assert read.LossyImageCompressionRatio == marks.LossyImageCompressionRatio
        assert read.LossyImageCompressionMethod == marks.LossyImageCompressionMethod
        assert read.ImageType == marks.ImageType
        assert np.array_equal(dcmread(transcoded(transcoder, again, EXPLICIT)).pixel_array, pixels), syntax


def test_C8_2_colours_by_plane_survive(transcoder: Transcoder, tmp_path: Path) -> None:
    source = saved(made(**KINDS["rgb"], planar=1, frames=2), tmp_path / "source.dcm")
    expected = dcmread(source).pixel_array
    for syntax in ENCODED_LOSSLESS:
        native = dcmread(transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT))
        assert np.array_equal(native.pixel_array, expected), syntax


def test_C8_2_colours_with_shared_chrominance_survive(transcoder: Transcoder, tmp_path: Path) -> None:
    """YBR_FULL_422: two pixels share their colour; each has it of its own where it is compressed (C.7.6.3.1.2)."""
    pairs = np.random.default_rng(1).integers(0, 256, (32, 16, 4), np.uint8)
    image = made(**{**KINDS["rgb"], "photometric": "YBR_FULL_422"}, rows=32, columns=32)
    image.PixelData = pairs.tobytes()
    source = saved(image, tmp_path / "source.dcm")
    expected = np.stack(
        (
            pairs[..., :2].reshape(32, 32),
            np.repeat(pairs[..., 2], 2, axis=1),
            np.repeat(pairs[..., 3], 2, axis=1),
        ),
        axis=-1,
    )
    for syntax in set(ENCODED_LOSSLESS) - {DEFLATED}:
        native = dcmread(transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT))
        assert native.PhotometricInterpretation == "YBR_FULL", syntax
        samples = np.frombuffer(native.PixelData, np.uint8).reshape(32, 32, 3)
        assert np.array_equal(samples, expected), syntax


@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K])
def test_C8_2_what_may_be_lost_is_a_part_of_the_range_that_the_samples_use(
    transcoder: Transcoder, tmp_path: Path, syntax: str
) -> None:
    image = made(bits_stored=16, signed=True, rows=64, columns=64)
    values = np.frombuffer(image.PixelData, "<i2").astype(int)
    image.PixelData = (900 + values // 400).astype("<i2").tobytes()
    source = saved(image, tmp_path / "source.dcm")
    lossy = transcoded(transcoder, source, syntax)
    for toolkit, samples, _ in toolkits.seen(lossy):
        assert toolkits.decibels(dcmread(source).pixel_array, samples.reshape(64, 64)) > 45, toolkit


@pytest.mark.parametrize("marked", [None, "00"])
@pytest.mark.parametrize(("syntax", "kind"), [(JPEG_BASELINE, "8"), (JPEG_2000, "12"), (HTJ2K, "12")])
def test_C8_2_loss_that_only_the_codestream_tells_of_is_marked_and_not_repeated(
    transcoder: Transcoder, tmp_path: Path, syntax: str, kind: str, marked: str | None
) -> None:
    lossy = transcoded(transcoder, saved(made(**KINDS[kind]), tmp_path / "source.dcm"), syntax)
    image = dcmread(lossy)
    del image.LossyImageCompression
    if marked:
        image.LossyImageCompression = marked
    image.save_as(lossy)
    native = transcoded(transcoder, lossy, EXPLICIT)
    assert dcmread(native).LossyImageCompression == "01"
    with opened(native) as stored, pytest.raises(Refused, match="with loss"):
        transcoder.converted(stored, JPEG_LS_NEAR)


def test_TS_1_HTJ2K_colours_coded_one_by_one_are_told_apart(transcoder: Transcoder, tmp_path: Path) -> None:
    image = made(**KINDS["rgb"])
    image.PhotometricInterpretation = "YBR_FULL"
    source = saved(image, tmp_path / "source.dcm")
    encoded = transcoded(transcoder, source, HTJ2K_LOSSLESS)
    assert dcmread(encoded).PhotometricInterpretation == "YBR_FULL"
    ((toolkit, samples, _),) = toolkits.seen(encoded)
    assert np.array_equal(samples, toolkits.samples_of(dcmread(source))), toolkit
    assert data_set(transcoded(transcoder, encoded, EXPLICIT)) == data_set(source)


def test_TS_1_HTJ2K_with_RPCL_options_goes_by_resolution_and_tells_the_lengths_of_its_parts(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    image = made(rows=300, columns=5000)
    encoded = dcmread(transcoded(transcoder, saved(image, tmp_path / "source.dcm"), HTJ2K_LOSSLESS_RPCL))
    (codestream,) = generate_frames(encoded.PixelData, number_of_frames=1)
    coding = codestream.index(b"\xff\x52")
    progression, levels = codestream[coding + 5], codestream[coding + 9]
    assert (progression, 5000 / 2**levels <= 64) == (2, True)
    assert b"\xff\x55" in codestream[: codestream.index(b"\xff\x90")]
    assert codestream.count(b"\xff\x90\x00\x0a") == levels + 1


def test_TS_3_pixels_that_are_floats_go_only_in_native_syntaxes(transcoder: Transcoder, tmp_path: Path) -> None:
    image = made()
    del image.PixelData
    image.FloatPixelData = np.arange(33 * 31, dtype="<f4").tobytes()
    image.BitsAllocated = 32
    source = saved(image, tmp_path / "source.dcm")
    for syntax in NATIVE:
        back = transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT)
        assert dcmread(back).FloatPixelData == image.FloatPixelData
    with opened(source) as stored, pytest.raises(Refused, match="floats"):
        transcoder.converted(stored, JPEG_2000_LOSSLESS)


def test_TS_3_many_frames_are_shared_among_the_processes_and_stay_in_order(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    source = saved(made(frames=40, rows=512, columns=512), tmp_path / "source.dcm")
    encoded = transcoded(transcoder, source, JPEG_LS)
    assert data_set(transcoded(transcoder, encoded, EXPLICIT)) == data_set(source)


@pytest.mark.parametrize("bits", [16, 32])
def test_TS_3_words_that_came_as_OB_are_seen_alike_in_either_byte_order(
    transcoder: Transcoder, tmp_path: Path, bits: int
) -> None:
    image = made(bits, bits, frames=3)
    image["PixelData"].VR = "OB"
    source = saved(image, tmp_path / "source.dcm")
    expected = toolkits.samples_of(dcmread(source))
    big = transcoded(transcoder, source, BIG_ENDIAN)
    assert np.array_equal(toolkits.samples_of(dcmread(transcoded(transcoder, big, EXPLICIT))), expected)
    ((toolkit, samples, _),) = toolkits.seen(big)
    assert bits == 32 or np.array_equal(samples, expected), toolkit


@pytest.mark.parametrize("bits", [1, 8])
def test_TS_1_frames_that_begin_within_a_big_endian_word_are_seen_alike(
    transcoder: Transcoder, tmp_path: Path, bits: int
) -> None:
    """PS3.5 7.3, 8.1.1: as words the bytes of two frames may lie in one."""
    source = saved(made(bits, bits, frames=3, rows=3, columns=5), tmp_path / "source.dcm")
    expected = toolkits.samples_of(dcmread(source)).ravel()[: 3 * 15]
    big = transcoded(transcoder, source, BIG_ENDIAN)
    before, header, pixels = big.read_bytes().partition(b"\x7f\xe0\x00\x10OB" + bytes(2))
    words = np.frombuffer(pixels[4:], "<u2").astype(">u2").tobytes()
    big.write_bytes(before + header.replace(b"OB", b"OW") + pixels[:4] + words)
    with opened(big) as stored:
        frames = b"".join(transcoder.frame(stored, number).samples for number in (1, 2, 3))
    assert frames == expected.astype("u1").tobytes()
    if bits == 8:
        for toolkit, samples, _ in toolkits.seen(transcoded(transcoder, big, JPEG_LS)):
            assert np.array_equal(samples.ravel(), expected), toolkit


def test_TS_3_empty_fragments_beside_the_frames_are_passed_over(transcoder: Transcoder, tmp_path: Path) -> None:
    source = saved(made(frames=3), tmp_path / "source.dcm")
    image = dcmread(transcoded(transcoder, source, RLE))
    frames = generate_frames(image.PixelData, number_of_frames=3)
    empty = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    image.PixelData = empty + b"".join(encapsulate([frame], has_bot=False) + empty for frame in frames)
    image.save_as(path := tmp_path / "empty.dcm")
    assert dcmread(transcoded(transcoder, path, EXPLICIT)).PixelData == dcmread(source).PixelData


def test_TS_1_a_picture_goes_only_in_syntaxes_whose_decoders_take_its_width(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    for columns in (65_500, 65_502):
        source = saved(made(8, 8, rows=1, columns=columns), tmp_path / "source.dcm")
        expected = toolkits.samples_of(dcmread(source))
        for syntax in ENCODED_LOSSLESS:
            if columns > 65_500 and syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
                with opened(source) as stored, pytest.raises(Refused, match="wide"):
                    transcoder.converted(stored, syntax)
                continue
            seen = [*toolkits.seen(transcoded(transcoder, source, syntax))]
            assert seen, (syntax, columns)
            assert all(np.array_equal(samples, expected) for _, samples, _ in seen), (syntax, columns)


def test_TS_1_one_bit_a_pixel_goes_only_in_native_syntaxes(transcoder: Transcoder, tmp_path: Path) -> None:
    source = saved(made(bits_allocated=1, bits_stored=1, frames=3), tmp_path / "source.dcm")
    for syntax in (IMPLICIT, BIG_ENDIAN, DEFLATED):
        back = transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT)
        assert dcmread(back).PixelData == dcmread(source).PixelData
    with opened(source) as stored, pytest.raises(Refused, match="bits"):
        transcoder.converted(stored, RLE)
    with opened(source) as stored:
        frame = transcoder.frame(stored, 2)
    expected = np.unpackbits(np.frombuffer(dcmread(source).PixelData, "u1"), bitorder="little")
    assert frame.samples == expected[33 * 31 : 2 * 33 * 31].tobytes()


def test_dciodvfy_finds_no_new_error_in_what_was_written(transcoder: Transcoder, tmp_path: Path) -> None:
    def errors(path: Path) -> set[str]:
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
        return {line for line in said.stderr.split("\n") if line.startswith("Error")}

    for kind in ("12", "signed-16", "rgb", "frames"):
        image = made(**KINDS[kind])
        if kind == "rgb":
            image.SOPClassUID, image.Modality = SecondaryCaptureImageStorage, "OT"
        source = saved(image, tmp_path / "source.dcm")
        # Debian's dciodvfy knows neither HTJ2K nor Deflated, also where DCMTK wrote it.
        for syntax in ENCODED - {HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K, DEFLATED}:
            if syntax not in KINDS_OF_LOSSY or kind in KINDS_OF_LOSSY[syntax]:
                assert errors(transcoded(transcoder, source, syntax)) <= errors(source), (kind, syntax)
