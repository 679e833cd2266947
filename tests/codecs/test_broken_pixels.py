"""Bombs, damage and dying codecs: the object fails alone, the next one goes on (B13 to B15, F45, D20)."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from adapters.codecs.object import _inflate
from adapters.codecs.transcoder import Transcoder
from adapters.codecs.unfit import Unfit
from adapters.codecs.workers import _Child
from domain.errors import Refused
from domain.limits import Limits
from domain.transcoding import (
    ENCODED,
    EXPLICIT,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    JPEG_LS_NEAR,
    NATIVE,
    RLE,
)
from tests.archive.conftest import until
from tests.codecs.pictures import has_message, made, opened, saved, transcoded
from tests.edges import edges

TURNS = 200 if os.environ.get("ANNALS_SOAK") == "1" else 20
"""How often each syntax's codestreams are damaged: more than 1,000 times in ``make soak``."""


def works(transcoder: Transcoder, folder: Path) -> None:
    transcoded(transcoder, saved(made(), folder / "good.dcm"), JPEG_LS)


@pytest.mark.soak
@pytest.mark.parametrize("syntax", sorted(ENCODED - NATIVE))
def test_B13_B14_damaged_codestreams_fail_alone(transcoder: Transcoder, tmp_path: Path, syntax: str) -> None:
    rng = np.random.default_rng(7)
    source = saved(made(8, 8) if syntax == JPEG_BASELINE else made(), tmp_path / "source.dcm")
    whole = transcoded(transcoder, source, syntax).read_bytes()
    begin = whole.index(b"\xe0\x7f\x10\x00") + 28
    end = len(whole) - 8
    path = tmp_path / "damaged.dcm"
    for turn in range(TURNS):
        damaged = bytearray(whole)
        # Every other time only the codestream's header, which decides what is allocated.
        last = min(end, begin + 120) if turn % 2 else end
        for at in rng.integers(begin, last, 1 + turn % 4):
            damaged[at] = rng.integers(256)
        if turn % 10 == 9:
            cut = int(rng.integers(begin, end))
            damaged[cut:end] = bytes(end - cut)
        path.write_bytes(damaged)
        with opened(path) as stored, contextlib.suppress(Refused):
            os.close(transcoder.converted(stored, EXPLICIT).descriptor)
    works(transcoder, tmp_path)


def _with_codestream(path: Path, encoded: Path, change: Callable[[bytes], bytes]) -> Path:
    image = dcmread(encoded)
    (codestream,) = generate_frames(image.PixelData, number_of_frames=1)
    image.PixelData = encapsulate([change(codestream.rstrip(b"\0"))])
    image["PixelData"].is_undefined_length = True
    image.save_as(path)
    return path


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut", "ended"])
@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("syntax", sorted(ENCODED - NATIVE))
def test_B14_TS_3_a_picture_that_is_cut_is_never_taken_for_a_whole_one(
    transcoder: Transcoder, tmp_path: Path, syntax: str, cut: float, end: bytes
) -> None:
    source = saved(made(8, 8) if syntax == JPEG_BASELINE else made(), tmp_path / "source.dcm")
    encoded = transcoded(transcoder, source, syntax)
    short = _with_codestream(tmp_path / "cut.dcm", encoded, lambda whole: whole[: int(len(whole) * cut)] + end)
    with opened(short) as stored, pytest.raises(Refused):
        transcoder.converted(stored, EXPLICIT)


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut", "ended"])
def test_B14_TS_3_a_picture_that_is_cut_between_two_of_its_parts_is_never_taken_for_a_whole_one(
    transcoder: Transcoder, tmp_path: Path, end: bytes
) -> None:
    encoded = transcoded(transcoder, saved(made(), tmp_path / "source.dcm"), HTJ2K_LOSSLESS_RPCL)

    def without_last_resolution(whole: bytes) -> bytes:
        return whole[: whole.rindex(b"\xff\x90\x00\x0a")] + end

    short = _with_codestream(tmp_path / "cut.dcm", encoded, without_last_resolution)
    with opened(short) as stored, pytest.raises(Refused, match="ends in the middle"):
        transcoder.converted(stored, EXPLICIT)


