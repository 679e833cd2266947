"""Overlay planes and shutters: what is drawn over an image, and what is not shown of it (PS3.3 C.9.2, C.7.6.11)."""

from __future__ import annotations

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.image import Image
from adapters.rendering.attributes import Attributes
from adapters.rendering.presentation import OVERLAYS, Layer, Presentation

_ROWS, _COLUMNS, _FRAMES, _TYPE, _ORIGIN, _FIRST_FRAME = 0x0010, 0x0011, 0x0015, 0x0040, 0x0050, 0x0051
_BITS_ALLOCATED, _BIT_POSITION, _DATA = 0x0100, 0x0102, 0x3000
_FRAME_SHUTTER, _SHAPE, _VALUE = 0x00189472, 0x00181600, 0x00181622
_EDGES = (0x00181606, 0x00181608, 0x00181602, 0x00181604)
_CENTER, _RADIUS, _VERTICES = 0x00181610, 0x00181612, 0x00181620
_BITMAP, _SHUTTER_GROUP = "BITMAP", 0x00181623
_VERTICES_MAX = 1024


def overlaid(
    pixels: Array, samples: Array, whole: Attributes, image: Image, number: int, presentation: Presentation | None
) -> Array:
    """The picture of a frame, counted from 0, with its overlay planes in white; ``samples`` are as they are stored.

    Graphics are drawn, of a region of interest its outline. What is not as it is described is left out. A presentation
    state says which are drawn, and may have planes of its own in place of the image's (C.11.7).
    """
    drawn = pixels
    groups = presentation.overlays() if presentation else [(Layer(), group) for group in OVERLAYS]
    for layer, group in groups:
        where = presentation.state if presentation and group + _DATA in presentation.state else whole
        if group == _shutter_group(where):
            continue
        plane, top, left = _embedded(samples, whole, image, group) if where is whole else None, 0, 0
        if plane is None:
            plane, top, left = _plane(where, group, number)
        if plane is None:
            continue
        if where.text(group + _TYPE) == "R":
            plane = _outline(plane)
        if drawn is pixels:
            drawn = pixels.copy()
        part = plane[max(0, -top) :, max(0, -left) :]
        below = drawn[max(0, top) :, max(0, left) :][: part.shape[0], : part.shape[1]]
        below[part[: below.shape[0], : below.shape[1]]] = layer.level
    return drawn


def shuttered(pixels: Array, whole: Attributes, number: int) -> Array:
    """The picture of a frame, counted from 0; what its shutters cover is black, or as gray as they say."""
    where = whole.of_frame(_FRAME_SHUTTER, number) or whole
    seen = None
    if (bitmap := _bitmap(where, number, pixels.shape[0], pixels.shape[1])) is not None:
        seen = bitmap
    for name in where.text(_SHAPE).split("\\"):
        if (shape := _SHAPES.get(name.strip())) is not None:
            inside = shape(where, pixels.shape[0], pixels.shape[1])
            seen = inside if seen is None else seen & inside
    if seen is None:
        return pixels
    covered = pixels.copy()
    covered[~seen] = (where.number(_VALUE) or 0) >> 8
    return covered


def _shutter_group(where: Attributes) -> int:
    """The overlay that is a shutter and no overlay (C.7.6.15), 0 where there is none."""
    is_bitmap = _BITMAP in where.text(_SHAPE).split("\\")
    return (where.number(_SHUTTER_GROUP) or 0) << 16 if is_bitmap else 0


def _bitmap(where: Attributes, number: int, rows: int, columns: int) -> Array | None:
    """What a bitmap display shutter lets be seen."""
    group = _shutter_group(where)
    plane, top, left = _plane(where, group, number) if group in OVERLAYS else (None, 0, 0)
    if plane is None:
        return None
    seen = np.ones((rows, columns), bool)
    below = seen[max(0, top) :, max(0, left) :]
    part = plane[max(0, -top) :, max(0, -left) :][: below.shape[0], : below.shape[1]]
    below[: part.shape[0], : part.shape[1]] = ~part
    return seen


