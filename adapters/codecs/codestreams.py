"""What the header of a codestream says of its picture, read before a library touches it (reliability B14)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from adapters.codecs.unfit import Unfit

_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_FRAME_HEADERS = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
_SIZ, _SOC = 0xFF51, 0xFF4F
_COD, _SOT = 0xFF52, 0xFF90
_TRANSFORMATION = 13
"""Where COD, from its marker on, tells the wavelet transformation: 0 is the irreversible one (T.800 A.6.1)."""

EOI, _SOS = b"\xff\xd9", b"\xff\xda"
_PADDED = 4
"""An end marker with the padding of a fragment."""

_TILES_MAX = 65_535
_JP2 = b"\x00\x00\x00\x0cjP  "


@dataclass(frozen=True, slots=True)
class Picture:
    """Size and sample depth of a codestream."""

    rows: int
    columns: int
    components: int
    precision: int
    is_signed: bool = False


def picture(data: bytes) -> Picture:
    """The picture of a JPEG, JPEG-LS or JPEG 2000 codestream (T.81 B.2.2, T.87 C.2.2, T.800 A.5.1). Raises Unfit."""
    try:
        if data.startswith(_JP2):
            data = data[data.index(b"\xff\x4f\xff\x51") :]
        return _jpeg_2000(data) if data[:2] == b"\xff\x4f" else _jpeg(data)
    except (struct.error, IndexError, ValueError) as error:
        raise Unfit("the codestream has no readable header") from error


def is_irreversible(data: bytes) -> bool:
    """Whether a JPEG 2000 codestream's wavelets lose. Raises Unfit."""
    try:
        at = data.index(b"\xff\x4f\xff\x51") + 2
        while (marker := struct.unpack_from(">H", data, at)[0]) not in (_COD, _SOT):
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
        return marker == _COD and data[at + _TRANSFORMATION] == 0
    except (struct.error, IndexError, ValueError) as error:
        raise Unfit("the codestream has no readable header") from error


def end_of_scans(data: bytes) -> int:
    """Where a JPEG codestream's last scan is ended by its marker; -1 where it is not (T.81 B.1.1.3)."""
    # An embedded thumbnail has an end of its own, before the last scan.
    return data.find(EOI, data.rfind(_SOS))


def has_all_tile_parts(data: bytes) -> bool:
    """Whether a JPEG 2000 codestream has all tile-parts that it tells of, whole (T.800 A.4.2). Raises Unfit."""
    try:
        begin = data.index(b"\xff\x4f\xff\x51")
        missing = dict.fromkeys(range(_tiles(data[begin:])), 1)
        at = begin + 2
        while (marker := struct.unpack_from(">H", data, at)[0]) != _SOT:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
        while marker == _SOT:
            tile, length, number, count = struct.unpack_from(">HIBB", data, at + 4)
            # A header may leave it open how many there are.
            missing[tile] = max(0, count - number - 1)
            if not length:
                return EOI in data[-_PADDED:] and not any(missing.values())
            at += length
            if at + 2 > len(data):
                return at == len(data) and not any(missing.values())
            (marker,) = struct.unpack_from(">H", data, at)
    except (struct.error, ValueError) as error:
        raise Unfit("the codestream has no readable header") from error
    return not any(missing.values())


def _jpeg(data: bytes) -> Picture:
    if data[:2] != b"\xff\xd8":
        raise Unfit("the codestream does not begin with a start marker")
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise Unfit("the codestream's header is damaged")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        at += 2
        if marker in _STANDALONE:
            continue
        if marker in _FRAME_HEADERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", data, at + 2)
            return Picture(rows, columns, components, precision)
        at += max(2, struct.unpack_from(">H", data, at)[0])
    raise Unfit("the codestream has no frame header")


def _jpeg_2000(data: bytes) -> Picture:
    if struct.unpack_from(">HH", data) != (_SOC, _SIZ):
        raise Unfit("the codestream has no size marker")
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components = struct.unpack_from(">8IH", data, 8)
    if not (tile_x and tile_y and x0 < x1 and y0 < y1 and tile_x0 <= x0 and tile_y0 <= y0):
        raise Unfit("the codestream's size marker contradicts itself")
    if _tiles(data) > _TILES_MAX:
        raise Unfit("the codestream has too many tiles")
    depth = data[42]
    return Picture(y1 - y0, x1 - x0, components, (depth & 0x7F) + 1, bool(depth & 0x80))


def _tiles(data: bytes) -> int:
    """How many tiles a JPEG 2000 codestream has by its size marker, which does not contradict itself."""
    x1, y1, _, _, tile_x, tile_y, tile_x0, tile_y0 = struct.unpack_from(">8I", data, 8)
    return int(-(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y))