@pytest.mark.parametrize("syntax", [JPEG_LS, JPEG_LS_NEAR])
def test_B14_a_cut_picture_takes_no_longer_than_a_whole_one(tmp_path: Path, syntax: str) -> None:
    impatient = Transcoder(replace(Limits(), codec_cpu_seconds=1), 1)
    try:
        image = made(8, 8, samples=3, photometric="RGB", rows=17, columns=16)
        encoded = transcoded(impatient, saved(image, tmp_path / "source.dcm"), syntax)
        for cut in range(50, 74):
            short = _with_codestream(tmp_path / "cut.dcm", encoded, lambda whole, cut=cut: whole[:cut])
            with opened(short) as stored, pytest.raises(Refused, match="codestream"):
                impatient.converted(stored, EXPLICIT)
    finally:
        impatient.close()


@pytest.mark.parametrize(
    "syntax", [JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS_SV1, JPEG_LS, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL]
)
def test_TS_3_a_whole_picture_without_its_end_marker_is_decoded(
    transcoder: Transcoder, tmp_path: Path, syntax: str
) -> None:
    source = saved(made(8, 8) if syntax == JPEG_BASELINE else made(), tmp_path / "source.dcm")
    encoded = transcoded(transcoder, source, syntax)
    unended = _with_codestream(tmp_path / "unended.dcm", encoded, lambda whole: whole.removesuffix(b"\xff\xd9"))
    found, expected = (dcmread(transcoded(transcoder, path, EXPLICIT)).PixelData for path in (unended, encoded))
    assert found == expected


@pytest.mark.parametrize("syntax", [JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS_SV1])
def test_TS_3_a_whole_picture_that_ends_in_the_gray_of_a_cut_one_is_decoded(
    transcoder: Transcoder, tmp_path: Path, syntax: str
) -> None:
    image = made(8, 8) if syntax == JPEG_BASELINE else made()
    samples = dcmread(saved(image, tmp_path / "noise.dcm")).pixel_array
    samples[-8:] = 1 << image.BitsStored - 1
    image.PixelData = samples.tobytes() + bytes(samples.nbytes % 2)
    source = saved(image, tmp_path / "source.dcm")
    decoded = dcmread(transcoded(transcoder, transcoded(transcoder, source, syntax), EXPLICIT)).pixel_array
    assert (decoded[-1] == samples[-1]).all()


