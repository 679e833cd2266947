"""What a scan hands out: raw values, the pixel data's length, what is odd about the structure."""

from __future__ import annotations

from dataclasses import dataclass, field

Items = list["dict[int, tuple[bytes, bytes | Items]]"]
Values = dict[int, tuple[bytes, bytes | Items]]
"""Raw values by tag: VR (empty in implicit VR) and bytes, or the items of a sequence."""

PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixel data element: ``length`` is None for encapsulated, with ``fragments`` counted without offset table."""

    tag: int
    length: int | None
    fragments: int = 0


@dataclass(slots=True)
class Scan:
    """What a scan found."""

    values: Values
    big_endian: bool
    pixels: Pixels | None = None
    warnings: list[str] = field(default_factory=list)
