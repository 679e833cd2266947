"""Query strings of rendered resources as what they ask (PS3.18 8.3.5). Every fault is named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl

from api.dicomweb.media_types import MULTIPART_RELATED, MediaType
from domain.errors import InvalidInput
from domain.limits import Limits
from domain.rendering import ANNOTATIONS, IMAGES, PDF, QUALITY, TEXTS, ColourSpace, Region, Rendering, Shape, Window

_DECIMAL = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,2})?\Z")
_SHAPES = {shape.value.lower().replace("_", "-"): shape for shape in Shape}
_Value = TypeVar("_Value")


@dataclass(slots=True)
class Reading:
    """A query string being read; what is wrong with it gathers in ``faults``."""

    limits: Limits
    faults: list[str] = field(default_factory=list)

    def pairs(self, query_string: bytes, known: Iterable[str]) -> dict[str, str]:
        """The known parameters; each may stand once. Others are ignored (8.3)."""
        try:
            pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError:
            raise InvalidInput(["query: is not UTF-8 in percent encoding"]) from None
        names = set(known)
        found: dict[str, str] = {}
        for name, value in pairs:
            if name in names and found.setdefault(name, value) != value:
                self.faults.append(f"{name}: stands twice")
        return found

    def value(self, found: Mapping[str, str], name: str, read: Callable[[str], _Value]) -> _Value | None:
        """A parameter's value, None where it is absent or wrong."""
        if name not in found:
            return None
        try:
            return read(found[name])
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
            return None

    def finish(self) -> None:
        """Raise :class:`InvalidInput` where anything was wrong."""
        if self.faults:
            raise InvalidInput(self.faults)


def rendering_parameters(query_string: bytes, media_types: tuple[str, ...], limits: Limits) -> Rendering:
    """What is asked for of all frames (8.3.5.1). Raises :class:`InvalidInput`."""
    reading = Reading(limits)
    found = reading.pairs(query_string, ("window", "viewport", "quality", "iccprofile", "annotation"))
    viewport = reading.value(found, "viewport", lambda text: viewport_of(text, limits))
    asked = Rendering(
        media_types,
        window=reading.value(found, "window", window_of),
        region=viewport[1] if viewport else None,
        size=viewport[0] if viewport else None,
        quality=reading.value(found, "quality", quality_of) or QUALITY,
        colour_space=reading.value(found, "iccprofile", colour_space_of) or ColourSpace.DEFAULT,
        annotations=reading.value(found, "annotation", annotations_of) or (),
    )
    reading.finish()
    return asked


def thumbnail_parameters(query_string: bytes, media_types: tuple[str, ...], limits: Limits) -> Rendering:
    """What is asked for of a thumbnail: only a viewport of width and height (8.3.5.2)."""
    reading = Reading(limits)
    found = reading.pairs(query_string, ("viewport",))
    size = reading.value(found, "viewport", lambda text: _size(text.split(","), limits))
    reading.finish()
    return Rendering(media_types, size=size or (limits.thumbnail_side,) * 2)


def media_types_of(wanted: Iterable[MediaType]) -> tuple[str, ...]:
    """The names and ranges that are acceptable, also as parts of a multipart answer (8.7.5).

    A range of which some is refused is what is left of it.
    """
    names: list[str] = []
    for one in wanted:
        if one.without:
            names += [name for name in (*IMAGES, *TEXTS, PDF) if one.covers(name)]
        else:
            names.append((one.part_type or "*/*") if one.name == MULTIPART_RELATED else one.name)
    return tuple(dict.fromkeys(names))


def window_of(text: str) -> Window:
    """``center,width,function`` (8.3.5.1.4)."""
    parts = text.split(",")
    if len(parts) != 3 or parts[2] not in _SHAPES:
        raise ValueError(f"is not center,width,function with one of {', '.join(_SHAPES)}")
    return made_window(decimal(parts[0]), decimal(parts[1]), _SHAPES[parts[2]])


def made_window(center: float, width: float, shape: Shape) -> Window:
    """A window whose width its function allows (PS3.3 C.11.2.1.2.1)."""
    if width <= 0 or (shape is Shape.LINEAR and width < 1):
        raise ValueError("has a width that its function does not allow")
    return Window(center, width, shape)


def viewport_of(text: str, limits: Limits) -> tuple[tuple[int, int], Region | None]:
    """``vw,vh[,sx,sy,sw,sh]``: the size, and the region where one is named (8.3.5.1.3)."""
    parts = text.split(",")
    if not 2 <= len(parts) <= 6:
        raise ValueError("is not vw,vh,sx,sy,sw,sh")
    size = _size(parts[:2], limits)
    left, top, width, height = (decimal(part) if part else None for part in (*parts[2:], *[""] * (6 - len(parts))))
    if 0 in (width, height):
        raise ValueError("has a region of no size")
    if left is top is width is height is None:
        return size, None
    return size, Region(left or 0.0, top or 0.0, width, height)


def quality_of(text: str) -> int:
    """A whole number from 1 to 100 (8.3.5.1.2)."""
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 100):
        raise ValueError("is not a whole number from 1 to 100")
    return int(text)


def colour_space_of(text: str) -> ColourSpace:
    """A name of 8.3.5.1.5."""
    names = [one.value for one in ColourSpace if one.value]
    if text not in names:
        raise ValueError(f"is none of {', '.join(names)}")
    return ColourSpace(text)


def annotations_of(text: str) -> tuple[str, ...]:
    """Keywords of 8.3.5.1.1."""
    names = tuple(text.split(","))
    if any(name not in ANNOTATIONS for name in names):
        raise ValueError(f"is not a list of {', '.join(ANNOTATIONS)}")
    return names


def decimal(text: str) -> float:
    """A decimal number."""
    if not _DECIMAL.match(text) or not math.isfinite(float(text)):
        raise ValueError("has a part that is not a decimal number")
    return float(text)


def side(text: str, limits: Limits) -> int:
    """The width or height of a picture."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise ValueError("has a width or height that is not a positive whole number")
    if int(text) > limits.rendered_side_max:
        raise ValueError(f"has a side of more than {limits.rendered_side_max} pixels")
    return int(text)


def _size(parts: list[str], limits: Limits) -> tuple[int, int]:
    if len(parts) != 2:
        raise ValueError("is not vw,vh")
    return side(parts[0], limits), side(parts[1], limits)
