"""Query strings of the URI service as what they ask (PS3.18 9.1.2, 9.4.1.2, 9.5.1.2). Every fault is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.dicomweb.acceptable import DICOM
from api.dicomweb.media_types import MediaType, accepted
from api.dicomweb.rendering_parameters import (
    Reading,
    annotations_of,
    decimal,
    made_window,
    media_types_of,
    quality_of,
    side,
)
from domain.errors import InvalidInput
from domain.identifiers import uid_fault
from domain.limits import Limits
from domain.rendering import ALL_FRAMES, ONLY_FRAME, QUALITY, Region, Rendering, Shape, Window
from domain.transcoding import WEB_ANY, WEB_DEFAULT

_UIDS = ("studyUID", "seriesUID", "objectUID")
_WINDOW = ("windowCenter", "windowWidth")
_PRESENTATION = ("presentationSeriesUID", "presentationUID")
_KNOWN = (
    "requestType",
    *_UIDS,
    "contentType",
    "charset",
    "anonymize",
    "annotation",
    "imageAnnotation",
    "rows",
    "columns",
    "region",
    *_WINDOW,
    "frameNumber",
    "imageQuality",
    *_PRESENTATION,
    "transferSyntax",
)
_ANY = "*/*"


@dataclass(frozen=True, slots=True)
class UriRequest:
    """What is asked for. ``rendering`` is None where only the object itself is.

    ``may_be_object``: the object itself will do where it cannot be shown. ``presentation`` has the Series and the SOP
    Instance UID of the presentation state that it is shown by. ``for_images`` are parameters that only an image has.
    """

    uids: tuple[str, str, str]
    rendering: Rendering | None
    may_be_object: bool
    transfer_syntax: str
    anonymize: bool = False
    charset: str = ""
    presentation: tuple[str, str] | None = None
    for_images: tuple[str, ...] = ()


def uri_request(query_string: bytes, accept: list[str], limits: Limits) -> UriRequest:
    """Read a query string. Raises :class:`InvalidInput` with every fault; unknown parameters are ignored (8.3)."""
    reading = Reading(limits)
    found = reading.pairs(query_string, _KNOWN)
    if found.get("requestType") != "WADO":
        reading.faults.append("requestType: is not WADO")
    for name in _UIDS:
        if fault := uid_fault(found.get(name, "")):
            reading.faults.append(f"{name}: {fault}")
    wanted = reading.value(found, "contentType", _content_types) or accepted(accept)
    names = media_types_of(wanted)
    only_object = names == (DICOM,)
    if DICOM in names and "contentType" in found and not only_object:
        reading.faults.append(f"contentType: names {DICOM} beside rendered media types")
    rendering = _rendering(reading, found, names)
    _check_together(reading, found, only_object=only_object)
    syntax = reading.value(found, "transferSyntax", _transfer_syntax) or WEB_DEFAULT
    anonymize = reading.value(found, "anonymize", _anonymize) or False
    reading.finish()
    return UriRequest(
        (found["studyUID"], found["seriesUID"], found["objectUID"]),
        None if names[0] == DICOM else rendering,
        _ANY in names or DICOM in names,
        syntax,
        anonymize,
        found.get("charset", ""),
        (found["presentationSeriesUID"], found["presentationUID"]) if "presentationUID" in found else None,
        tuple(name for name in ("frameNumber", "region", *_WINDOW) if name in found),
    )


def _rendering(reading: Reading, found: Mapping[str, str], names: tuple[str, ...]) -> Rendering:
    """Without a frame's number only an object of one frame is shown, unless a type of picture is asked for."""
    limits = reading.limits
    frame = reading.value(found, "frameNumber", _frame)
    rows = reading.value(found, "rows", lambda text: side(text, limits))
    columns = reading.value(found, "columns", lambda text: side(text, limits))
    # Of older editions one of both is enough: the other is as large as it comes to be.
    size = (columns or limits.rendered_side_max, rows or limits.rendered_side_max) if rows or columns else None
    return Rendering(
        tuple(name for name in names if name != DICOM) or (_ANY,),
        frame=frame or (ONLY_FRAME if _ANY in names else ALL_FRAMES),
        window=_window(reading, found),
        region=reading.value(found, "region", _region),
        size=size,
        quality=reading.value(found, "imageQuality", quality_of) or QUALITY,
        annotations=tuple(
            dict.fromkeys(
                one
                for name in ("annotation", "imageAnnotation")
                for one in reading.value(found, name, annotations_of) or ()
            )
        ),
    )


def _window(reading: Reading, found: Mapping[str, str]) -> Window | None:
    center, width = (reading.value(found, name, decimal) for name in _WINDOW)
    if center is None or width is None:
        return None
    return reading.value(found, "windowWidth", lambda _: made_window(center, width, Shape.LINEAR))


def _check_together(reading: Reading, found: Mapping[str, str], *, only_object: bool) -> None:
    """What must stand together, and what must not (9.5.1.2.6, 9.5.1.2.7, 9.5.2.3)."""
    windowing = [name for name in _WINDOW if name in found]
    presentation = [name for name in _PRESENTATION if name in found]
    for name in presentation:
        if fault := uid_fault(found[name]):
            reading.faults.append(f"{name}: {fault}")
    if len(windowing) == 1:
        reading.faults.append(f"{windowing[0]}: {' and '.join(_WINDOW)} stand together")
    if len(presentation) == 1:
        reading.faults.append(f"{presentation[0]}: {' and '.join(_PRESENTATION)} stand together")
    if presentation:
        beside = [name for name in ("frameNumber", *_WINDOW) if name in found]
        reading.faults.extend(f"{name}: does not stand beside a presentation state" for name in beside)
    if windowing and only_object:
        reading.faults.append(f"windowCenter: does not stand beside {DICOM}")


def _content_types(text: str) -> list[MediaType]:
    try:
        wanted = accepted([text])
    except InvalidInput as fault:
        raise ValueError("is not a list of media types") from fault
    if any({"transfer-syntax", "charset"} & set(one.parameters) for one in wanted):
        raise ValueError("has a transfer syntax or a character set as a parameter (9.1.2.2.1)")
    return wanted


def _transfer_syntax(text: str) -> str:
    if text == WEB_ANY:
        return text
    if fault := uid_fault(text):
        raise ValueError(fault)
    return text


def _anonymize(text: str) -> bool:
    if text != "yes":
        raise ValueError("is not yes")
    return True


def _frame(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) > 0):
        raise ValueError("is not a whole number from 1 on")
    return int(text)


def _region(text: str) -> Region:
    """``xmin,ymin,xmax,ymax`` in fractions of the image (9.5.1.2.5)."""
    parts = [decimal(part) for part in text.split(",")]
    if len(parts) != 4 or not (0 <= parts[0] < parts[2] <= 1 and 0 <= parts[1] < parts[3] <= 1):
        raise ValueError("is not xmin,ymin,xmax,ymax between 0 and 1")
    left, top, right, bottom = parts
    return Region(left, top, right - left, bottom - top, in_fractions=True)
