"""Compressed pixel data by its media type: its transfer syntax, what it says of the image (Table 10.5.2-1)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.codecs.codestreams import picture
from adapters.codecs.unfit import Unfit
from adapters.composing.boxes import Read, boxes
from adapters.composing.video import mp4, mpeg2
from domain.errors import Because, Refused
from domain.frame_media import STREAMS, syntaxes_of
from domain.transcoding import HTJ2K_LOSSLESS_RPCL, LOSSY, RLE

_STANDARD = "1.2.840.10008.1.2.4."
_HEAD = 256 * 1024
_MP4, _HEVC, _JXL, _JPX = "video/mp4", "video/h265", "image/jxl", "image/jpx"
_LOSSY = LOSSY | STREAMS | {_STANDARD + end for end in ("93", "111", "112")}
_WIDER = {"50": "51", "70": "57", "80": "81", "90": "91", "92": "93", "201": "203"}
"""Which syntax also holds what was found to be in another: that with loss what has lost nothing."""

_SOF_SYNTAX = {0xC0: "50", 0xC1: "51", 0xC3: "57", 0xF7: "80"}


@dataclass(frozen=True, slots=True)
class Media:
    """What a compressed bulk data item is: ``offset`` and ``length`` are those of what goes into the fragment."""

    transfer_syntax_uid: str
    offset: int
    length: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


def is_compressed(media_type: str) -> bool:
    """Whether a media type is one of compressed pixel data that is taken as it is."""
    return bool(syntaxes_of(media_type))


def is_frame(media_type: str) -> bool:
    """Whether one item of it is one frame: a video's are all in one."""
    return is_compressed(media_type) and media_type.startswith("image/")


def media(media_type: str, named: str, read: Read, size: int) -> Media:
    """Look at compressed pixel data; ``named`` is the transfer-syntax parameter of its part, or empty.

    Raises C000 where it is damaged, C122 where no transfer syntax holds it unchanged.
    """
    possible = syntaxes_of(media_type) + (syntaxes_of(_HEVC) if media_type == _MP4 else ())
    if named and named not in possible:
        raise _not_of_its_type()
    if _is_silent(media_type, read):
        if media_type == _JXL and not named:
            raise Refused(Because.CANNOT_UNDERSTAND, f"whether {_JXL} lost anything only its transfer syntax tells")
        return _media(named or possible[0], 0, size, {})
    try:
        found, offset, length, attributes = _LOOKS[media_type.partition("/")[0]](media_type, read, size)
    except (Unfit, struct.error, IndexError, ValueError) as error:
        raise Refused(Because.CANNOT_UNDERSTAND, f"the bulk data is no readable {media_type}") from error
    syntax = named or _STANDARD + found
    of_image = (_STANDARD + found, _STANDARD + _WIDER.get(found, found), HTJ2K_LOSSLESS_RPCL if found == "201" else "")
    if syntax not in possible or (is_frame(media_type) and syntax not in of_image):
        raise _not_of_its_type()
    return _media(syntax, offset, length, attributes)


def _is_silent(media_type: str, read: Read) -> bool:
    """Whether only the metadata describes the image: RLE tells nothing, what JPEG XL and raw HEVC tell is not read."""
    return RLE in syntaxes_of(media_type) or media_type == _JXL or (media_type == _HEVC and read(4, 4) != b"ftyp")


def _media(syntax: str, offset: int, length: int, attributes: dict[str, Any]) -> Media:
    if syntax in _LOSSY:
        attributes["00282110"] = {"vr": "CS", "Value": ["01"]}
    return Media(syntax, offset, length, attributes)


def _not_of_its_type() -> Refused:
    text = "the bulk data's transfer syntax is not that of its media type or octets"
    return Refused(Because.TRANSFER_SYNTAX_NOT_SUPPORTED, text)


def _image(media_type: str, read: Read, size: int) -> tuple[str, int, int, dict[str, Any]]:
    head = read(0, _HEAD)
    offset, length = 0, size
    if head[4:8] == b"jP  ":
        # PS3.5 A.4.4: the codestream alone is encapsulated, without the boxes of its file format.
        offset, length = _codestream(head, size)
        head = read(offset, _HEAD)
    found = picture(head)
    if head[:2] == b"\xff\x4f":
        reversible, transformed, is_high_throughput = _wavelet(head)
        ends = ("201", "203") if is_high_throughput else ("92", "93") if media_type == _JPX else ("90", "91")
        syntax = ends[0] if reversible else ends[1]
        colours = ("YBR_RCT" if reversible else "YBR_ICT") if transformed else "RGB"
    else:
        syntax, colours = _jpeg(head)
    return (
        syntax,
        offset,
        length,
        _description(found.rows, found.columns, found.components, found.precision)
        | {
            "00280004": {"vr": "CS", "Value": [colours if found.components == 3 else "MONOCHROME2"]},
            "00280103": {"vr": "US", "Value": [int(found.is_signed)]},
        },
    )


