"""From an array to the bytes of one frame. Child processes only."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from adapters.codecs.decoding import Array, raising_what_is_passed_over
from adapters.codecs.image import Image
from adapters.codecs.unfit import Unfit
from domain.transcoding import (
    ENCODED_LOSSY,
    HTJ2K,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
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

JPEG_QUALITY = 90
NEAR = 2
"""The largest difference of a JPEG-LS near-lossless sample, in stored values."""

JPEG_2000_DECIBELS = 50
"""The signal-to-noise ratio of lossy JPEG 2000, its peak the range of a frame's samples."""

HTJ2K_STEP = 0.001
"""The quantization step of lossy HTJ2K, as a part of the range of a frame's samples."""

_LEAST_SPAN = 8
"""Samples that differ by less, as those of a mask do, could all become alike within what is lost."""

_BY_PIXEL = 2
_SMALL_FRAME = 1024
"""In bytes; pyjpegls' buffer has no room for a header beside the noise of some hundred."""

_LEAST_PRECISION = {
    **dict.fromkeys((JPEG_LOSSLESS, JPEG_LOSSLESS_SV1), (2, 9)),
    **dict.fromkeys((JPEG_LS, JPEG_LS_NEAR), (8, 9)),
}
"""The least precision of a codestream that decoders take for one of bytes, and for one of words."""

_JPEG_EXTENDED_BITS = range(9, 13)
_JPEG = (JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1)
_JPEG_SIDE_MAX = 65_500
"""The Independent JPEG Group's library, which most decoders are made of, takes no more."""

_HTJ2K_LEVELS, _SMALLEST_SIDE = 5, 64
_OF_ALL_BITS = (HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL)
"""Encoders that take the samples as they are."""

_WAVELETS = (JPEG_2000_LOSSLESS, JPEG_2000, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K)
METHODS = {
    JPEG_BASELINE: "ISO_10918_1",
    JPEG_EXTENDED: "ISO_10918_1",
    JPEG_LS_NEAR: "ISO_14495_1",
    JPEG_2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}
"""Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1)."""


def check_fit(syntax: str, image: Image, colour: str, *, was_lossy: bool) -> None:
    """Refuse what a syntax cannot hold (PS3.5 8.2, A.4) and lossy from lossy (TS-3). Raises Unfit."""
    lossy = syntax in ENCODED_LOSSY
    if lossy and was_lossy:
        raise Unfit("the image was already compressed with loss")
    if image.bits_allocated == 1 or (image.bits_allocated == 32 and syntax != RLE):
        raise Unfit("the syntax does not hold samples of so many bits")
    if lossy and colour == "PALETTE COLOR":
        raise Unfit("indices of a palette are not compressed with loss")
    if lossy and not image.is_compact:
        raise Unfit("bits beside the stored ones would be lost")
    if syntax == JPEG_BASELINE and ((image.bits_allocated, image.bits_stored) != (8, 8) or image.is_signed):
        raise Unfit("JPEG Baseline holds 8 unsigned bits")
    if syntax == JPEG_EXTENDED and (
        image.bits_stored not in _JPEG_EXTENDED_BITS or image.is_signed or image.samples != 1
    ):
        raise Unfit("JPEG Extended holds 12 unsigned bits without colour")
    if syntax == JPEG_LS_NEAR and image.is_signed:
        raise Unfit("near-lossless JPEG-LS of signed samples breaks at the sign")
    if syntax in _JPEG and max(image.rows, image.columns) > _JPEG_SIDE_MAX:
        raise Unfit("decoders of JPEG take no picture so wide or high")
    if lossy and image.samples == 3 and colour not in ("RGB", "YBR_FULL"):
        raise Unfit("the colours are not ones to be compressed with loss")


def colour_before(syntax: str, colour: str, image: Image) -> str:
    """The photometric interpretation of the encoded image, from that of its samples (PS3.5 8.2.1, 8.2.4)."""
    if image.samples == 1:
        return colour
    if syntax == JPEG_BASELINE:
        return "YBR_FULL_422"
    if colour == "RGB" and syntax in _WAVELETS:
        return "YBR_ICT" if syntax in ENCODED_LOSSY else "YBR_RCT"
    return colour


def bits_after(syntax: str, image: Image) -> int:
    """How many bits the encoded samples have; loss may take some past the stored ones (PS3.5 8.2.1, A.4.4)."""
    if syntax == JPEG_EXTENDED:
        return _JPEG_EXTENDED_BITS[-1]
    return image.bits_allocated if syntax == HTJ2K else image.bits_stored


def planar_of(syntax: str) -> int:
    """Planar Configuration: RLE is by plane (PS3.5 8.2.2), all others are said to be by pixel."""
    return 1 if syntax == RLE else 0


def encoder(syntax: str, image: Image, colour: str) -> Callable[[Array], bytes]:
    """What makes a frame, of even length, of its samples. It raises Unfit where the library cannot."""
    encode: Callable[[Array], bytes | bytearray] = partial(_encoded, syntax=syntax, image=image, colour=colour)
    if syntax in _OF_ALL_BITS:
        encode = _htj2k(syntax, image, colour)

    def encoded(array: Array) -> bytes:
        try:
            with raising_what_is_passed_over():
                data = encode(array)
        except Unfit:
            raise
        except Exception as error:
            raise Unfit(f"the frame cannot be encoded ({type(error).__name__})") from error
        return bytes(data + b"\0" if len(data) % 2 else data)

    return encoded


