"""From the bytes of one frame to an array (rows, columns[, 3]), colour by pixel. Child processes only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.codecs.codestreams import EOI, Picture, end_of_scans, has_all_tile_parts, is_irreversible, picture
from adapters.codecs.image import Image
from adapters.codecs.unfit import Unfit
from domain.transcoding import (
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    JPEG_LS_NEAR,
    RLE,
)

Array = NDArray[Any]
_RLE_HEADER = 64
_CUT = "the codestream ends in the middle of its picture"
_NOISE = bytes.fromhex("a5c3965a3c69d24b") * 8
"""What no decoder takes for padding, without a marker."""

YBR_PARTIAL = "YBR_PARTIAL_422"
"""Retired: its luminance has a part of the range only, and there is no name for it but with shared chrominance."""

_YBR = {
    "YBR_FULL": (0, 1.0, 1.402, 0.344136, 0.714136, 1.772),
    YBR_PARTIAL: (16, 1.1644, 1.5960, 0.3917, 0.8130, 2.0173),
}
"""What is black, and the factors of luminance and chrominance for red, green twice and blue."""


def dtype_of(image: Image) -> np.dtype[Any]:
    """The type of one sample."""
    return np.dtype(f"<{'i' if image.is_signed else 'u'}{max(8, image.bits_allocated) // 8}")


def native(image: Image) -> Callable[[bytes], Array]:
    """What makes the samples of a native frame of 8 bits a sample or more, little endian (PS3.5 8.1.1)."""
    dtype, count = dtype_of(image), image.frame_bits // image.bits_allocated
    arrange = _arrangement(image)
    return lambda data: arrange(np.frombuffer(data, dtype, count))


def _arrangement(image: Image) -> Callable[[Array], Array]:
    """What arranges the samples of a native frame in rows and columns, colours by pixel."""
    shape = (image.rows, image.columns)
    if image.is_subsampled:
        return lambda samples: _unshared(samples, image)
    if image.samples == 1:
        return lambda samples: samples.reshape(shape)
    if image.planar:
        return lambda samples: np.moveaxis(samples.reshape(image.samples, *shape), 0, -1).copy()
    return lambda samples: samples.reshape(*shape, image.samples)


def _unshared(samples: Array, image: Image) -> Array:
    """YBR_FULL_422 with the shared chrominance given to both pixels (C.7.6.3.1.2)."""
    if image.columns % 2:
        raise Unfit("subsampled pixels with an odd number of columns")
    pairs = samples.reshape(image.rows, image.columns // 2, 4)
    out = np.empty((image.rows, image.columns, 3), samples.dtype)
    out[:, 0::2, 0], out[:, 1::2, 0] = pairs[:, :, 0], pairs[:, :, 1]
    out[:, :, 1:] = np.repeat(pairs[:, :, 2:], 2, axis=1)
    return out


def decoded(data: bytes, syntax: str, image: Image) -> Array:
    """An encapsulated frame, its colours those of :func:`colour_after`. Raises Unfit where it is damaged or another."""
    if image.bits_allocated == 1:
        raise Unfit("compressed pixels of one bit are not supported")
    if syntax == RLE:
        return _run_lengths(data, image)
    seen = picture(data)
    if (seen.rows, seen.columns, seen.components) != (image.rows, image.columns, image.samples):
        raise Unfit("the codestream is not of the described size")
    if seen.precision > image.bits_allocated:
        raise Unfit("the codestream has deeper samples than are described")
    try:
        array = _from_library(data, syntax, image, seen)
    except Unfit:
        raise
    except Exception as error:
        raise Unfit(f"the codestream cannot be decoded ({type(error).__name__})") from error
    if array.shape != ((image.rows, image.columns) if image.samples == 1 else (image.rows, image.columns, 3)):
        raise Unfit("the codestream decodes to another shape")
    return _fitted(array, seen, image)


def _from_library(data: bytes, syntax: str, image: Image, seen: Picture) -> Array:
    import imagecodecs

    if syntax in (JPEG_BASELINE, JPEG_EXTENDED):
        return _jpeg(data, seen, "YCBCR" if image.photometric.startswith("YBR") else "RGB")
    if syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        return _jpeg(data, seen, "RGB")
    if syntax in (JPEG_LS, JPEG_LS_NEAR):
        # CharLS takes what a cut picture lacks for zeros, for seconds, unless a marker stops it.
        return np.asarray(imagecodecs.jpegls_decode(data + EOI))
    # OpenJPH's samples wrap round where the loss takes them past their range: white would become black.
    if syntax in (JPEG_2000, JPEG_2000_LOSSLESS) or is_irreversible(data):
        return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))
    if not has_all_tile_parts(data):
        raise Unfit(_CUT)
    with raising_what_is_passed_over():
        return np.asarray(imagecodecs.htj2k_decode(data, planar=False))


@contextlib.contextmanager
def raising_what_is_passed_over() -> Iterator[None]:
    """OpenJPH's errors between two lines are only printed, the lines after them stay unwritten. Raises Unfit."""
    passed_over: list[bool] = []
    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook, sys.unraisablehook = (lambda *_: None), (lambda _: passed_over.append(True))
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = hooks
    if passed_over:
        raise Unfit("the codec passed over an error in the middle of the picture")


