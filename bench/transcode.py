"""How much a conversion costs beside the codec library called alone: processor time, all processes counted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
from jpeg_ls.CharLS import encode_buffer
from numpy.typing import NDArray
from rle.rle import encode_frame

from adapters.codecs.transcoder import Transcoder
from bench.objects import CT, Batch, Uids
from bench.programs import children, cpu_seconds
from bench.table import Row, Target, compared
from domain.limits import Limits
from domain.transcoding import EXPLICIT, HTJ2K_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, RLE
from processes.ports import Stored

_IMAGES = 40
_TARGET = Target(1.1, True)


def measure(folder: Path, quick: bool, uids: Uids, report: Callable[[list[Row]], None]) -> list[Row]:
    """Images of 512 x 512 that look like a CT, one after the other in one child, in turn with the library alone."""
    batch = Batch(folder / "image", CT, 1, uids)
    (path,) = batch.folder.iterdir()
    noise = np.random.default_rng(1).integers(0, 40, (CT.rows, CT.columns))
    image = (np.indices(noise.shape).sum(0) * 2 + noise).astype("<u2")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - image.nbytes)
        file.write(image.tobytes())
    offset = _offset(path)
    rows: list[Row] = []
    transcoder = Transcoder(Limits(), 1)
    descriptor = os.open(path, os.O_RDONLY)
    stored = Stored(descriptor, offset, size - offset, EXPLICIT)
    try:
        for name, syntax, alone in _libraries(image):

            def through(wanted: str = syntax) -> None:
                os.close(transcoder.converted(stored, wanted).descriptor)

            through()
            ours, theirs = [], []
            for _ in range(3 if quick else 7):
                theirs.append(_milliseconds(alone))
                ours.append(_milliseconds(through))
            rows.append(compared(f"{name}, processor time an image", "ms", ours, "the library alone", theirs, _TARGET))
            report(rows)
    finally:
        os.close(descriptor)
        transcoder.close()
    batch.remove()
    return rows


def _libraries(image: NDArray[np.uint16]) -> list[tuple[str, str, Callable[[], object]]]:
    raw, (rows, columns) = image.tobytes(), image.shape
    return [
        ("JPEG-LS", JPEG_LS, lambda: encode_buffer(raw, rows, columns, 1, 16, 0, 0)),
        (
            "JPEG 2000 lossless",
            JPEG_2000_LOSSLESS,
            lambda: imagecodecs.jpeg2k_encode(image, level=0, codecformat="j2k", reversible=True, numthreads=1),
        ),
        (
            "JPEG lossless SV1",
            JPEG_LOSSLESS_SV1,
            lambda: imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, bitspersample=16),
        ),
        ("HTJ2K lossless", HTJ2K_LOSSLESS, lambda: imagecodecs.htj2k_encode(image, reversible=True)),
        ("RLE", RLE, lambda: encode_frame(raw, rows, columns, 1, 16, "<")),
    ]


def _offset(path: Path) -> int:
    """Where the data set begins: after preamble, prefix and the file meta information group."""
    header = path.read_bytes()[:1024]
    return 144 + int.from_bytes(header[140:144], "little")


def _milliseconds(work: Callable[[], object]) -> float:
    before = _spent()
    for _ in range(_IMAGES):
        work()
    return (_spent() - before) * 1000 / _IMAGES


def _spent() -> float:
    return time.process_time() + sum(cpu_seconds(child) for child in children(os.getpid()))