def _encoded(array: Array, syntax: str, image: Image, colour: str) -> bytes:
    if syntax == RLE:
        from rle.rle import encode_frame

        return bytes(encode_frame(_raw(array), image.rows, image.columns, image.samples, image.bits_allocated, "<"))
    import imagecodecs

    patterns, precision = _patterns(array, image, syntax)
    span = int(array.max()) - int(array.min()) if syntax in ENCODED_LOSSY else 0
    if syntax in ENCODED_LOSSY and precision > image.bits_stored:
        raise Unfit("bits beside the stored ones would be lost")
    if 0 < span < _LEAST_SPAN:
        raise Unfit("samples of so few values are not compressed with loss")
    if syntax in (JPEG_BASELINE, JPEG_EXTENDED):
        colours: dict[str, Any] = {}
        if image.samples == 3:
            space = "RGB" if colour == "RGB" else "YCBCR"
            colours = {"colorspace": space, "outcolorspace": "YCBCR", "subsampling": "422"}
        bits = 12 if syntax == JPEG_EXTENDED else 8
        return bytes(imagecodecs.jpeg8_encode(array, level=JPEG_QUALITY, bitspersample=bits, **colours))
    if syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        same: dict[str, Any] = {} if image.samples == 1 else {"colorspace": "RGB", "outcolorspace": "RGB"}
        return bytes(imagecodecs.jpeg8_encode(patterns, lossless=True, predictor=1, bitspersample=precision, **same))
    if syntax == JPEG_LS and array.nbytes < _SMALL_FRAME:
        unsigned = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
        return bytes(imagecodecs.jpegls_encode(unsigned, level=0))
    if syntax in (JPEG_LS, JPEG_LS_NEAR):
        return _jpeg_ls(patterns, precision, image, NEAR if syntax == JPEG_LS_NEAR else 0)
    if syntax == JPEG_2000_LOSSLESS:
        return _jpeg_2000(array, precision, colour)
    # OpenJPH takes the samples as they are.
    bits = array.dtype.itemsize * 8 if syntax == HTJ2K else precision
    # How much of what the bits can tell the samples use: else a narrow picture would drown in the error allowed.
    part = span / ((1 << bits) - 1)
    if syntax == HTJ2K:
        return bytes(_htj2k(syntax, image, colour)(array, HTJ2K_STEP * (part or 1)))
    # Words are taken for ones of 16 bits, also where their precision is that of bytes.
    samples = array.astype(f"{array.dtype.kind}1") if precision <= 8 else array
    return _jpeg_2000(samples, precision, colour, JPEG_2000_DECIBELS - 20 * math.log10(part) if part else 0)


def _patterns(array: Array, image: Image, syntax: str) -> tuple[Array, int]:
    """Unsigned samples and their precision: the stored bits where they tell all, else all bits (60xx overlays)."""
    size = array.dtype.itemsize * 8
    unsigned = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    stored = image.bits_stored
    precision = max(stored, _LEAST_PRECISION.get(syntax, (1, 1))[array.dtype.itemsize > 1])
    if stored == size or not image.is_compact:
        return unsigned, size
    if image.is_signed:
        low, high = int(array.min()), int(array.max())
        if -(1 << stored - 1) <= low and high < 1 << stored - 1:
            return unsigned & np.array((1 << precision) - 1, unsigned.dtype), precision
        return unsigned, size
    return (unsigned, precision) if int(unsigned.max()) < 1 << stored else (unsigned, size)


def _raw(array: Array) -> bytes:
    """The bytes of a frame: those that it was read as, where the array is a view of them and of nothing else."""
    owner = array.base
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, bytes) and len(owner) == array.nbytes and array.flags.c_contiguous:
        return owner
    return array.tobytes()


def _jpeg_ls(patterns: Array, precision: int, image: Image, near: int) -> bytes:
    from jpeg_ls.CharLS import encode_buffer

    mode = _BY_PIXEL if image.samples == 3 else 0
    shape = (image.rows, image.columns, image.samples)
    return bytes(encode_buffer(_raw(patterns), *shape, precision, near, mode))


def _jpeg_2000(array: Array, precision: int, colour: str, decibels: float | None = None) -> bytes:
    """With loss where ``decibels`` are given, 0 of them for no less than all bits."""
    import imagecodecs

    level: Any = decibels or 0
    return bytes(
        imagecodecs.jpeg2k_encode(
            array,
            level=level,
            codecformat="j2k",
            reversible=decibels is None,
            bitspersample=precision,
            mct=colour == "RGB",
            numthreads=1,
        )
    )


def _htj2k(syntax: str, image: Image, colour: str) -> Callable[..., bytes | bytearray]:
    """The library's encoder, given all that does not hang on the samples."""
    import imagecodecs

    # OpenJPH writes in the order RPCL; the options of .202 are tile-parts by resolution, their lengths, a small first.
    options: dict[str, Any] = {"tlm": True, "tilepart": 1} if syntax == HTJ2K_LOSSLESS_RPCL else {}
    return partial(
        imagecodecs.htj2k_encode,
        reversible=syntax != HTJ2K,
        rgb=colour == "RGB" if image.samples == 3 else None,
        resolutions=max(
            _HTJ2K_LEVELS, (max(image.rows, image.columns) - 1).bit_length() - _SMALLEST_SIDE.bit_length() + 1
        ),
        **options,
    )
