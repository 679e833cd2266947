"""Dates and times as they are compared: by meaning, a value of low precision covers its whole interval (C.2.2.2.5)."""

from __future__ import annotations

import re

from domain.errors import Because, Refused

_SHAPES = {
    "DA": (re.compile(r"\d{4}(\d{2}(\d{2})?)?\Z"), 8),
    "TM": (re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?\Z"), 12),
    "DT": (re.compile(r"\d{4}(\d{2}(\d{2}(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?)?)?\Z"), 20),
}
_ZONE = re.compile(r"[+-]\d{4}\Z")


def interval(key: str, vr: str) -> tuple[str, str]:
    """The first and last moment that a key covers, as digits that compare in order. Raises Refused (C000)."""
    text = key.strip()
    if vr == "DT" and (zone := _ZONE.search(text)) and len(text) - 5 not in (4,):
        text = text[: zone.start()]
    if "-" not in text:
        return _low(text, vr), _high(text, vr)
    first, _, last = text.partition("-")
    low = _low(first, vr) if first else ""
    high = _high(last, vr) if last else "~"
    return low, high


def moment(value: str, vr: str) -> str | None:
    """A stored value as digits that compare in order, or None where it is none."""
    text = _ZONE.sub("", value.strip()) if vr == "DT" else value.strip()
    pattern, width = _SHAPES[vr]
    plain = _plain(text, vr)
    return plain.replace(".", "").ljust(width, "0") if pattern.match(plain) else None


def _low(text: str, vr: str) -> str:
    return _digits(text, vr).ljust(_SHAPES[vr][1], "0")


def _high(text: str, vr: str) -> str:
    return _digits(text, vr).ljust(_SHAPES[vr][1], "9")


def _digits(text: str, vr: str) -> str:
    plain = _plain(text.strip(), vr)
    if not _SHAPES[vr][0].match(plain):
        raise Refused(Because.CANNOT_UNDERSTAND, f"a {vr} key is neither a value nor a range")
    return plain.replace(".", "")


def _plain(text: str, vr: str) -> str:
    """Old forms YYYY.MM.DD and HH:MM:SS without their separators (PS3.5 6.2)."""
    return text.replace(".", "") if vr == "DA" else text.replace(":", "")
