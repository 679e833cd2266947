"""PNG and GIF, which have no transfer syntax, as native frames (PS3.18 Table 10.5.2-1). Child processes only.

By the notes of that table transparency is discarded, indexed colours are RGB, an animation is fully decoded frames.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.image import Image, check_size
from adapters.codecs.unfit import Unfit
from domain.limits import Limits
from domain.rendering import GIF

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">8sI4sIIBB")
_PNG_COLOUR = 2
_GIF_BEGINS = (b"GIF87a", b"GIF89a")
_EXTENSION, _IMAGE, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_INTERLACED, _HAS_TABLE = 0x40, 0x80
_TO_BACKGROUND, _TO_PREVIOUS = 2, 3
_GRAYS = bytes(level for level in range(256) for _ in "rgb")

_DAMAGED = (struct.error, IndexError, ValueError, RuntimeError)


def decoded(
    data: bytes, media_type: str, samples: int, limits: Limits, more_time: Callable[[], None]
) -> tuple[Image, Iterator[Array]]:
    """What the picture is, and its frames, little endian. ``samples`` 1: its colours must be grays, and come as such.

    Raises Unfit, also from the iterator, where it is damaged, larger than the limits or not gray.
    """
    try:
        image = _gif_description(data) if media_type == GIF else _png_description(data)
    except _DAMAGED as error:
        raise Unfit("the picture has no readable header") from error
    if samples == 1:
        image = _described(image.rows, image.columns, 1, image.bits_allocated, image.frames)
    check_size(image, len(data), limits)
    frames = _gif_frames(data) if media_type == GIF else _png_frames(data)
    return image, _checked(frames, image, more_time)


def _checked(frames: Iterator[Array], image: Image, more_time: Callable[[], None]) -> Iterator[Array]:
    try:
        for frame in frames:
            pixels = frame
            if image.samples == 1 and frame.ndim == 3:
                pixels = frame[..., 0]
                if not (frame == pixels[..., None]).all():
                    raise Unfit("the picture has colours where its metadata says that it has none")
            if pixels.shape[:2] != (image.rows, image.columns):
                raise Unfit("the picture is not of the size that its header says")
            yield pixels.astype(pixels.dtype.newbyteorder("<"))
            more_time()
    except _DAMAGED as error:
        raise Unfit("the picture is damaged") from error


def _described(rows: int, columns: int, samples: int, bits: int, frames: int) -> Image:
    photometric = "RGB" if samples == 3 else "MONOCHROME2"
    if not rows or not columns or not frames:
        raise ValueError("nothing")
    return Image(rows, columns, samples, bits, bits, bits - 1, False, photometric, 0, frames)


def _png_description(data: bytes) -> Image:
    begin, _, kind, columns, rows, depth, colours = _PNG_HEADER.unpack_from(data, 0)
    if begin != _PNG or kind != b"IHDR":
        raise ValueError("no PNG")
    return _described(rows, columns, 3 if colours & _PNG_COLOUR else 1, 16 if depth == 16 else 8, 1)


def _png_frames(data: bytes) -> Iterator[Array]:
    import imagecodecs

    pixels = np.asarray(imagecodecs.png_decode(data))
    if pixels.ndim == 3:
        # The last of two or four channels is alpha (note 5).
        pixels = pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]
    yield pixels


@dataclass(frozen=True, slots=True)
class _GifFrame:
    """One image of a GIF; ``codes`` is its compressed data with all that belongs to it."""

    left: int
    top: int
    columns: int
    rows: int
    is_interlaced: bool
    table: bytes
    transparent: int
    disposal: int
    codes: bytes

    def indices(self) -> Array:
        """Its pixels as they stand in the table, decoded as a GIF of its own whose colours are those numbers."""
        import imagecodecs

        size = struct.pack("<HH", self.columns, self.rows)
        alone = b"GIF89a" + size + b"\xf7\0\0" + _GRAYS + bytes((_IMAGE,)) + bytes(4) + size
        alone += bytes((_INTERLACED if self.is_interlaced else 0,)) + self.codes + bytes((_TRAILER,))
        return np.asarray(imagecodecs.gif_decode(alone))[..., 0]


def _gif_description(data: bytes) -> Image:
    if data[:6] not in _GIF_BEGINS:
        raise ValueError("no GIF")
    columns, rows = struct.unpack_from("<HH", data, 6)
    return _described(rows, columns, 3, 8, sum(1 for _ in _gif_images(data)))


def _gif_frames(data: bytes) -> Iterator[Array]:
    """The canvas after each image (GIF89a 20, 23)."""
    columns, rows = struct.unpack_from("<HH", data, 6)
    canvas = np.zeros((rows, columns, 3), np.uint8)
    for one in _gif_images(data):
        before = canvas.copy() if one.disposal == _TO_PREVIOUS else canvas
        area = canvas[one.top : one.top + one.rows, one.left : one.left + one.columns]
        indices = one.indices()[: area.shape[0], : area.shape[1]]
        table = np.zeros((256, 3), np.uint8)
        table[: len(one.table) // 3] = np.frombuffer(one.table, np.uint8).reshape(-1, 3)
        seen = indices != one.transparent
        area[seen] = table[indices][seen]
        yield canvas.copy()
        if one.disposal == _TO_PREVIOUS:
            canvas = before
        elif one.disposal == _TO_BACKGROUND:
            area[:] = 0


def _gif_images(data: bytes) -> Iterator[_GifFrame]:
    everyones, at = _table(data, 10, 13)
    transparent, disposal = -1, 0
    while data[at] != _TRAILER:
        kind = data[at]
        if kind == _EXTENSION:
            if data[at + 1] == _CONTROL:
                packed, _, index = struct.unpack_from("<BHB", data, at + 3)
                transparent, disposal = index if packed & 1 else -1, packed >> 2 & 7
            at = _end_of_blocks(data, at + 2)
        elif kind == _IMAGE:
            left, top, columns, rows, packed = struct.unpack_from("<HHHHB", data, at + 1)
            own, begin = _table(data, at + 9, at + 10)
            at = _end_of_blocks(data, begin + 1)
            interlaced = bool(packed & _INTERLACED)
            codes = data[begin:at]
            yield _GifFrame(left, top, columns, rows, interlaced, own or everyones, transparent, disposal, codes)
            transparent, disposal = -1, 0
        else:
            raise ValueError("no block")


def _table(data: bytes, packed_at: int, at: int) -> tuple[bytes, int]:
    """A colour table, empty where there is none, and where it ends."""
    packed = data[packed_at]
    end = at + (3 << (packed & 7) + 1 if packed & _HAS_TABLE else 0)
    if end > len(data):
        raise ValueError("cut")
    return data[at:end], end


def _end_of_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1
