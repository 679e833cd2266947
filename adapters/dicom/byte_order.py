"""Values in the other byte order (PS3.5 7.3)."""

from __future__ import annotations

_WIDTHS = {
    **dict.fromkeys((b"US", b"SS", b"OW", b"AT"), 2),
    **dict.fromkeys((b"UL", b"SL", b"FL", b"OL", b"OF"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
"""How many bytes of a value are swapped together."""


def width_of(vr: bytes) -> int:
    """How many bytes of a value of this VR are swapped together."""
    return _WIDTHS.get(vr, 1)


def swapped(value: bytes, vr: bytes) -> bytes:
    """The value in the other byte order."""
    width = width_of(vr)
    if width == 1 or len(value) % width:
        return value
    out = bytearray(len(value))
    for byte in range(width):
        out[byte::width] = value[width - 1 - byte :: width]
    return bytes(out)
