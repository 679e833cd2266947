"""What a scan hands out: raw values, the pixel data's length, what is odd about the structure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value lies that was not read; ``length`` is None for encapsulated pixel data."""

    start: int
    length: int | None
    big_endian: bool


Items = list["Values"]
Values = dict[int, "tuple[bytes, bytes | Items | Span]"]
"""Raw values by tag: VR (empty in implicit VR) and bytes, the items of a sequence, or where the value lies."""

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
