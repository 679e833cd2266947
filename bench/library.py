"""The codec libraries called alone: a warm process with the limits of a codec child and the frames in memory.

Reads the number of a first frame and the name of a library a line, and answers how many bytes it made of the frames.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import imagecodecs
import numpy as np
from jpeg_ls.CharLS import encode_buffer
from numpy.typing import NDArray
from rle.rle import encode_frame

from adapters.codecs.confinement import confine
from bench.objects import CT
from domain.limits import Limits

Picture = NDArray[np.uint16]
AT_A_TIME = 10
"""Frames a turn."""

PICTURES = 40


def picture(number: int) -> Picture:
    """A picture of 512 x 512 that looks like a CT to a codec."""
    noise = np.random.default_rng(number).integers(0, 40, (CT.rows, CT.columns))
    ramp: NDArray[np.int64] = np.indices(noise.shape).sum(0) * 2
    return (ramp + noise).astype(np.uint16)


def _main() -> None:
    pictures = [picture(number) for number in range(PICTURES)]
    raw = [one.tobytes() for one in pictures]
    size = (CT.rows, CT.columns, 1, 16)
    libraries: dict[str, Sequence[Callable[[], bytes | bytearray]]] = {
        "RLE": [partial(encode_frame, one, *size, "<") for one in raw],
        "JPEG-LS": [partial(encode_buffer, one, *size, 0, 0) for one in raw],
        "JPEG lossless SV1": [
            partial(imagecodecs.jpeg8_encode, one, lossless=True, predictor=1, bitspersample=16) for one in pictures
        ],
        "JPEG 2000 lossless": [
            partial(imagecodecs.jpeg2k_encode, one, level=0, codecformat="j2k", reversible=True, numthreads=1)
            for one in pictures
        ],
        "HTJ2K lossless": [partial(imagecodecs.htj2k_encode, one, reversible=True) for one in pictures],
    }
    for encode in libraries.values():
        encode[0]()
    confine(Limits())
    for line in sys.stdin:
        first, _, name = line.strip().partition(" ")
        done = sum(len(encode()) for encode in libraries[name][int(first) : int(first) + AT_A_TIME])
        print(done, flush=True)


if __name__ == "__main__":
    _main()
