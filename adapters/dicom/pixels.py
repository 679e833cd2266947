"""Whether the pixel data has the length that its description gives (PS3.3 C.7.6.3, PS3.5 8.1; reliability B08)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.dicom.findings import Pixels
from adapters.dicom.syntaxes import Encoding

MISSING = "PixelData: is missing"
SHORTER = "PixelData: is shorter than its description"
LONGER = "PixelData: is longer than its description"
ENCAPSULATED = "PixelData: is encapsulated in a native transfer syntax"
NATIVE = "PixelData: is not encapsulated in an encapsulated transfer syntax"

_BITS = {0x7FE00008: 32, 0x7FE00009: 64}
_EIGHTHS_A_PIXEL = {"YBR_FULL_422": 16, "YBR_PARTIAL_422": 16, "YBR_PARTIAL_420": 12}
_DESCRIPTION = ("00280002", "00280004", "00280010", "00280011", "00280100", "00280101", "00280103")


def pixel_fault(attributes: Mapping[str, Any], pixels: Pixels | None, encoding: Encoding, elsewhere: bool) -> str:
    """What is wrong with the pixel data's length, or nothing. ``elsewhere``: the object names a provider of them."""
    if pixels is None:
        described = all(_value(attributes, tag) is not None for tag in _DESCRIPTION)
        return MISSING if described and not (elsewhere or encoding.referenced) else ""
    frames = _value(attributes, "00280008")
    frames = 1 if frames is None else frames
    if pixels.length is None:
        if encoding.encapsulated is False:
            return ENCAPSULATED
        return SHORTER if pixels.fragments < (frames if encoding.fragment_a_frame else 1) else ""
    if encoding.encapsulated:
        return NATIVE
    expected = _expected(attributes, pixels.tag, frames)
    if expected is None or expected <= pixels.length <= expected + (expected & 1):
        return ""
    return SHORTER if pixels.length < expected else LONGER


def _expected(attributes: Mapping[str, Any], tag: int, frames: int) -> int | None:
    """The bytes of native pixel data without padding; None where the description does not say."""
    rows, columns = _value(attributes, "00280010"), _value(attributes, "00280011")
    bits = _BITS.get(tag) or _value(attributes, "00280100")
    if rows is None or columns is None or bits is None:
        return None
    samples = _value(attributes, "00280002")
    pixel_bits = bits * (1 if samples is None else samples)
    if samples == 3 and (eighths := _EIGHTHS_A_PIXEL.get(str(_value(attributes, "00280004")))):
        pixel_bits = bits * eighths // 8
    return int(rows * columns * frames * pixel_bits + 7) // 8


def _value(attributes: Mapping[str, Any], tag: str) -> Any:
    values = attributes.get(tag, {}).get("Value")
    return values[0] if values else None
