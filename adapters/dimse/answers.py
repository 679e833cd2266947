"""The one place where errors become DIMSE statuses and Error Comments (PS3.7 Annex C)."""

from __future__ import annotations

import logging

from domain.errors import Because, InvalidInput, Refused, Unavailable

_LOG = logging.getLogger("annals.dimse")
_COMMENT_MAX = 64

_NORMALIZED = {0xA700: 0x0213, 0xA900: 0x0110, 0xC000: 0x0110}
SUCCESS = 0x0000
DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xB007
"""Stored all the same: a warning (PS3.4 B.2.3)."""

PENDING = 0xFF00
PENDING_WITH_UNSUPPORTED_KEYS = 0xFF01
CANCELLED = 0xFE00


def status_of(error: Exception) -> tuple[int, str]:
    """The status and the Error Comment (at most 64 ASCII characters, no patient data) that answer an error."""
    match error:
        case Refused():
            return error.because.value, comment(str(error))
        case Unavailable():
            return Because.OUT_OF_RESOURCES.value, comment(str(error))
        case InvalidInput():
            return Because.IDENTIFIER_DOES_NOT_MATCH.value, comment(str(error))
    _LOG.error("a request failed in an unforeseen way", exc_info=error)
    return Because.CANNOT_UNDERSTAND.value, "Internal error, see the server's log"


def normalized(status: int) -> int:
    """The same status as the services of normalized objects have it (PS3.7 10.1.4.1.10, C.4, C.5)."""
    return _NORMALIZED.get(status, status)


def comment(text: str) -> str:
    """Text as it fits an Error Comment (VR LO, 0000,0902)."""
    return "".join(c if 0x20 <= ord(c) < 0x7F and c != "\\" else "?" for c in text)[:_COMMENT_MAX]
