"""What was rendered as an HTTP answer: one body or many parts, fresh or known, safe to open in a browser (B51)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fastapi import Request, Response

from api.dicomweb.media_types import MULTIPART_RELATED, MediaType
from api.dicomweb.multipart import MultipartWriter
from api.file_stream import FileStream
from api.origin import service_root
from api.pieces import FileRange, Piece
from api.problems import HttpRefusal
from api.ranged import Ranged, in_ranges
from domain.errors import AnnalsError, InvalidInput, NotAcceptable, NotThere
from domain.limits import Limits
from domain.rendering import HTML, PDF, PIPELINE, PLAIN
from processes.pixel_ports import Shown
from processes.retrieve import Wanted

_FRESHNESS = {"Cache-Control": "private, no-cache", "Vary": "Accept"}
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_HTML_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; sandbox"
_INLINE = {PDF: "document.pdf", HTML: "report.html", PLAIN: "report.txt"}
_ATTACHED = {"text/xml": "document.xml", "application/xml": "document.xml"}


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to be shown: where it is, and how it comes to be when it is its turn."""

    location: str
    show: Callable[[], Shown]


class Opened:
    """What was shown; its file is closed when nobody has it any more, also where the answer is never sent."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self._file = open(shown.descriptor, "rb", buffering=0)  # noqa: SIM115
        self.close = self._file.close

    def pieces(self) -> Generator[Piece]:
        """All of it."""
        with self._file:
            yield from self.cut(0, self.shown.length)

    def cut(self, first: int, size: int) -> Iterator[Piece]:
        """So many bytes from one on."""
        yield FileRange(self._file.fileno(), first, size)


def etag(wanted: Iterable[Wanted], *asked: object) -> str:
    """The entity tag of what these objects are shown as."""
    digest = hashlib.sha256(repr((PIPELINE, asked)).encode())
    for one in wanted:
        digest.update(one.content.digest.encode())
    return f'"{digest.hexdigest()[:32]}"'


def unchanged(tag: str) -> Response:
    """The answer to an asker who has it."""
    return Response(status_code=304, headers={"ETag": tag, **_FRESHNESS})


def answer(
    request: Request,
    parts: Sequence[Part],
    wanted: Sequence[MediaType],
    tag: str,
    limits: Limits,
    notes: Iterable[str] = (),
) -> Response:
    """One body, or a part each where there are several or multipart is what is wanted most.

    One body may be asked for in ranges: browsers play a video only so. Of several parts those that cannot be shown are
    left out. Raises what the first one raises where none can be.
    """
    first, rest = _first(parts)
    said = [*notes, *first[1].shown.notes]
    headers = {"ETag": tag, **_FRESHNESS, **_SAFE, **warning(request, said)}
    if len(parts) > 1 or (wanted and wanted[0].name == MULTIPART_RELATED):
        writer = MultipartWriter()
        headers["Content-Type"] = writer.content_type(first[1].shown.media_type)
        return FileStream(_body(writer, first, rest), headers=headers)
    location, opened = first
    headers |= _fields(location, opened.shown) | _care(opened.shown.media_type)
    body = Ranged(headers["Content-Type"], opened.shown.length, tag, opened.cut, opened.close)
    return in_ranges(request, body, headers, limits.ranges_max)


def warning(request: Request, notes: Iterable[str]) -> dict[str, str]:
    """Notes as a Warning header (8.3)."""
    service = service_root(request)
    texts = [f"299 {service}: {note}" for note in dict.fromkeys(notes)]
    return {"Warning": ", ".join(texts)} if texts else {}


def _first(parts: Sequence[Part]) -> tuple[tuple[str, Opened], Sequence[Part]]:
    refusal: AnnalsError | None = None
    for number, part in enumerate(parts):
        try:
            return (part.location, Opened(part.show())), parts[number + 1 :]
        except (NotAcceptable, HttpRefusal) as error:
            refusal = refusal or error
    raise refusal or HttpRefusal(404, "there is nothing to show")


def _body(writer: MultipartWriter, first: tuple[str, Opened], rest: Sequence[Part]) -> Generator[Piece]:
    yield from _part(writer, *first)
    for part in rest:
        try:
            opened = Opened(part.show())
        except (NotAcceptable, NotThere, InvalidInput, HttpRefusal):
            continue
        yield from _part(writer, part.location, opened)
    yield writer.end


def _part(writer: MultipartWriter, location: str, opened: Opened) -> Generator[Piece]:
    yield writer.begin(_fields(location, opened.shown))
    yield from opened.pieces()


def _fields(location: str, shown: Shown) -> dict[str, str]:
    charset = "; charset=utf-8" if shown.media_type in (HTML, PLAIN) else ""
    return {
        "Content-Type": shown.media_type + charset,
        "Content-Length": str(shown.length),
        "Content-Location": location,
    }


def _care(media_type: str) -> dict[str, str]:
    """Headers with which a browser can do no harm with what a peer wrote."""
    if media_type.startswith(("image/", "video/")):
        return {}
    if media_type in _INLINE:
        policy = {} if media_type == PDF else {"Content-Security-Policy": _HTML_POLICY}
        return {"Content-Disposition": f'inline; filename="{_INLINE[media_type]}"', **policy}
    name = _ATTACHED.get(media_type, "document.bin")
    return {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
