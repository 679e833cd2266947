"""How each transfer syntax encodes a data set (PS3.5 section 10, PS3.6 Table A-1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from domain.transcoding import BIG_ENDIAN, DECODED, DEFLATED, IMPLICIT, NATIVE

_IMPLICIT = frozenset((IMPLICIT, "1.2.840.113619.5.2", "1.2.840.10008.1.20"))
_DEFLATED = frozenset((DEFLATED, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))
_REFERENCED = frozenset(
    ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.204", "1.2.840.10008.1.2.4.205")
)
_NATIVE = NATIVE | _IMPLICIT
_STANDARD = "1.2.840.10008.1.2."
_FRAME_A_FRAGMENT = DECODED - NATIVE | {"1.2.840.10008.1.2.8.1"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a data set is encoded.

    ``encapsulated`` is None where the syntax is not known: any other than these is explicit VR little endian.
    ``referenced``: the pixels are elsewhere (JPIP). ``fragment_a_frame``: each frame has one fragment or more.
    """

    implicit: bool
    big_endian: bool
    deflated: bool
    encapsulated: bool | None
    referenced: bool
    fragment_a_frame: bool


@lru_cache
def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """The encoding of a transfer syntax, known or not (PS3.5 A.4: all encapsulated ones are explicit little endian)."""
    native, referenced = transfer_syntax_uid in _NATIVE, transfer_syntax_uid in _REFERENCED
    encapsulated = None if not (native or referenced or transfer_syntax_uid.startswith(_STANDARD)) else True
    return Encoding(
        implicit=transfer_syntax_uid in _IMPLICIT,
        big_endian=transfer_syntax_uid == BIG_ENDIAN,
        deflated=transfer_syntax_uid in _DEFLATED,
        encapsulated=False if native or referenced else encapsulated,
        referenced=referenced,
        fragment_a_frame=transfer_syntax_uid in _FRAME_A_FRAGMENT,
    )