def test_B14_TS_3_a_picture_is_refused_of_which_a_library_passes_over_a_part(
    transcoder: Transcoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenJPH's errors between two lines are only printed; the lines after them are what was in memory before."""
    passed_over: list[object] = []
    encoded = transcoded(transcoder, saved(made(rows=64, columns=64), tmp_path / "source.dcm"), HTJ2K_LOSSLESS)
    (whole,) = generate_frames(dcmread(encoded).PixelData, number_of_frames=1)
    for at in range(200, len(whole), 400):
        damaged = whole[:at] + bytes(40) + whole[at + 40 :]
        path = _with_codestream(tmp_path / "damaged.dcm", encoded, lambda _, damaged=damaged: damaged)
        with monkeypatch.context() as patch, contextlib.suppress(imagecodecs.Htj2kError):
            patch.setattr(sys, "unraisablehook", lambda _: passed_over.append(None))
            passed_over.clear()
            imagecodecs.htj2k_decode(damaged)
        if passed_over:
            with opened(path) as stored, pytest.raises(Refused, match="passed over"):
                transcoder.converted(stored, EXPLICIT)
            return
    raise AssertionError("no damage that the library passes over")


@pytest.mark.parametrize("told", [1, 2])
@pytest.mark.parametrize("syntax", [EXPLICIT, RLE, JPEG_LS, JPEG_2000_LOSSLESS, JPEG_LOSSLESS_SV1])
def test_B15_TS_3_no_frame_is_dropped_where_fewer_are_described(
    transcoder: Transcoder, tmp_path: Path, syntax: str, told: int
) -> None:
    path = transcoded(transcoder, saved(made(frames=3), tmp_path / "source.dcm"), syntax)
    image = dcmread(path)
    image.NumberOfFrames = told
    image.save_as(path)
    with opened(path) as stored, pytest.raises(Refused, match=r"more pixel data|which frame"):
        transcoder.converted(stored, JPEG_EXTENDED if syntax == JPEG_LS else JPEG_LS)


def test_C8_2_colours_that_each_pixel_has_are_not_taken_for_shared_ones(transcoder: Transcoder, tmp_path: Path) -> None:
    """Some senders call all samples YBR_FULL_422: two thirds of them would be taken for all."""
    image = made(8, 8, samples=3, photometric="YBR_FULL_422", rows=16, columns=16)
    with opened(saved(image, tmp_path / "a.dcm")) as stored, pytest.raises(Refused, match="more pixel data"):
        transcoder.converted(stored, JPEG_LS)


def test_B08_padding_behind_the_pixels_hinders_no_conversion(transcoder: Transcoder, tmp_path: Path) -> None:
    image = made()
    expected = bytes(image.PixelData)
    image.PixelData = expected + bytes(len(expected) // 3)
    source = saved(image, tmp_path / "source.dcm")
    back = dcmread(transcoded(transcoder, transcoded(transcoder, source, JPEG_LS), EXPLICIT))
    assert back.PixelData == expected


def test_B14_a_progressive_bomb_ends_at_the_time_a_frame_may_take(tmp_path: Path) -> None:
    encoded = io.BytesIO()
    Image.fromarray(np.zeros((4096, 4096), "u1")).save(encoded, "JPEG", progressive=True)
    codestream = encoded.getvalue()
    last = codestream.rindex(b"\xff\xda")
    bomb = codestream[:last] + codestream[last:-2] * 3_000 + b"\xff\xd9"
    image = made(8, 8)
    image.Rows = image.Columns = 4096
    image.PixelData = encapsulate([bomb])
    image["PixelData"].is_undefined_length = True
    path = saved(image, tmp_path / "bomb.dcm", JPEG_BASELINE)
    impatient = Transcoder(replace(Limits(), codec_cpu_seconds=1), 1)
    try:
        with opened(path) as stored, pytest.raises(Refused, match=r"SIGXCPU|SIGKILL|decoded"):
            impatient.converted(stored, EXPLICIT)
        works(impatient, tmp_path)
    finally:
        impatient.close()


@pytest.mark.parametrize(
    "header",
    [
        [15, *range(64, 64 + 15)],
        [16],
        [2**32 - 1],
        [0],
        [2, 64, 2**31],
        [2, 10, 64],
        [2, 100, 64],
        [1, 64],
    ],
)
def test_B13_a_lying_RLE_header_is_a_decode_error(transcoder: Transcoder, tmp_path: Path, header: list[int]) -> None:
    image = made()
    words = np.zeros(16, "<u4")
    words[: len(header)] = header
    image.PixelData = encapsulate([words.tobytes() + bytes(100)])
    image["PixelData"].is_undefined_length = True
    with opened(saved(image, tmp_path / "lying.dcm", RLE)) as stored, pytest.raises(Refused, match="RLE"):
        transcoder.converted(stored, EXPLICIT)


def test_B13_an_empty_run_fails_its_frame_and_no_other(transcoder: Transcoder, tmp_path: Path) -> None:
    path = transcoded(transcoder, saved(made(frames=3), tmp_path / "source.dcm"), RLE)
    image = dcmread(path)
    frames = list(generate_frames(image.PixelData, number_of_frames=3))
    frames[1] = frames[1][:64]
    image.PixelData = encapsulate(frames)
    image.save_as(path)
    with opened(path) as stored:
        assert transcoder.frame(stored, 1).samples
        assert transcoder.frame(stored, 3).samples
        with pytest.raises(Refused, match="RLE"):
            transcoder.frame(stored, 2)


@pytest.mark.parametrize("entries", [b"", b"\0\1\2\3"])
def test_B16_a_palette_that_is_too_short_for_its_indices_hurts_no_conversion(
    transcoder: Transcoder, tmp_path: Path, entries: bytes
) -> None:
    image = made(8, 8, photometric="PALETTE COLOR")
    image.RedPaletteColorLookupTableData = entries
    source = saved(image, tmp_path / "source.dcm")
    back = transcoded(transcoder, transcoded(transcoder, source, JPEG_LS), EXPLICIT)
    assert back.read_bytes().endswith(source.read_bytes()[-33 * 31 :])
    with opened(source) as stored:
        assert transcoder.frame(stored, 1).photometric_interpretation == "PALETTE COLOR"


@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 0},
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": str(2**31 - 1)},
        {"NumberOfFrames": "-1"},
        {"BitsAllocated": 0},
        {"BitsAllocated": 7},
        {"BitsAllocated": 64},
        {"SamplesPerPixel": 0},
        {"SamplesPerPixel": 255},
        {"HighBit": 3},
    ],
)
@pytest.mark.parametrize("syntax", [EXPLICIT, JPEG_2000_LOSSLESS])
def test_B15_a_lying_description_is_refused(
    transcoder: Transcoder, tmp_path: Path, changes: dict[str, object], syntax: str
) -> None:
    path = transcoded(transcoder, saved(made(), tmp_path / "source.dcm"), syntax)
    image = dcmread(path)
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    image.save_as(path)
    with opened(path) as stored, pytest.raises(Refused):
        transcoder.converted(stored, JPEG_LS)