def _embedded(samples: Array, whole: Attributes, image: Image, group: int) -> Array | None:
    """A plane in bits of the samples that are not those of pixels (retired, but there are such images)."""
    position = whole.number(group + _BIT_POSITION)
    is_apart = group + _DATA not in whole and group + _ROWS in whole
    if not is_apart or position is None or samples.ndim != 2 or samples.dtype.kind not in "iu":
        return None
    is_pixels = image.high_bit - image.bits_stored < position <= image.high_bit
    if is_pixels or position >= image.bits_allocated or whole.number(group + _BITS_ALLOCATED) != image.bits_allocated:
        return None
    plane: Array = (samples.view(f"u{samples.dtype.itemsize}") >> position & 1).astype(bool)
    return plane


def _plane(whole: Attributes, group: int, number: int) -> tuple[Array | None, int, int]:
    """A plane and the row and column, from 0, where it begins; None where it is none of this frame."""
    rows, columns = whole.number(group + _ROWS) or 0, whole.number(group + _COLUMNS) or 0
    if not rows or not columns or group + _DATA not in whole:
        return None, 0, 0
    frame = 0
    if frames := whole.decimals(group + _FRAMES):
        frame = number - ((whole.number(group + _FIRST_FRAME) or 1) - 1)
        if not 0 <= frame < frames[0]:
            return None, 0, 0
    first = frame * rows * columns
    begin, end = first // 8, (first + rows * columns + 7) // 8
    raw = np.frombuffer(whole.bytes_of_words(group + _DATA)[begin:end], np.uint8)
    bits = np.unpackbits(raw, bitorder="little")[first - begin * 8 :][: rows * columns]
    if len(bits) < rows * columns:
        return None, 0, 0
    origin = whole.words(group + _ORIGIN).astype(np.int16)
    top, left = (int(origin[0]) - 1, int(origin[1]) - 1) if len(origin) > 1 else (0, 0)
    return bits.reshape(rows, columns).astype(bool), top, left


def _outline(plane: Array) -> Array:
    """The pixels of an area that have a neighbour outside of it."""
    around = np.pad(plane, 1)
    within = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    outline: Array = plane & ~within
    return outline


def _rectangle(where: Attributes, rows: int, columns: int) -> Array:
    seen = np.ones((rows, columns), bool)
    top, bottom, left, right = (next(iter(where.decimals(tag)), None) for tag in _EDGES)
    line, column = np.arange(1, rows + 1)[:, None], np.arange(1, columns + 1)
    for edge, place, is_first in (
        (top, line, True),
        (bottom, line, False),
        (left, column, True),
        (right, column, False),
    ):
        if edge is not None:
            seen &= place >= edge if is_first else place <= edge
    return seen


def _circle(where: Attributes, rows: int, columns: int) -> Array:
    center, radius = where.decimals(_CENTER), where.decimals(_RADIUS)
    if len(center) != 2 or not radius:
        return np.ones((rows, columns), bool)
    line, column = np.arange(1, rows + 1)[:, None], np.arange(1, columns + 1)
    inside: Array = np.hypot(line - center[0], column - center[1]) <= radius[0]
    return inside


def _polygon(where: Attributes, rows: int, columns: int) -> Array:
    numbers = where.decimals(_VERTICES)
    if not 6 <= len(numbers) <= 2 * _VERTICES_MAX or len(numbers) % 2:
        return np.ones((rows, columns), bool)
    return within(np.array(numbers[::2]), np.array(numbers[1::2]), rows, columns)


def within(y: Array, x: Array, rows: int, columns: int) -> Array:
    """Whether each pixel, its middle at its number from 1, is inside of a polygon: edges to its left are counted."""
    seen = np.zeros((rows, columns), bool)
    y_next, x_next = np.roll(y, -1), np.roll(x, -1)
    for line in range(rows):
        crossed = (y <= line + 1) != (y_next <= line + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.sort((x + (line + 1 - y) / (y_next - y) * (x_next - x))[crossed])
        seen[line] = np.searchsorted(at, np.arange(1, columns + 1), side="right") % 2 == 1
    return seen


_SHAPES = {"RECTANGULAR": _rectangle, "CIRCULAR": _circle, "POLYGONAL": _polygon}
