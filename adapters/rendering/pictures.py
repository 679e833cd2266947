"""8-bit pictures as files of a media type: JPEG, PNG, GIF, JPEG 2000 (PS3.18 Table 8.7.4-1)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from adapters.codecs.decoding import Array
from adapters.rendering.colour import indexed
from domain.rendering import GIF, JP2, JPEG, PNG

EMBEDDING = (JPEG, PNG)
"""The media types in which a profile is embedded."""

_PNG_LEVEL = 4
_PNG_HEADER_END = 33
_PROFILE_PIECE = 65_000
_PROFILE_PIECES_MAX = 255
_JP2_PSNR = (20, 0.4)
_GIF_HEADER = 13


def encoded(pixels: Array, media_type: str, quality: int, profile: bytes) -> bytes:
    """One picture."""
    import imagecodecs

    pixels = np.ascontiguousarray(pixels)
    if media_type == JPEG:
        same = "RGB" if pixels.ndim == 3 else "GRAYSCALE"
        return _with_jpeg_profile(bytes(imagecodecs.jpeg8_encode(pixels, level=quality, colorspace=same)), profile)
    if media_type == PNG:
        return _with_png_profile(bytes(imagecodecs.png_encode(pixels, level=_PNG_LEVEL)), profile)
    if media_type == GIF:
        return moving(pixels[None], 0)
    if media_type == JP2:
        base, step = _JP2_PSNR
        level = 0 if quality == 100 else round(base + step * quality)
        return bytes(
            imagecodecs.jpeg2k_encode(pixels, level=level, codecformat="jp2", reversible=not level, numthreads=1)
        )
    raise ValueError(media_type)


def moving(frames: Array, hundredths: int) -> bytes:
    """Frames (frames, rows, columns[, 3]) as a GIF, each shown for so long; more than one go round for ever."""
    import imagecodecs

    index, colours = indexed(frames)
    plain = bytes(imagecodecs.gif_encode(np.ascontiguousarray(index), colormap=np.ascontiguousarray(colours)))
    if len(frames) == 1:
        return plain
    end = _GIF_HEADER + (3 << (plain[10] & 7) + 1 if plain[10] & 0x80 else 0)
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    pause = b"\x21\xf9\x04\x00" + struct.pack("<H", hundredths) + b"\x00\x00"
    pieces = [b"GIF89a", plain[6:end], loop]
    for begin, after in _gif_pictures(plain, end):
        pieces += [pause, plain[begin:after]]
    return b"".join((*pieces, b"\x3b"))


def _gif_pictures(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Where each picture's blocks begin and end."""
    while data[at] != 0x3B:
        begin = at
        if data[at] == 0x2C:
            at += 10 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0) + 1
        else:
            at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
        if data[begin] == 0x2C:
            yield begin, at


def _with_jpeg_profile(data: bytes, profile: bytes) -> bytes:
    """APP2 segments behind the JFIF segment (ISO 15076-1 B.4)."""
    if not profile:
        return data
    parts = [profile[at : at + _PROFILE_PIECE] for at in range(0, len(profile), _PROFILE_PIECE)]
    if len(parts) > _PROFILE_PIECES_MAX:
        return data
    end = 4 + struct.unpack_from(">H", data, 4)[0] if data[2:4] == b"\xff\xe0" else 2
    segments = [
        b"\xff\xe2" + struct.pack(">H", len(part) + 16) + b"ICC_PROFILE\0" + bytes((number, len(parts))) + part
        for number, part in enumerate(parts, 1)
    ]
    return data[:end] + b"".join(segments) + data[end:]


def _with_png_profile(data: bytes, profile: bytes) -> bytes:
    """An iCCP chunk behind the header (ISO 15948 11.3.3.3)."""
    if not profile:
        return data
    body = b"iCCPprofile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:_PNG_HEADER_END] + chunk + data[_PNG_HEADER_END:]