def _description(rows: int, columns: int, components: int, precision: int) -> dict[str, Any]:
    allocated = 8 if precision <= 8 else 16 if precision <= 16 else 32
    numbers = {
        "00280002": components,
        "00280010": rows,
        "00280011": columns,
        "00280100": allocated,
        "00280101": precision,
        "00280102": precision - 1,
    }
    if components > 1:
        numbers["00280006"] = 0
    return {tag: {"vr": "US", "Value": [number]} for tag, number in numbers.items()}


def _codestream(head: bytes, size: int) -> tuple[int, int]:
    """Where the contiguous codestream box of a JP2 file holds its codestream (T.800 I.5.4)."""
    for kind, start, end in boxes(lambda at, length: head[at : at + length], 0, size):
        if kind == b"jp2c":
            return start, end - start
    raise ValueError("no codestream")


def _segments(head: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker segments of a JPEG header up to its first scan, each with its content."""
    at = 2
    while at + 4 <= len(head):
        marker = head[at + 1]
        if head[at] != 0xFF:
            raise ValueError("damaged")
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", head, at + 2)
        yield marker, head[at + 4 : at + 2 + length]
        at += 2 + max(2, length)
        if marker == 0xDA:
            return


def _jpeg(head: bytes) -> tuple[str, str]:
    """The transfer syntax and the colours of a JPEG or JPEG-LS codestream (T.81 B.2, T.87 C.2.3, JFIF, Adobe)."""
    segments = dict(_segments(head))
    syntax = next((_SOF_SYNTAX[marker] for marker in segments if marker in _SOF_SYNTAX), "")
    scan = segments[0xDA]
    selection = scan[1 + 2 * scan[0]]
    if syntax == "57" and selection == 1:
        syntax = "70"
    if syntax == "80" and selection > 0:
        syntax = "81"
    if syntax not in ("50", "51"):
        return syntax, "RGB"
    frame = next(content for marker, content in segments.items() if marker in _SOF_SYNTAX)
    adobe = segments.get(0xEE, b"")
    if frame[6::3] == b"RGB" or (adobe.startswith(b"Adobe") and adobe[11:12] == b"\0"):
        return syntax, "RGB"
    return syntax, "YBR_FULL" if frame[7:8] == b"\x11" else "YBR_FULL_422"


def _wavelet(head: bytes) -> tuple[bool, bool, bool]:
    """Whether a JPEG 2000 codestream is reversible, its components are transformed, and it is of high throughput.

    (T.800 A.6.1; T.814 A.2: then it has a marker for its capabilities.)
    """
    at, is_high_throughput = 2, False
    while at + 4 <= len(head):
        marker, length = struct.unpack_from(">HH", head, at)
        if marker == 0xFF52:
            return head[at + 13] == 1, head[at + 8] == 1, is_high_throughput
        is_high_throughput |= marker == 0xFF50
        if marker == 0xFF90:
            break
        at += 2 + length
    raise ValueError("no coding style")


def _video(media_type: str, read: Read, size: int) -> tuple[str, int, int, dict[str, Any]]:
    found = mp4(read, size) if media_type in (_MP4, _HEVC) else mpeg2(read, size)
    attributes: dict[str, Any] = _description(found.rows, found.columns, 3, 8) | {
        "00280004": {"vr": "CS", "Value": ["YBR_PARTIAL_420"]},
        "00280103": {"vr": "US", "Value": [0]},
    }
    if found.frames:
        attributes["00280008"] = {"vr": "IS", "Value": [found.frames]}
    if media_type in (_MP4, _HEVC):
        return "107" if found.is_hevc else "102", 0, size, attributes
    return ("100" if found.rows <= 576 and found.columns <= 720 else "101"), 0, size, attributes


_LOOKS: dict[str, Callable[[str, Read, int], tuple[str, int, int, dict[str, Any]]]] = {"image": _image, "video": _video}