def test_B14_a_codestream_of_another_size_than_described_is_refused(transcoder: Transcoder, tmp_path: Path) -> None:
    image = dcmread(transcoded(transcoder, saved(made(), tmp_path / "source.dcm"), JPEG_2000_LOSSLESS))
    huge = bytearray(b"\xff\x4f\xff\x51\x00\x29\x00\x00" + b"\x00\x00\xff\xff" * 2 + bytes(8))
    huge += b"\x00\x00\x00\x01" * 2 + bytes(8) + b"\x00\x01\x0b\x01\x01"
    image.PixelData = encapsulate([bytes(huge)])
    image.save_as(tmp_path / "bomb.dcm")
    with opened(tmp_path / "bomb.dcm") as stored, pytest.raises(Refused, match=r"tiles|size"):
        transcoder.converted(stored, EXPLICIT)


def test_F45_a_child_that_is_killed_or_out_of_memory_fails_only_its_object(tmp_path: Path) -> None:
    small = Transcoder(replace(Limits(), codec_memory_max=400 * 1024 * 1024), 1)
    try:
        image = made()
        image.Rows = image.Columns = 8192
        image.PixelData = bytes(2 * 8192 * 8192)
        path = saved(image, tmp_path / "large.dcm")
        with opened(path) as stored, pytest.raises(Refused):
            small.converted(stored, JPEG_2000_LOSSLESS)
        works(small, tmp_path)
    finally:
        small.close()


def test_D20_a_child_past_its_deadline_is_killed_and_started_again(tmp_path: Path) -> None:
    impatient = Transcoder(replace(Limits(), codec_timeout_seconds=1.5), 1)
    try:
        works(impatient, tmp_path)
        (child,) = impatient._workers.processes()
        os.kill(child, signal.SIGSTOP)
        path = saved(made(), tmp_path / "source.dcm")
        with opened(path) as stored, pytest.raises(Refused, match="codec_timeout_seconds"):
            impatient.converted(stored, JPEG_LS)
        assert not Path(f"/proc/{child}").exists()
        works(impatient, tmp_path)
    finally:
        impatient.close()


def test_D20_a_child_that_dies_over_an_object_fails_it_alone(tmp_path: Path) -> None:
    transcoder = Transcoder(Limits(), 1)
    try:
        works(transcoder, tmp_path)
        (child,) = transcoder._workers.processes()
        os.kill(child, signal.SIGSTOP)
        failed: list[BaseException] = []

        def convert() -> None:
            with opened(saved(made(), tmp_path / "source.dcm")) as stored:
                try:
                    transcoder.converted(stored, JPEG_LS)
                except Refused as refused:
                    failed.append(refused)

        thread = threading.Thread(target=convert)
        thread.start()
        until(lambda: has_message(transcoder), 60, "the child has its request")
        os.kill(child, signal.SIGSEGV)
        os.kill(child, signal.SIGCONT)
        thread.join(60)
        assert "SIGSEGV" in str(failed[0])
        works(transcoder, tmp_path)
    finally:
        transcoder.close()


