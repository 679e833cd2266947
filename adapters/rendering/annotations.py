"""The graphics and texts of a presentation state, drawn over what is displayed (PS3.3 C.10.5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.unfit import Unfit
from adapters.rendering.attributes import Attributes
from adapters.rendering.lettering import extent, letter_size, lettered
from adapters.rendering.overlays import within
from adapters.rendering.presentation import Presentation
from adapters.rendering.view import View

_TEXTS, _GRAPHICS = 0x00700008, 0x00700009
_UNITS, _DATA, _TYPE, _FILLED = 0x00700005, 0x00700022, 0x00700023, 0x00700024
_TEXT, _BOX_UNITS, _TOP_LEFT, _BOTTOM_RIGHT = 0x00700006, 0x00700003, 0x00700010, 0x00700011
_JUSTIFICATION, _ANCHOR_UNITS, _ANCHOR, _IS_VISIBLE = 0x00700012, 0x00700004, 0x00700014, 0x00700015
_PLACES = {"LEFT": 0.0, "CENTER": 0.5, "RIGHT": 1.0}
_TEXTS_MAX = 1_000
_POINTS_MAX = 100_000
_ROUND = np.linspace(0, 2 * np.pi, 129)
_BETWEEN = np.linspace(0, 1, 17)[:-1]
_ARM = 3
_THIN_UP_TO = 768


def annotated(view: View, presentation: Presentation, frame: int) -> Array:
    """The pixels with the annotations of a frame, counted from 0. Raises Unfit for more than anyone draws."""
    groups = presentation.annotations(frame)
    if not groups:
        return view.pixels
    drawn = np.ascontiguousarray(view.pixels).copy()
    points = texts = 0
    for layer, group in groups:
        for graphic in group.items(_GRAPHICS):
            line = _outline(graphic)
            points += len(line)
            if points > _POINTS_MAX:
                raise Unfit("the presentation state has more graphics than can be drawn")
            if not len(line) or not np.isfinite(line).all():
                continue
            placed = _placed(line, view, graphic.text(_UNITS))
            if graphic.text(_TYPE) == "POINT":
                _cross(drawn, placed[0], layer.level)
                continue
            if graphic.text(_FILLED) == "Y":
                drawn[within(placed[:, 1] + 0.5, placed[:, 0] + 0.5, drawn.shape[0], drawn.shape[1])] = layer.level
            _stroke(drawn, placed, layer.level)
        for text in group.items(_TEXTS):
            texts += 1
            if texts > _TEXTS_MAX:
                raise Unfit("the presentation state has more texts than can be drawn")
            _write(drawn, text, view, layer.level)
    return drawn


def _placed(points: Array, view: View, units: str) -> Array:
    """Points of the image, or of the displayed area, where they come to lie."""
    matrix = view.from_area if units == "DISPLAY" else view.from_image
    placed: Array = points @ matrix[:2, :2].T + matrix[:2, 2]
    return placed


def _write(pixels: Array, item: Attributes, view: View, level: int) -> None:
    """A text in its box, upright however the image is turned, or beside its anchor (C.10.5.1.1)."""
    text, size = item.unicode(_TEXT), letter_size(pixels)
    width, height = extent(text, size)
    corners = [item.floats(_TOP_LEFT), item.floats(_BOTTOM_RIGHT)]
    anchor = np.array([item.floats(_ANCHOR)])
    has_anchor = anchor.shape == (1, 2) and bool(np.isfinite(anchor).all())
    at = _placed(anchor, view, item.text(_ANCHOR_UNITS))[0] if has_anchor else None
    if all(len(one) == 2 and np.isfinite(one).all() for one in corners):
        box = _placed(np.array(corners), view, item.text(_BOX_UNITS))
        (left, top), (right, _) = box.min(axis=0), box.max(axis=0)
        left += max(0.0, right - left - width) * _PLACES.get(item.text(_JUSTIFICATION), 0.0)
    elif at is not None:
        left, top = at[0] + size * 4, at[1] - height / 2
    else:
        return
    if at is not None and item.text(_IS_VISIBLE) == "Y":
        nearest = np.array([np.clip(at[0], left, left + width), np.clip(at[1], top, top + height)])
        _stroke(pixels, np.array([at, nearest]), level)
    lettered(pixels, text, float(left), float(top), level, size)


def _outline(graphic: Attributes) -> Array:
    """The points of a line along the graphic, as x and y."""
    data = graphic.floats(_DATA)
    points = np.array(data[: len(data) // 2 * 2], np.float64).reshape(-1, 2)
    kind = graphic.text(_TYPE)
    if kind == "CIRCLE" and len(points) == 2:
        radius = np.hypot(*(points[1] - points[0]))
        points = points[0] + radius * np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=-1)
    elif kind == "ELLIPSE" and len(points) == 4:
        middle = (points[0] + points[1]) / 2
        along, across = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
        points = middle + np.outer(np.cos(_ROUND), along) + np.outer(np.sin(_ROUND), across)
    elif kind == "INTERPOLATED" and 2 < len(points) < _POINTS_MAX // len(_BETWEEN):
        points = np.concatenate([*_curve(points), points[-1:]])
    elif kind not in ("POINT", "POLYLINE", "INTERPOLATED"):
        points = points[:0]
    return points


def _curve(points: Array) -> Iterator[Array]:
    """A smooth line through points, each pair's part of it (Catmull-Rom: how it is smooth is not specified)."""
    closed = bool((points[0] == points[-1]).all())
    before, behind = (points[-2], points[1]) if closed else (points[0], points[-1])
    around = np.concatenate([before[None], points, behind[None]])
    t = _BETWEEN[:, None]
    for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False):
        yield 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def _stroke(pixels: Array, points: Array, level: int) -> None:
    """A line through the points, as wide as a picture of this size wants it."""
    size = max(pixels.shape[:2])
    points = points.clip(-size, 2 * size)
    wide = 1 if size <= _THIN_UP_TO else 2
    for first, last in pairwise(points):
        steps = int(np.ceil(np.abs(last - first).max() * 2)) + 1
        along = first + (last - first) * np.linspace(0, 1, steps)[:, None]
        columns, rows = np.floor(along).astype(np.intp).T
        for down in range(wide):
            for right in range(wide):
                _set(pixels, rows + down, columns + right, level)


def _cross(pixels: Array, point: Array, level: int) -> None:
    column, row = (int(one) for one in np.floor(point.clip(-1e6, 1e6)))
    arm = np.arange(-_ARM, _ARM + 1)
    _set(pixels, np.full(len(arm), row), column + arm, level)
    _set(pixels, row + arm, np.full(len(arm), column), level)


def _set(pixels: Array, rows: Array, columns: Array, level: int) -> None:
    inside = (rows >= 0) & (rows < pixels.shape[0]) & (columns >= 0) & (columns < pixels.shape[1])
    pixels[rows[inside], columns[inside]] = level
