"""UIDs: what is refused, what is accepted with a warning (correctness C2.7, PS3.5 9.1)."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"[0-9.]{1,64}\Z")
_CONFORMANT = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+\Z")


def uid_fault(uid: str) -> str:
    """Why a UID cannot be accepted, or nothing. Only digits and dots pass, 64 at most, no empty component."""
    if not uid:
        return "is empty"
    if len(uid) > 64:
        return "is longer than 64 characters"
    if not _DIGITS.match(uid):
        return "has characters other than digits and dots"
    if uid.startswith(".") or uid.endswith(".") or ".." in uid:
        return "has an empty component"
    return ""


def uid_warning(uid: str) -> str:
    """What is wrong with an accepted UID, or nothing: real devices send components with leading zeros."""
    return "" if _CONFORMANT.match(uid) else "does not conform to PS3.5 9.1"
