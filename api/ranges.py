"""Byte ranges and conditions of requests (RFC 9110 13, 14): few ranges, none that costs more than the whole (B49)."""

from __future__ import annotations

import re
from itertools import pairwise

from fastapi import Request

from api.problems import HttpRefusal

_RANGE = re.compile(r"(\d{0,18})-(\d{0,18})\Z")

Range = tuple[int, int]
"""First byte and length."""


def wanted_ranges(request: Request, length: int, etag: str, ranges_max: int) -> list[Range] | None:
    """The ranges to answer, None for the whole. Raises 416 where none can be satisfied.

    What is no Range of bytes or not asked with GET is ignored (14.2), so are more than ``ranges_max``, ones that
    overlap, and any under an If-Range that does not name what there is now (13.1.5).
    """
    header = request.headers.get("range", "") if request.method == "GET" else ""
    if_range = request.headers.get("if-range")
    unit, separator, listed = header.partition("=")
    if not separator or unit.strip().lower() != "bytes" or (if_range is not None and if_range.strip() != etag):
        return None
    parts = listed.split(",", ranges_max)
    if len(parts) > ranges_max:
        return None
    ranges: list[Range] = []
    for part in parts:
        match = _RANGE.match(part.strip())
        if match is None or part.strip() == "-":
            return None
        first, last = match.groups()
        if first and last and int(first) > int(last):
            return None
        if one := _satisfied(first, last, length):
            ranges.append(one)
    # Bytes asked for twice would make an answer longer than the whole.
    ordered = sorted(ranges)
    if any(a + size > b for (a, size), (b, _) in pairwise(ordered)):
        return None
    if not ranges:
        raise HttpRefusal(416, "there are no such bytes", {"Content-Range": f"bytes */{length}"})
    return ranges


def is_known(request: Request, etag: str) -> bool:
    """Whether the asker has this already: If-None-Match names it (13.1.2), compared weakly.

    Raises 412 where only something else is wanted: If-Match does not name it (13.1.1), compared strongly.
    """
    wanted = [one.strip() for one in ",".join(request.headers.getlist("if-match")).split(",") if one.strip()]
    if wanted and "*" not in wanted and (etag not in wanted or etag.startswith("W/")):
        raise HttpRefusal(412, "there is another representation now than If-Match names")
    known = [one.strip().removeprefix("W/") for one in ",".join(request.headers.getlist("if-none-match")).split(",")]
    return "*" in known or etag.removeprefix("W/") in known


def content_range(one: Range, length: int) -> str:
    """The value of Content-Range."""
    first, size = one
    return f"bytes {first}-{first + size - 1}/{length}"


def _satisfied(first: str, last: str, length: int) -> Range | None:
    if not first:
        size = min(int(last), length)
        return (length - size, size) if size else None
    start = int(first)
    if start >= length:
        return None
    return start, min(int(last) + 1 if last else length, length) - start
