"""What a video tells of itself: the size of its pictures and how many there are, read from its stream."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.composing.boxes import Box, Read, boxes, inside

_PIECE = 188 * 5578
"""About a megabyte of whole packets."""

_PACKET, _SYNC = 188, 0x47
_SAMPLE_ENTRIES_MAX = 1_000_000
_FRAMES_MAX = 2**31 - 1
"""The largest IS (PS3.5 6.2)."""

_START = re.compile(rb"\x00\x00\x01([\x00\xb3\xb5])")
_PICTURE, _SEQUENCE = b"\x00", b"\xb3"
_OF_PICTURE_CODING = 8
_NEEDED = 7


@dataclass(frozen=True, slots=True)
class Video:
    """``frames`` is 0 where the stream does not tell."""

    rows: int
    columns: int
    frames: int
    is_hevc: bool = False


def mpeg2(read: Read, size: int) -> Video:
    """Size by the first sequence header, frames by counting pictures, two of which are one where they are fields.

    (H.262 6.2.2.1, 6.2.3, 6.2.3.1.) Raises ValueError where there is no sequence.
    """
    sizes, pictures, fields = 0, 0, 0
    held = b""
    for piece in _elementary(read, size):
        held += piece
        end = max(0, len(held) - _NEEDED + 1)
        for found in _START.finditer(held):
            at = found.start()
            if at >= end:
                break
            if found[1] == _PICTURE:
                pictures += 1
            elif found[1] == _SEQUENCE:
                sizes = sizes or int.from_bytes(held[at + 4 : at + 7], "big")
            elif held[at + 4] >> 4 == _OF_PICTURE_CODING:
                fields += held[at + 6] & 3 in (1, 2)
        held = held[end:]
    if not sizes:
        raise ValueError("no sequence header")
    return Video(sizes & 0xFFF, sizes >> 12, pictures - fields // 2)


def _elementary(read: Read, size: int) -> Iterator[bytes]:
    """The bytes in which start codes are looked for: those of a transport stream without its packet headers.

    A program stream is left as it is: its own headers look like none of the codes that are counted.
    """
    is_packets = size > _PACKET and read(0, 1) == read(_PACKET, 1) == bytes((_SYNC,))
    video = -1
    for at in range(0, size, _PIECE):
        piece = read(at, min(_PIECE, size - at))
        if not is_packets:
            yield piece
            continue
        payloads = []
        for start in range(0, len(piece) - _PACKET + 1, _PACKET):
            identifier, begins, payload = _packet(piece[start : start + _PACKET])
            if begins and payload[:3] == b"\0\0\1" and payload[3:4] and payload[3] >> 4 == 0xE:
                video = identifier if video < 0 else video
                payload = payload[9 + payload[8] :]
            if identifier == video:
                payloads.append(payload)
        yield b"".join(payloads)


def _packet(packet: bytes) -> tuple[int, bool, bytes]:
    """Its identifier, whether a packet of the elementary stream begins in it, and its payload (H.222.0 2.4.3)."""
    if packet[0] != _SYNC:
        raise ValueError("a transport stream has lost its packets")
    control = packet[3] >> 4 & 3
    begin = 4 + (1 + packet[4] if control & 2 else 0)
    return (packet[1] & 0x1F) << 8 | packet[2], bool(packet[1] & 0x40), packet[begin:] if control & 1 else b""


def mp4(read: Read, size: int) -> Video:
    """The first video track (ISO/IEC 14496-12). Raises ValueError, IndexError, struct.error."""
    for kind, start, end in boxes(read, 0, size):
        if kind != b"moov":
            continue
        for track, first, last in boxes(read, start, end):
            if track == b"trak" and (found := _track(read, first, last)):
                return found
    raise ValueError("no video track")


def _track(read: Read, start: int, end: int) -> Video | None:
    tables = inside(read, start, end, (b"mdia", b"minf", b"stbl"))
    described = next((at for kind, at, _ in tables if kind == b"stsd"), None)
    if described is None:
        return None
    entry = read(described, 8 + 36)
    codec = entry[12:16]
    if codec not in (b"avc1", b"avc3", b"hvc1", b"hev1"):
        return None
    columns, rows = struct.unpack_from(">HH", entry, 8 + 32)
    return Video(rows, columns, _samples(read, tables), is_hevc=codec[:1] == b"h")


def _samples(read: Read, tables: list[Box]) -> int:
    at, end = next(((start, end) for kind, start, end in tables if kind == b"stts"), (0, 0))
    (count,) = struct.unpack(">I", read(at + 4, 4))
    if count > min(_SAMPLE_ENTRIES_MAX, (end - at) // 8):
        raise ValueError("too many samples")
    entries = read(at + 8, count * 8)
    samples: int = sum(struct.unpack_from(">I", entries, 8 * number)[0] for number in range(count))
    if samples > _FRAMES_MAX:
        raise ValueError("too many samples")
    return samples
