"""What a walk knows of the encoding: tags of delimiters, forms of VRs, and the containers that are open."""

from __future__ import annotations

import struct
from collections.abc import Container
from dataclasses import dataclass, field

from adapters.dicom.findings import Items, Values
from domain.errors import Because, Refused

UNDEFINED = 0xFFFFFFFF
"""The length of what ends with a delimiter."""

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
FIRST_DATA_SET_TAG = 0x00040000
FIRST_DELIMITER_TAG = 0xFFFE0000

LITTLE = (struct.Struct("<HH2sH"), struct.Struct("<HHI"), struct.Struct("<I"))
BIG = (struct.Struct(">HH2sH"), struct.Struct(">HHI"), struct.Struct(">I"))
"""The structs of an explicit header, an implicit header or item, and a long length, in each byte order."""

SHORT_FORM, LONG_FORM, SEQUENCE_FORM = 0, 1, 2
FORMS: dict[bytes, int] = (
    dict.fromkeys(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(), SHORT_FORM)
    | dict.fromkeys(b"OB OD OF OL OV OW SV UC UN UR UT UV".split(), LONG_FORM)
    | {b"SQ": SEQUENCE_FORM}
)
"""How the length of each VR is written (PS3.5 7.1.2)."""

BINARY_SIZES = {b"AT": 4, b"FD": 8, b"FL": 4, b"SL": 4, b"SS": 2, b"UL": 4, b"US": 2}
FRAGMENTED = frozenset((b"OB", b"OW", b"OD", b"OF", b"OL", b"OV"))
ELEMENTS, ITEMS, FRAGMENTS = 0, 1, 2


@dataclass(slots=True)
class Frame:
    """One open container: a data set, an item, a sequence or encapsulated pixel data."""

    kind: int
    end: int
    delimited: bool
    implicit: bool
    big: bool
    want: Container[int] = ()
    values: Values | None = None
    items: Items | None = None
    last: int = FIRST_DATA_SET_TAG - 1
    seen: set[int] = field(default_factory=set)
    tag: int = 0
    unknown: bool = False


class Everything:
    """Contains every tag that can stand in an indexed item."""

    def __contains__(self, _tag: object) -> bool:
        return True


def refused(text: str) -> Refused:
    """The refusal of a data set that is damaged."""
    return Refused(Because.CANNOT_UNDERSTAND, text)


def tag_name(tag: int) -> str:
    """A tag as it is written in the standard."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
