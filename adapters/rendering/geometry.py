"""Cropping, flipping and scaling (PS3.18 8.3.5.1.3)."""

from __future__ import annotations

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.unfit import Unasked
from adapters.rendering.attributes import Attributes

_ASPECT_RATIO, _SPACING, _IMAGER_SPACING = 0x00280034, 0x00280030, 0x00181164
_RATIO_MAX = 100.0


def pixel_height(whole: Attributes) -> float:
    """How much higher than wide a pixel is (C.7.6.3.1.7); 1 where nothing sensible is said."""
    for tag in (_ASPECT_RATIO, _SPACING, _IMAGER_SPACING):
        numbers = whole.decimals(tag)
        if len(numbers) == 2 and min(numbers) > 0:
            ratio = numbers[0] / numbers[1]
            return ratio if 1 / _RATIO_MAX <= ratio <= _RATIO_MAX else 1.0
    return 1.0


def span(begin: float, length: float | None, size: int, *, in_fractions: bool) -> tuple[int, int, bool]:
    """Where a side of a region begins and ends, and whether it is flipped. Raises Unasked where it is outside."""
    unit = size if in_fractions else 1
    first = abs(begin) * unit
    last = size if length is None else min(size, first + abs(length) * unit)
    low, high = int(first), int(np.ceil(last))
    if not 0 <= low < high <= size:
        raise Unasked("viewport: the region is outside of the image")
    return low, high, length is not None and length < 0


def fitting(shape: tuple[int, int], room: tuple[int, int], height: float) -> tuple[int, int]:
    """Rows and columns of the largest picture of this shape within a width and height, its pixels squared."""
    rows, columns = shape[0] * height, float(shape[1])
    scale = min(room[0] / columns, room[1] / rows)
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def scaled(pixels: Array, rows: int, columns: int) -> Array:
    """8-bit pixels in another size: averaged where it is smaller, interpolated where it is larger."""
    out: Array = pixels
    # What makes less of it comes first; rows are next to each other in memory.
    sizes = ((0, rows), (1, columns))
    for axis, size in sizes if rows <= pixels.shape[0] else reversed(sizes):
        out = _along(out, axis, size)
    return np.rint(out).clip(0, 255).astype(np.uint8) if out is not pixels else pixels


def _along(pixels: Array, axis: int, size: int) -> Array:
    """One axis in another size, each new pixel the weighted mean of those under a triangle."""
    old = pixels.shape[axis]
    if old == size:
        return pixels
    ratio = old / size
    reach = max(1.0, ratio)
    middles = (np.arange(size) + 0.5) * ratio - 0.5
    first = np.floor(middles - reach).astype(np.intp) + 1
    taps = int(np.ceil(2 * reach))
    places = first[:, None] + np.arange(taps)
    weights = np.clip(1 - np.abs(places - middles[:, None]) / reach, 0, None)
    weights[(places < 0) | (places >= old)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    places = places.clip(0, old - 1)
    shape = [1] * pixels.ndim
    shape[axis] = size
    out = np.zeros((*pixels.shape[:axis], size, *pixels.shape[axis + 1 :]), np.float32)
    for tap in range(taps):
        out += np.take(pixels, places[:, tap], axis=axis) * weights[:, tap].astype(np.float32).reshape(shape)
    return out
