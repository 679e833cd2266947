"""One value each of DA, TM, DT, IS and DS: normalised, or None where it is none (PS3.5 6.2; reliability B18)."""

from __future__ import annotations

import math
import re
from datetime import date

_INTEGER = re.compile(r"[+-]?[0-9]{1,12}(\.0*)?\Z")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?\Z")
_DECIMAL_MAX = 64
_DATE = re.compile(r"([0-9]{4})([./-]?)([0-9]{2})\2([0-9]{2})\Z")
_TIME = re.compile(r"([0-9]{2})(?:(:?)([0-9]{2})(?:\2([0-9]{2})(?:\.([0-9]*))?)?)?\Z")
_DATE_TIME = re.compile(r"([0-9]{4})([0-9]{2})?([0-9]{2})?([0-9]{2,6}(?:\.[0-9]*)?)?([+-][0-9]{4})?\Z")
_FRACTION_MAX = 6
_ZONE_FIRST, _ZONE_LAST = -1200, 1400


def date_value(text: str) -> str | None:
    """``YYYYMMDD``, also from the old ``YYYY.MM.DD``; None where there is no such day."""
    if (match := _DATE.match(text)) is None:
        return None
    year, month, day = match[1], match[3], match[4]
    return year + month + day if _is_day(year, month, day) else None


def time_value(text: str) -> str | None:
    """``HH[MM[SS[.F]]]``, also from the old ``HH:MM:SS``; at most six digits of fraction; None where no such time."""
    if (match := _TIME.match(text)) is None:
        return None
    hour, minute, second, fraction = match[1], match[3] or "", match[4] or "", match[5]
    if hour > "23" or minute > "59" or second > "60":
        return None
    return hour + minute + second + (f".{fraction[:_FRACTION_MAX]}" if fraction else "")


def date_time_value(text: str) -> str | None:
    """``YYYY[MM[DD[HH[MM[SS[.F]]]]]][&ZZXX]``; None where there is no such moment."""
    if (match := _DATE_TIME.match(text)) is None:
        return None
    year, month, day, time, zone = match.groups()
    if not _is_day(year, month or "01", day or "01") or (zone and not _ZONE_FIRST <= int(zone) <= _ZONE_LAST):
        return None
    if time is None:
        return text
    clock = time_value(time)
    return None if clock is None else f"{year}{month}{day}{clock}{zone or ''}"


def integer_value(text: str) -> int | None:
    """A number without fraction; None for anything else, and for what a 32-bit number cannot hold."""
    if not _INTEGER.match(text):
        return None
    number = int(text.partition(".")[0])
    return number if -0x80000000 <= number <= 0x7FFFFFFF else None


def decimal_value(text: str) -> float | None:
    """A finite number; None for anything else (JSON has no NaN)."""
    if len(text) > _DECIMAL_MAX or not _DECIMAL.match(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _is_day(year: str, month: str, day: str) -> bool:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True