def test_the_children_end_with_their_parent_and_leave_nothing_open(tmp_path: Path) -> None:
    transcoder = Transcoder(Limits(), 1)
    works(transcoder, tmp_path)
    (child,) = transcoder._workers.processes()
    # What earlier tests have left is no garbage of these.
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        works(transcoder, tmp_path)
    assert len(os.listdir("/proc/self/fd")) <= before
    transcoder.close()
    assert not Path(f"/proc/{child}").exists()


def test_B12_padding_after_a_deflated_stream_is_not_read_for_ever(tmp_path: Path) -> None:
    piece = 1024 * 1024
    for size in (piece - 1, piece, piece + 1, piece + 1000, 2 * piece + 1000):
        deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        plain = (random.Random(size).randbytes(20_000) * 150)[:size]
        deflated = deflating.compress(plain) + deflating.flush() + b"\0"
        path = tmp_path / str(size)
        path.write_bytes(deflated)
        with path.open("rb") as file, tempfile.TemporaryFile() as out:
            total = _inflate(file.fileno(), 0, len(deflated), out.fileno(), Limits())
            out.seek(0)
            assert (out.read(), total) == (plain, size)


def test_D20_the_wait_for_a_core_does_not_count_for_a_childs_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that is busy elsewhere its share of the core is smaller still.
    monkeypatch.setattr("adapters.codecs.workers._STARVED_MAX", 100)
    impatient = Transcoder(replace(Limits(), codec_timeout_seconds=1.2), 1)
    core = min(os.sched_getaffinity(0))
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        works(impatient, tmp_path)
        (child,) = impatient._workers.processes()
        for process in (child, other.pid):
            os.sched_setaffinity(process, {core})
        with opened(saved(made(rows=1024, columns=1024), tmp_path / "source.dcm")) as stored:
            began = time.monotonic()
            os.close(impatient.converted(stored, JPEG_2000_LOSSLESS).descriptor)
        assert time.monotonic() - began > 1.2
        assert impatient._workers.processes() == [child]
    finally:
        other.kill()
        other.wait()
        impatient.close()


def test_D20_an_answer_that_comes_while_a_late_child_is_looked_at_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(late: _Child) -> bool:
        os.kill(late.process.pid, signal.SIGCONT)
        assert select.select([late.socket], [], [], 60)[0]
        return False

    impatient = Transcoder(replace(Limits(), codec_timeout_seconds=1.1), 1)
    try:
        works(impatient, tmp_path)
        (child,) = impatient._workers.processes()
        os.kill(child, signal.SIGSTOP)
        monkeypatch.setattr(_Child, "_is_runnable", answers)
        works(impatient, tmp_path)
        assert impatient._workers.processes() == [child]
    finally:
        impatient.close()


@edges
@pytest.mark.parametrize(
    "plain", [b"abc" + bytes(2**20), random.Random(1).randbytes(2**20 + 1)], ids=["alike", "noise"]
)
def test_D21_B12_an_object_inflates_to_so_many_bytes_and_no_more(tmp_path: Path, plain: bytes, off: int) -> None:
    path = tmp_path / "deflated"
    path.write_bytes(zlib.compress(plain, wbits=-zlib.MAX_WBITS))
    limits = Limits(inflated_size_max=len(plain) - off)
    with path.open("rb") as file, tempfile.TemporaryFile() as out:
        if off <= 0:
            assert _inflate(file.fileno(), 0, path.stat().st_size, out.fileno(), limits) == len(plain)
            return
        with pytest.raises(Unfit, match="inflates past the limit"):
            _inflate(file.fileno(), 0, path.stat().st_size, out.fileno(), limits)