def _jpeg(data: bytes, seen: Picture, coded: str) -> Array:
    from imagecodecs import jpeg8_decode

    colours: dict[str, Any] = {} if seen.components == 1 else {"colorspace": coded, "outcolorspace": "RGB"}
    array = np.asarray(jpeg8_decode(data, **colours))
    end = end_of_scans(data)
    # The library fills up a cut picture with the gray in the middle and says nothing.
    if end < 0 or (array[-1, -1] == 1 << seen.precision - 1).all():
        # Bytes behind a whole one change nothing in it.
        scans = data[:end] if end >= 0 else data
        if not np.array_equal(array, jpeg8_decode(scans.rstrip(b"\xff") + _NOISE, **colours)):
            raise Unfit(_CUT)
    return array


def _fitted(array: Array, seen: Picture, image: Image) -> Array:
    """The samples as the description stores them; what was coded without its sign gets it back."""
    width = dtype_of(image)
    if image.is_signed and not seen.is_signed and seen.precision < width.itemsize * 8:
        shift = width.itemsize * 8 - max(seen.precision, image.bits_stored)
        return (array.astype(width) << shift) >> shift
    if array.dtype.itemsize > width.itemsize or seen.is_signed == image.is_signed:
        return array.astype(width)
    return array.astype(array.dtype.str.replace("i" if seen.is_signed else "u", "iu"[not image.is_signed])).astype(
        width
    )


def _run_lengths(data: bytes, image: Image) -> Array:
    """RLE (PS3.5 Annex G): its segments are checked first (B13)."""
    from rle.rle import decode_frame

    segments = image.samples * image.bits_allocated // 8
    header = np.frombuffer(data[:_RLE_HEADER].ljust(_RLE_HEADER, b"\0"), "<u4")
    offsets = [*header[1 : segments + 1].tolist(), len(data)] if segments < 16 else []
    if header[0] != segments or not offsets or offsets[0] < _RLE_HEADER or offsets != sorted(offsets):
        raise Unfit("the RLE header is damaged")
    try:
        raw = decode_frame(data, image.rows * image.columns, image.bits_allocated, "<")
    except BaseException as error:
        # The library's panics are no Exceptions: one would end the process.
        raise Unfit(f"the RLE frame cannot be decoded ({type(error).__name__})") from error
    planes = np.frombuffer(raw, dtype_of(image)).reshape(image.samples, image.rows, image.columns)
    # Also of one pixel, whose planes numpy takes for contiguous as they are and encoders do not.
    return planes[0] if image.samples == 1 else np.moveaxis(planes, 0, -1).copy()


def colour_after(syntax: str, image: Image) -> str:
    """The photometric interpretation of decoded samples (PS3.5 8.2)."""
    if image.samples == 1:
        return image.photometric
    if image.photometric in ("YBR_RCT", "YBR_ICT") or (
        syntax in (JPEG_BASELINE, JPEG_EXTENDED) and image.photometric.startswith("YBR")
    ):
        return "RGB"
    return "YBR_FULL" if image.is_subsampled and image.photometric == "YBR_FULL_422" else image.photometric


def rgb(array: Array, photometric: str) -> Array:
    """YBR samples of 8 bits as RGB, for showing (C.7.6.3.1.2)."""
    if photometric not in _YBR or array.dtype != np.uint8:
        return array
    black, luminance, red, green_by_blue, green_by_red, blue = _YBR[photometric]
    y, cb, cr = (array[..., plane].astype(np.float32) for plane in range(3))
    y, cb, cr = luminance * (y - black), cb - 128, cr - 128
    out = np.stack((y + red * cr, y - green_by_blue * cb - green_by_red * cr, y + blue * cb), axis=-1)
    shown: Array = np.rint(out).clip(0, 255).astype(np.uint8)
    return shown
