"""Other toolkits' eyes: DCMTK, GDCM and OpenJPEG decode what was written, or what came from elsewhere."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import convert_color_space

from domain.transcoding import (
    BIG_ENDIAN,
    DEFLATED,
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
    NATIVE,
    RLE,
)

Array = NDArray[Any]
DCMTK = {
    **dict.fromkeys((IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED), ("dcmconv", "+te")),
    **dict.fromkeys((JPEG_BASELINE, JPEG_EXTENDED), ("dcmdjpeg", "+te")),
    **dict.fromkeys((JPEG_LOSSLESS, JPEG_LOSSLESS_SV1), ("dcmdjpeg", "+cn", "+te")),
    **dict.fromkeys((JPEG_LS, JPEG_LS_NEAR), ("dcmdjpls", "+te")),
    RLE: ("dcmdrle", "+te"),
}
GDCM = dict.fromkeys(
    (JPEG_BASELINE, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_LS_NEAR, JPEG_2000_LOSSLESS, JPEG_2000, RLE),
    ("gdcmconv", "--raw"),
)
_OPENJPEG = (JPEG_2000_LOSSLESS, JPEG_2000, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K)


def seen(path: Path) -> Iterator[tuple[str, Array, str]]:
    """The samples of a file as each toolkit that knows its syntax decodes them, and what its colours are."""
    image = dcmread(path)
    syntax = str(image.file_meta.TransferSyntaxUID)
    # GDCM 3.0 takes the bytes of deep run-length coded colours apart wrongly; pydicom's decoder is plain Python.
    is_deep_rle = syntax == RLE and image.BitsAllocated > 8 and image.SamplesPerPixel > 1
    for name, commands in (("DCMTK", DCMTK), ("GDCM", {} if is_deep_rle else GDCM)):
        if syntax in commands and (found := _converted(path, commands[syntax])) is not None:
            yield name, *found
    if syntax in _OPENJPEG:
        count = int(image.get("NumberOfFrames", 1) or 1)
        frames = [
            imagecodecs.jpeg2k_decode(frame, planar=False)
            for frame in generate_frames(image.PixelData, number_of_frames=count)
        ]
        yield "OpenJPEG", _shaped(np.stack(frames), image), _unmixed(image)
    if syntax == RLE:
        image.decompress(decoding_plugin="pydicom", as_rgb=False)
        yield "pydicom", samples_of(image), image.PhotometricInterpretation


def _converted(path: Path, command: tuple[str, ...]) -> tuple[Array, str] | None:
    """None where the toolkit cannot."""
    out = path.with_suffix(f".{command[0]}.dcm")
    done = subprocess.run([*command, str(path), str(out)], capture_output=True, check=False, timeout=60)
    if done.returncode != 0 or not out.exists():
        return None
    try:
        image = dcmread(out)
        return samples_of(image), image.PhotometricInterpretation
    finally:
        out.unlink()


def samples_of(image: Dataset) -> Array:
    """The samples of a native little endian image: (frames, rows, columns, samples)."""
    assert image.file_meta.TransferSyntaxUID in NATIVE
    bits, signed, value = image.BitsAllocated, image.get("PixelRepresentation", 0), image.PixelData
    if bits == 1:
        return np.unpackbits(np.frombuffer(value, "u1"), bitorder="little")
    samples = np.frombuffer(value[: len(value) // (bits // 8) * (bits // 8)], f"<{'ui'[signed]}{bits // 8}")
    count, planes = int(image.get("NumberOfFrames", 1) or 1), image.get("SamplesPerPixel", 1)
    whole = count * image.Rows * image.Columns * planes
    if image.PhotometricInterpretation == "YBR_FULL_422" and len(samples) < whole:
        pairs = samples.reshape(count, image.Rows, image.Columns // 2, 4)
        return np.stack([pairs[..., [0, 2, 3]], pairs[..., [1, 2, 3]]], axis=3).reshape(count, image.Rows, -1, 3)
    samples = samples[:whole]
    if planes > 1 and image.get("PlanarConfiguration", 0):
        return np.moveaxis(samples.reshape(count, planes, image.Rows, image.Columns), 1, -1)
    return samples.reshape(count, image.Rows, image.Columns, planes)


def as_rgb(samples: Array, photometric: str) -> Array:
    """The samples with colours as RGB."""
    if not photometric.startswith("YBR_FULL"):
        return samples
    return np.asarray(convert_color_space(samples, "YBR_FULL", "RGB"))


def extended(samples: Array, image: Dataset) -> Array:
    """The samples by their stored bits alone: the bits above are what a toolkit likes (PS3.5 8.1.1)."""
    shift = samples.dtype.itemsize * 8 - (image.HighBit + 1)
    return (samples << shift) >> (shift + image.HighBit + 1 - image.BitsStored)


def _shaped(frames: Array, image: Any) -> Array:
    shaped = frames.reshape(len(frames), image.Rows, image.Columns, image.get("SamplesPerPixel", 1))
    width = np.dtype(f"{'ui'[image.get('PixelRepresentation', 0)]}{max(8, image.BitsAllocated) // 8}")
    return shaped.astype(width)


def _unmixed(image: Dataset) -> str:
    colours = str(image.PhotometricInterpretation)
    return "RGB" if colours in ("YBR_RCT", "YBR_ICT") else colours


def decibels(one: Array, other: Array) -> float:
    """The signal-to-noise ratio, the peak being the range of the first."""
    error = float(np.square(one.astype(np.float64) - other).mean())
    peak = float(one.max()) - float(one.min())
    return float("inf") if error == 0 else 10 * float(np.log10(max(1.0, peak) ** 2 / error))
