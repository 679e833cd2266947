"""What of an image is displayed, turned and scaled, and where its points come to lie (PS3.3 C.10.4, C.10.6)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.unfit import Unfit
from adapters.rendering.attributes import Attributes
from adapters.rendering.geometry import fitting, scaled, span
from adapters.rendering.presentation import Presentation
from domain.limits import Limits
from domain.rendering import Region

_TOP_LEFT, _BOTTOM_RIGHT, _MODE = 0x00700052, 0x00700053, 0x00700100
_SPACING, _ASPECT_RATIO, _MAGNIFICATION = 0x00700101, 0x00700102, 0x00700103
_ROTATION, _FLIP = 0x00700042, 0x00700041
_RATIO_MAX = 100.0


@dataclass(frozen=True, slots=True)
class View:
    """Pixels, and the matrices by which points come to their place in them.

    Points of the image are in its pixels, 0.0 at the edge of the first; those of the displayed area in fractions of it.
    """

    pixels: Array
    from_image: Array
    from_area: Array

    def cropped(self, region: Region | None) -> View:
        """A region of what is seen. Raises Unasked where it has none in it."""
        if region is None:
            return self
        rows, columns = self.pixels.shape[:2]
        left, right, mirrored = span(region.left, region.width, columns, in_fractions=region.in_fractions)
        top, bottom, upended = span(region.top, region.height, rows, in_fractions=region.in_fractions)
        part = self._moved(self.pixels[top:bottom, left:right], _translation(-left, -top))
        if mirrored:
            part = part._moved(part.pixels[:, ::-1], _mirror(right - left))
        if upended:
            part = part._moved(part.pixels[::-1], _upend(bottom - top))
        return part

    def scaled(self, rows: int, columns: int) -> View:
        """All that is seen in another size."""
        ratios = columns / self.pixels.shape[1], rows / self.pixels.shape[0]
        return self._moved(scaled(self.pixels, rows, columns), np.diag([*ratios, 1.0]))

    def _moved(self, pixels: Array, matrix: Array) -> View:
        return View(pixels, matrix @ self.from_image, matrix @ self.from_area)


def whole(pixels: Array) -> View:
    """All of an image as it is."""
    rows, columns = pixels.shape[:2]
    return View(pixels, np.eye(3), np.diag([float(columns), float(rows), 1.0]))


def displayed(pixels: Array, presentation: Presentation, frame: int, limits: Limits) -> View:
    """The area that a presentation state selects, black where it reaches beyond the image, then turned and flipped."""
    area = presentation.area(frame)
    first = area.longs(_TOP_LEFT) if area else []
    last = area.longs(_BOTTOM_RIGHT) if area else []
    view = whole(pixels)
    if len(first) == len(last) == 2:
        corners = np.array([first, last], np.int64).astype(np.int32)
        (left, top), (right, bottom) = corners.min(axis=0) - 1, corners.max(axis=0)
        view = _selected(view, (int(left), int(top), int(right), int(bottom)), limits)
    for _ in range((presentation.state.number(_ROTATION) or 0) // 90 % 4):
        view = view._moved(np.rot90(view.pixels, -1), _quarter(view.pixels.shape[0]))
    if presentation.state.text(_FLIP) == "Y":
        view = view._moved(view.pixels[:, ::-1], _mirror(view.pixels.shape[1]))
    rows, columns = view.pixels.shape[:2]
    return replace(view, from_area=np.diag([float(columns), float(rows), 1.0]))


def fitted(view: View, presentation: Presentation, frame: int, room: tuple[int, int] | None, limits: Limits) -> View:
    """What is displayed, scaled into a width and height (PS3.18 9.5.2.3); magnified, it is cropped to them instead."""
    area = presentation.area(frame)
    height = _pixel_height(area, presentation)
    shape = (view.pixels.shape[0], view.pixels.shape[1])
    side = limits.rendered_side_max
    factor = next(iter(area.floats(_MAGNIFICATION)), 0.0) if area and area.text(_MODE) == "MAGNIFY" else 0.0
    if 0 < factor < np.inf:
        rows, columns = (max(1, round(one * factor)) for one in (shape[0] * height, shape[1]))
        if max(rows, columns) > side:
            rows, columns = fitting(shape, (side, side), height)
        return _middle(view.scaled(rows, columns), room)
    if room is None and max(shape) <= side:
        return view
    return view.scaled(*fitting(shape, room or (side, side), height if room else 1.0))


def _middle(view: View, room: tuple[int, int] | None) -> View:
    if room is None:
        return view
    rows, columns = view.pixels.shape[:2]
    width, height = min(room[0], columns), min(room[1], rows)
    return view.cropped(Region((columns - width) // 2, (rows - height) // 2, width, height))


def _selected(view: View, area: tuple[int, int, int, int], limits: Limits) -> View:
    left, top, right, bottom = area
    pixels = view.pixels
    rows, columns = bottom - top, right - left
    if max(rows, columns) > limits.decoded_side_max or rows * columns * 3 > limits.decoded_frame_max:
        raise Unfit("the displayed area is larger than any image may be")
    selected = np.zeros((rows, columns, *pixels.shape[2:]), pixels.dtype)
    part = pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    down, along = max(0, -top), max(0, -left)
    selected[down : down + part.shape[0], along : along + part.shape[1]] = part
    return view._moved(selected, _translation(-left, -top))


def _pixel_height(area: Attributes | None, presentation: Presentation) -> float:
    """How much higher than wide a displayed pixel is: its spacing or ratio, turned as the image is."""
    for numbers in (area.decimals(_SPACING), area.decimals(_ASPECT_RATIO)) if area else ():
        if len(numbers) == 2 and min(numbers) > 0:
            ratio = numbers[0] / numbers[1]
            if (presentation.state.number(_ROTATION) or 0) // 90 % 2:
                ratio = 1 / ratio
            return ratio if 1 / _RATIO_MAX <= ratio <= _RATIO_MAX else 1.0
    return 1.0


def _translation(along: float, down: float) -> Array:
    return np.array([[1.0, 0.0, along], [0.0, 1.0, down], [0.0, 0.0, 1.0]])


def _quarter(rows: int) -> Array:
    """A quarter turn clockwise."""
    return np.array([[0.0, -1.0, rows], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def _mirror(columns: int) -> Array:
    return np.array([[-1.0, 0.0, columns], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _upend(rows: int) -> Array:
    return np.array([[1.0, 0.0, 0.0], [0.0, -1.0, rows], [0.0, 0.0, 1.0]])
