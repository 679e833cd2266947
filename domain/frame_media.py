"""Which media types carry the frames of which transfer syntax (PS3.18 Tables 8.7.3-4 and 8.7.3-5)."""

from __future__ import annotations

from collections.abc import Collection

from domain.transcoding import (
    EXPLICIT,
    HTJ2K,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    JPEG_LS_NEAR,
    LOSSY,
    NATIVE,
    RLE,
    WEB_ANY,
    WEB_DEFAULT,
    can,
)

OCTETS = "application/octet-stream"
ANYTHING = ""


def _with_fragmentable(*numbers: str) -> tuple[str, ...]:
    """Transfer syntaxes of video, each also with its stream in several fragments (PS3.5 10.7)."""
    return tuple(f"1.2.840.10008.1.2.4.{number}{form}" for number in numbers for form in ("", ".1"))


SYNTAXES = {
    "image/jpeg": (JPEG_LOSSLESS_SV1, JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS),
    "image/dicom-rle": (RLE,),
    "image/jls": (JPEG_LS, JPEG_LS_NEAR),
    "image/jp2": (JPEG_2000_LOSSLESS, JPEG_2000),
    "image/jpx": ("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"),
    "image/jphc": (HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K),
    "image/jxl": ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112"),
    "video/mpeg": _with_fragmentable("100", "101"),
    "video/mp4": _with_fragmentable("102", "103", "104", "105", "106"),
    "video/h265": ("1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"),
}
"""The transfer syntaxes of each media type, its default first."""

_OTHER_NAMES = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/dicom+rle": "image/dicom-rle",
    "video/mpeg2": "video/mpeg",
}
"""Names of earlier editions, and that of Table 10.5.2-1."""

_MEDIA_TYPES = {syntax: name for name, syntaxes in SYNTAXES.items() for syntax in syntaxes}

STREAMS = frozenset(syntax for name, syntaxes in SYNTAXES.items() if name.startswith("video/") for syntax in syntaxes)
"""The transfer syntaxes whose frames are one stream, which is given as a whole (8.7.3.3.2)."""

Frames = tuple[str, str]
"""A media type and a transfer syntax."""


def media_type_of(syntax: str) -> str:
    """The media type of frames in a syntax; octets where the syntax is native or has none."""
    return _MEDIA_TYPES.get(syntax, OCTETS)


def syntaxes_of(media_type: str) -> tuple[str, ...]:
    """The transfer syntaxes that a media type can hold, its default first; none where it is not one of frames."""
    return SYNTAXES.get(_OTHER_NAMES.get(media_type, media_type), ())


def frame_order(stored: str, asked: Collection[tuple[str, str, float]]) -> list[Frames]:
    """The representations to try, best first, from media types (``ANYTHING`` for any), syntaxes and weights (8.7.8.2).

    Octets are uncompressed by default, whatever the stored syntax; a media type's default gives way to what is stored
    in it with loss or can only be had so (8.7.3). With the asterisk they are what is stored, and so is at last what
    nobody named a media type for.
    """
    kept = EXPLICIT if stored in NATIVE else stored
    ranked: list[tuple[float, bool, Frames]] = []
    for name, syntax, weight in asked:
        media = _OTHER_NAMES.get(name, name)
        ranked += [(-weight, one[1] != kept, one) for one in _named(media, syntax, kept)]
        if (media, syntax) == (ANYTHING, WEB_DEFAULT):
            ranked.append((0.0, True, (media_type_of(kept), kept)))
    ranked.sort(key=lambda one: one[:2])
    return [one for one in dict.fromkeys(one for *_, one in ranked) if can(stored, one[1]) or one[1] == kept]


def _named(media: str, syntax: str, kept: str) -> list[Frames]:
    """What one media type and one transfer-syntax parameter mean for a kept syntax."""
    if media not in (ANYTHING, OCTETS):
        of_media = SYNTAXES.get(media, ())
        if syntax == WEB_DEFAULT:
            as_kept = kept in of_media and (kept in LOSSY or not can(kept, of_media[0]))
            return [(media, kept)] if as_kept else [(media, one) for one in of_media[:1]]
        wanted = (kept if kept in of_media else next(iter(of_media), "")) if syntax == WEB_ANY else syntax
        return [(media, wanted)] if wanted in of_media else []
    wanted = {WEB_DEFAULT: EXPLICIT, WEB_ANY: kept}.get(syntax, syntax)
    if wanted in NATIVE:
        return [(OCTETS, wanted)] if wanted == EXPLICIT else []
    return [(OCTETS if media == OCTETS else media_type_of(wanted), wanted)]
