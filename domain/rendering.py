"""How an object is to be shown: what a request for a rendered resource can ask (PS3.18 8.3.5, 9.5.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

JPEG, PNG, GIF, JP2 = "image/jpeg", "image/png", "image/gif", "image/jp2"
HTML, PLAIN, XML, PDF = "text/html", "text/plain", "text/xml", "application/pdf"
IMAGES = (JPEG, PNG, GIF, JP2)
MOVING = (GIF, JPEG, PNG, JP2)
TEXTS = (HTML, PLAIN, XML)
"""What each category of objects is shown as, the default first (PS3.18 Table 8.7.4-1)."""

PIPELINE = 3
"""Goes up when the same object and request are shown otherwise than before: what was kept is not fresh any more."""

_PRESENTATION_STATES = "1.2.840.10008.5.1.4.1.1.11."
_RENDERED_STATES = frozenset(f"{_PRESENTATION_STATES}{number}" for number in (1, 2, 3))
"""Grayscale, Color and Pseudo-Color Softcopy Presentation State Storage."""

PATIENT, TECHNIQUE = ANNOTATIONS = ("patient", "technique")
"""What can be written over an image (PS3.18 8.3.5.1.1)."""

QUALITY = 90
"""The quality of what can lose some, where none is asked for."""

REPRESENTATIVE = 0
"""A frame number: the frame that stands for the object, its Representative Frame Number or the middle one."""

ALL_FRAMES = -1
"""A frame number: all of them, one after the other, or the first where the media type holds only one."""

ONLY_FRAME = -2
"""A frame number: the frame of an object that has no other."""


class Shape(Enum):
    """The function of a window (PS3.3 C.11.2.1.2, C.11.2.1.3); the value is that of VOI LUT Function (0028,1056)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


class ColourSpace(Enum):
    """The colours of a rendered image (PS3.18 8.3.5.1.5); the value is that of the parameter ``iccprofile``."""

    DEFAULT = ""
    NONE = "no"
    OWN = "yes"
    SRGB = "srgb"
    ADOBE_RGB = "adobergb"
    ROMM_RGB = "rommrgb"
    DISPLAY_P3 = "displayp3"


@dataclass(frozen=True, slots=True)
class Window:
    """A window on the output of the Modality LUT."""

    center: float
    width: float
    shape: Shape = Shape.LINEAR


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the image, in pixels from its upper left corner, or in fractions of its size.

    ``width`` and ``height`` reach to the edge where they are None; negative ones flip (PS3.18 8.3.5.1.3).
    """

    left: float = 0.0
    top: float = 0.0
    width: float | None = None
    height: float | None = None
    in_fractions: bool = False


@dataclass(frozen=True, slots=True)
class Rendering:
    """What is asked for. ``media_types`` are names and ranges, the most wanted first.

    ``frame`` counts from 1, or is one of those names. ``size`` is the width and height that the image shall
    fit into, its pixels squared; without it the image keeps its pixels.
    """

    media_types: tuple[str, ...]
    frame: int = REPRESENTATIVE
    window: Window | None = None
    region: Region | None = None
    size: tuple[int, int] | None = None
    quality: int = QUALITY
    colour_space: ColourSpace = ColourSpace.DEFAULT
    annotations: tuple[str, ...] = ()


def is_presentation_state(sop_class_uid: str) -> bool:
    """Whether an instance of this class says how others are shown (PS3.4 N)."""
    return sop_class_uid.startswith(_PRESENTATION_STATES)


def can_present(sop_class_uid: str) -> bool:
    """Whether images are shown by presentation states of this class."""
    return sop_class_uid in _RENDERED_STATES


def chosen(wanted: Sequence[str], served: Sequence[str]) -> str:
    """The first of the served media types that the most wanted name or range takes; empty where none does."""
    for one in wanted:
        family = one.removesuffix("*") if one.endswith("/*") else ""
        for name in served:
            if one in ("*/*", name) or (family and name.startswith(family)):
                return name
    return ""
