"""Texts drawn over pictures: those of presentation states, and the annotations that a request asks for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from adapters.codecs.decoding import Array
from adapters.rendering.attributes import Attributes
from adapters.rendering.glyphs import HEIGHT, WIDTH, glyph
from adapters.rendering.readable import readable
from domain.rendering import PATIENT, TECHNIQUE

_LINES_MAX, _LETTERS_MAX = 64, 256
_MARGIN = 4
_SMALL_UP_TO = 768
_WHITE = 255
_TEXTS = {
    PATIENT: (
        ("", 0x00100010, "PN"),
        ("ID ", 0x00100020, "LO"),
        ("born ", 0x00100030, "DA"),
        ("", 0x00100040, "CS"),
    ),
    TECHNIQUE: (
        ("", 0x00080060, "CS"),
        ("", 0x00080020, "DA"),
        ("", 0x00080030, "TM"),
        ("", 0x00081030, "LO"),
        ("series ", 0x00200011, "IS"),
        ("image ", 0x00200013, "IS"),
        ("position ", 0x00201041, "DS"),
        ("thickness ", 0x00180050, "DS"),
        ("kVp ", 0x00180060, "DS"),
        ("TR ", 0x00180080, "DS"),
        ("TE ", 0x00180081, "DS"),
    ),
}


def letter_size(pixels: Array) -> int:
    """How many pixels a letter's pixel is wide and high, so that it is read in a picture of this size."""
    return 1 if max(pixels.shape[:2]) <= _SMALL_UP_TO else 2


def lettered(pixels: Array, text: str, left: float, top: float, level: int, size: int) -> None:
    """Draw a text in place, each letter with a dark edge, so that it is read on any ground. What is outside is cut."""
    mask = _mask(text, size)
    padded = np.pad(mask, 1)
    around = padded.copy()
    for axis in (0, 1):
        around |= np.roll(around, 1, axis) | np.roll(around, -1, axis)
    place = int(np.floor(np.clip(top, -1e6, 1e6))) - 1, int(np.floor(np.clip(left, -1e6, 1e6))) - 1
    _paint(pixels, around, place, 0 if level >= _WHITE // 2 else _WHITE)
    _paint(pixels, padded, place, level)


def extent(text: str, size: int) -> tuple[int, int]:
    """The width and height of a text."""
    rows, columns = _mask(text, size).shape
    return columns, rows


def annotated_by(pixels: Array, whole: Attributes, names: Sequence[str], frame: str) -> Array:
    """The picture with what is asked for (PS3.18 8.3.5.1.1): the patient above, the technique and frame below."""
    if not names:
        return pixels
    drawn = np.ascontiguousarray(pixels).copy()
    size = letter_size(drawn)
    if PATIENT in names:
        lettered(drawn, "\n".join(_values(whole, PATIENT)), _MARGIN, _MARGIN, _WHITE, size)
    if TECHNIQUE in names:
        text = "\n".join([*_values(whole, TECHNIQUE), *([frame] if frame else [])])
        lettered(drawn, text, _MARGIN, drawn.shape[0] - extent(text, size)[1] - _MARGIN, _WHITE, size)
    return drawn


def _values(whole: Attributes, name: str) -> Iterator[str]:
    for label, tag, vr in _TEXTS[name]:
        if value := readable(whole.unicode(tag, name=vr == "PN"), vr):
            yield f"{label}{value}"


def _mask(text: str, size: int) -> Array:
    """The letters of a text as bits; long texts are cut."""
    composed = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    lines = [line[:_LETTERS_MAX] for line in composed.split("\n")[:_LINES_MAX]]
    rows = np.zeros((len(lines) * HEIGHT, max(map(len, lines)) * WIDTH), bool)
    for number, line in enumerate(lines):
        for place, character in enumerate(line):
            if character.isprintable() and character != " ":
                bits = np.unpackbits(np.frombuffer(glyph(character), np.uint8)).reshape(HEIGHT, 8)
                rows[number * HEIGHT : (number + 1) * HEIGHT, place * WIDTH : (place + 1) * WIDTH] = bits[:, :WIDTH]
    return rows.repeat(size, axis=0).repeat(size, axis=1)


def _paint(pixels: Array, mask: Array, place: tuple[int, int], level: int) -> None:
    top, left = place
    part = mask[max(0, -top) :, max(0, -left) :]
    below = pixels[max(0, top) :, max(0, left) :][: part.shape[0], : part.shape[1]]
    below[part[: below.shape[0], : below.shape[1]]] = level
