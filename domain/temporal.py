"""Dates and times as they are compared: by meaning, a value of low precision covers its whole interval (C.2.2.2.5)."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from domain.errors import Because, Refused

_SHAPES = {
    "DA": (re.compile(r"[0-9]{4}([0-9]{2}([0-9]{2})?)?\Z"), 8),
    "TM": (re.compile(r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?\Z"), 12),
}
_DATE_TIME = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?"
    r"([+-][0-9]{4})?\Z"
)
_ZONE = re.compile(r"([+-])([0-9]{2})([0-9]{2})\Z")
_ZONE_FIRST, _ZONE_LAST = timedelta(hours=-12), timedelta(hours=14)

_EPOCH = datetime.min.replace(tzinfo=UTC)

Moment = tuple[timedelta, timedelta | None]
"""A moment by the clock on the wall since the year 1, and how far that clock is ahead of UTC where it is known."""


def interval(key: str, vr: str) -> tuple[str, str]:
    """The first and last moment that a DA or TM key covers, as digits that compare in order. Raises Refused (C000)."""
    text = key.strip()
    if "-" not in text:
        return _digits(text, vr, "0"), _digits(text, vr, "9")
    first, _, last = text.partition("-")
    if not first and not last:
        raise _refusal(vr)
    return _digits(first, vr, "0") if first else "", _digits(last, vr, "9") if last else "~"


def moment(value: str, vr: str) -> str | None:
    """A stored DA or TM as digits that compare in order, or None where it is none."""
    pattern, width = _SHAPES[vr]
    plain = _plain(value.strip(), vr)
    return plain.replace(".", "").ljust(width, "0") if pattern.match(plain) else None


def covers(key: str, vr: str, value: str, key_zone: str = "", value_zone: str = "") -> bool:
    """Whether a stored DA, TM or DT lies within what a key says. Raises Refused (C000) for what is no key.

    The zones (Timezone Offset From UTC) hold for a DT that names none itself. Where either side's zone is unknown,
    the clocks on the wall are compared (correctness C1.10). DA and TM are never shifted: that needs negotiation.
    """
    if vr != "DT":
        low, high = interval(key, vr)
        at = moment(value, vr)
        return at is not None and low <= at <= high
    first, last = _date_time_range(key.strip(), _offset(key_zone))
    stored = _date_time(value.strip(), _offset(value_zone), end=False)
    if stored is None:
        return False
    return (first is None or _is_ordered(first, stored)) and (last is None or _is_ordered(stored, last))


def are_ranges_alike(date_key: str, time_key: str) -> bool:
    """Whether a DA and a TM key specify the same form of range matching, so that they combine (C.2.2.2.5)."""
    forms = [tuple(map(bool, map(str.strip, key.partition("-")))) for key in (date_key, time_key)]
    return forms[0] == forms[1] and forms[0][1]


def covers_together(date_key: str, time_key: str, date: str, time: str) -> bool:
    """Whether a stored DA with its TM lies in the range that a DA and a TM key make together (C.2.2.2.5).

    Of a day without a time its first moment counts, as with a DT.
    """
    day = moment(date, "DA")
    if day is None:
        return False
    (first_day, last_day), (first_time, last_time) = interval(date_key, "DA"), interval(time_key, "TM")
    return first_day + first_time <= day + (moment(time, "TM") or "") <= last_day + last_time


def check(key: str, vr: str) -> None:
    """Raises Refused (C000) for what is neither a value nor a range of values."""
    if vr == "DT":
        _date_time_range(key.strip(), None)
    else:
        interval(key, vr)


def _digits(text: str, vr: str, filler: str) -> str:
    plain = _plain(text.strip(), vr)
    pattern, width = _SHAPES[vr]
    if not pattern.match(plain):
        raise _refusal(vr)
    return plain.replace(".", "").ljust(width, filler)


def _plain(text: str, vr: str) -> str:
    """Old forms YYYY.MM.DD and HH:MM:SS without their separators (PS3.5 6.2)."""
    return text.replace(".", "") if vr == "DA" else text.replace(":", "")


def _date_time_range(text: str, zone: timedelta | None) -> tuple[Moment | None, Moment | None]:
    """The ends of a DT key. A hyphen with four digits that can be an offset from UTC is one (C.2.2.2.5.2)."""
    first, last = _date_time(text, zone, end=False), _date_time(text, zone, end=True)
    if first and last:
        return first, last
    for left, right in _halves(text):
        first, last = _date_time(left, zone, end=False), _date_time(right, zone, end=True)
        if (first or last) and (first or not left) and (last or not right):
            return first, last
    raise _refusal("DT")


def _halves(text: str) -> Iterator[tuple[str, str]]:
    at = text.rfind("-")
    while at >= 0:
        yield text[:at].strip(), text[at + 1 :].strip()
        at = text.rfind("-", 0, at)


def _date_time(text: str, zone: timedelta | None, *, end: bool) -> Moment | None:
    """The first or last moment of a DT value, None where it is none."""
    match = _DATE_TIME.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, named = match.groups()
    offset = _offset(named) if named else zone
    if named and offset is None:
        return None
    try:
        months = int(month or (12 if end else 1))
        at = datetime(
            int(year),
            months,
            int(day or (monthrange(int(year), months)[1] if end else 1)),
            int(hour or (23 if end else 0)),
            int(minute or (59 if end else 0)),
            min(int(second or (59 if end else 0)), 59),
            int((fraction or "").ljust(6, "9" if end else "0")),
            tzinfo=UTC,
        )
    except (ValueError, IndexError):
        return None
    return at - _EPOCH, offset


def _offset(zone: str) -> timedelta | None:
    match = _ZONE.match(zone.strip())
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3])) * (-1 if match[1] == "-" else 1)
    return offset if _ZONE_FIRST <= offset <= _ZONE_LAST else None


def _is_ordered(first: Moment, last: Moment) -> bool:
    (one, one_offset), (other, other_offset) = first, last
    if one_offset is None or other_offset is None:
        return one <= other
    return one - one_offset <= other - other_offset


def _refusal(vr: str) -> Refused:
    return Refused(Because.CANNOT_UNDERSTAND, f"a {vr} key is neither a value nor a range")
