"""Structured reports as text that a person reads: HTML without any script, plain text or XML (PS3.3 A.35, C.17.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape

from pydicom.uid import UID

from adapters.codecs.unfit import Unfit
from adapters.rendering.attributes import Attributes
from adapters.rendering.readable import readable
from domain.identifiers import uid_fault
from domain.limits import Limits
from domain.rendering import HTML, PLAIN, XML

CONTENT = 0x0040A730
_CONCEPT, _MEANING, _VALUE_TYPE, _RELATION = 0x0040A043, 0x00080104, 0x0040A040, 0x0040A010
_REFERENCED_ITEM = 0x0040DB73
_DEPTH_MAX = 64
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXTS = {
    "TEXT": 0x0040A160,
    "DATETIME": 0x0040A120,
    "DATE": 0x0040A121,
    "TIME": 0x0040A122,
    "PNAME": 0x0040A123,
    "UIDREF": 0x0040A124,
}
_HEADER = (
    ("Patient", 0x00100010, "PN"),
    ("Patient ID", 0x00100020, "LO"),
    ("Birth date", 0x00100030, "DA"),
    ("Sex", 0x00100040, "CS"),
    ("Study", 0x00081030, "LO"),
    ("Study date", 0x00080020, "DA"),
    ("Accession number", 0x00080050, "SH"),
    ("Referring physician", 0x00080090, "PN"),
    ("Institution", 0x00080080, "LO"),
    ("Content date", 0x00080023, "DA"),
    ("Content time", 0x00080033, "TM"),
    ("Completion", 0x0040A491, "CS"),
    ("Verification", 0x0040A493, "CS"),
)
_OBSERVERS, _OBSERVER, _OBSERVER_ORGANIZATION, _VERIFIED = 0x0040A073, 0x0040A075, 0x0040A027, 0x0040A030
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1b1b;background:#fff}"
    "h1{font-size:1.6rem;margin:0 0 1rem}h2,h3,h4,h5,h6{margin:1.2rem 0 .3rem;font-size:1.1rem}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;padding:.8rem 1rem;background:#f2f4f7;"
    "border-radius:.4rem;margin:0 0 1.5rem}dt{color:#555}dd{margin:0}p{margin:.25rem 0;overflow-wrap:anywhere}"
    "body>div div,div>p{margin-left:1rem}b{font-weight:600;color:#333}b::after{content:':'}"
)


@dataclass(frozen=True, slots=True)
class _Line:
    """One content item: how deep it stands, its concept's name, its value. A container has no value."""

    depth: int
    name: str
    value: str
    relation: str
    is_container: bool


def report(whole: Attributes, media_type: str, limits: Limits) -> Iterator[bytes]:
    """The report in pieces of UTF-8. Raises Unfit where its content is nested or long beyond the limits."""
    title = _meaning(whole.item(_CONCEPT)) or "Structured report"
    header = list(_header(whole))
    lines = _limited(_lines(whole, 0), limits.sequence_items_max)
    written = _WRITERS[media_type](title, header, lines)
    return (piece.encode("utf-8", "replace") for piece in written)


def _header(whole: Attributes) -> Iterator[tuple[str, str]]:
    for name, tag, vr in _HEADER:
        if value := readable(whole.unicode(tag, name=vr == "PN"), vr):
            yield name, value
    for observer in whole.items(_OBSERVERS):
        parts = (
            readable(observer.unicode(_OBSERVER, name=True), "PN"),
            observer.unicode(_OBSERVER_ORGANIZATION),
            readable(observer.text(_VERIFIED), "DT"),
        )
        yield "Verified by", ", ".join(filter(None, parts))


def _lines(container: Attributes, depth: int) -> Iterator[_Line]:
    if depth > _DEPTH_MAX:
        raise Unfit("the report is nested too deep")
    for item in container.items(CONTENT):
        kind = item.text(_VALUE_TYPE)
        is_container = kind == "CONTAINER"
        name = _meaning(item.item(_CONCEPT))
        yield _Line(depth, name, "" if is_container else _value(item, kind), item.text(_RELATION), is_container)
        yield from _lines(item, depth + 1)


def _limited(lines: Iterator[_Line], maximum: int) -> Iterator[_Line]:
    for number, line in enumerate(lines):
        if number >= maximum:
            raise Unfit("the report has more items than sequence_items_max")
        yield line


def _value(item: Attributes, kind: str) -> str:
    if kind in _TEXTS:
        vr = {"DATETIME": "DT", "DATE": "DA", "TIME": "TM", "PNAME": "PN"}.get(kind, "UT")
        return readable(item.unicode(_TEXTS[kind], name=kind == "PNAME"), vr).strip()
    if kind == "CODE":
        return _code(item.item(0x0040A168))
    if kind == "NUM":
        return _number(item)
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        return _reference(item.item(0x00081199))
    if kind in ("SCOORD", "SCOORD3D", "TCOORD"):
        return " ".join(filter(None, (item.text(0x00700023), item.text(0x0040A130)))) or kind
    referenced = item.longs(_REFERENCED_ITEM)
    return f"see item {'.'.join(map(str, referenced))}" if referenced else ""


def _number(item: Attributes) -> str:
    measured = item.item(0x0040A300)
    if measured is None:
        return _code(item.item(0x0040A301)) or "no value"
    unit = measured.item(0x004008EA)
    symbol = unit.unicode(0x00080100) if unit is not None else ""
    parts = (measured.text(0x0040A30A).replace("\\", ", "), "" if symbol in ("1", "{ratio}") else symbol)
    return " ".join(filter(None, parts)) or "no value"


def _reference(item: Attributes | None) -> str:
    if item is None:
        return ""
    sop_class, frames = item.text(0x00081150), item.text(0x00081160).replace("\\", ", ")
    name = UID(sop_class).name if not uid_fault(sop_class) else "object"
    return " ".join(filter(None, (name, item.text(0x00081155), f"frame {frames}" if frames else "")))


def _meaning(code: Attributes | None) -> str:
    return code.unicode(_MEANING) if code is not None else ""


def _code(code: Attributes | None) -> str:
    if code is None:
        return ""
    return code.unicode(_MEANING) or code.unicode(0x00080100)


def _html(title: str, header: list[tuple[str, str]], lines: Iterator[_Line]) -> Iterator[str]:
    yield (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>\n<dl>"
    )
    for name, value in header:
        yield f"<dt>{escape(name)}</dt><dd>{_broken(value)}</dd>\n"
    yield "</dl>\n"
    depth = 0
    for line in lines:
        while depth > line.depth:
            yield "</div>"
            depth -= 1
        while depth < line.depth:
            yield "<div>"
            depth += 1
        name = escape(line.name)
        if line.is_container:
            level = min(6, line.depth + 2)
            yield f"<h{level}>{name}</h{level}>\n" if name else ""
        else:
            label = f"<b>{name}</b> " if name else ""
            yield f"<p>{label}{_broken(line.value)}</p>\n"
    yield "</div>" * depth + "</body></html>\n"


def _broken(value: str) -> str:
    return escape(value).replace("\r\n", "\n").replace("\r", "\n").replace("\n", "<br>")


def _plain(title: str, header: list[tuple[str, str]], lines: Iterator[_Line]) -> Iterator[str]:
    yield f"{title}\n{'=' * min(len(title), 72)}\n\n"
    for name, value in header:
        yield f"{name}: {value}\n"
    yield "\n"
    for line in lines:
        indent = "  " * line.depth
        label = f"{line.name}: " if line.name and not line.is_container else line.name
        value = line.value.replace("\r\n", "\n").replace("\r", "\n").replace("\n", f"\n{indent}  ")
        yield f"{indent}{label}{value}\n"


def _xml(title: str, header: list[tuple[str, str]], lines: Iterator[_Line]) -> Iterator[str]:
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<report title="{_clean(title)}">\n'
    for name, value in header:
        yield f'<about name="{_clean(name)}">{_clean(value)}</about>\n'
    depth = 0
    for line in lines:
        yield "</item>\n" * (depth - line.depth)
        yield f'<item relationship="{_clean(line.relation)}" name="{_clean(line.name)}">'
        yield f"<value>{_clean(line.value)}</value>\n"
        depth = line.depth + 1
    yield "</item>\n" * depth + "</report>\n"


def _clean(text: str) -> str:
    """Text that XML 1.0 can hold."""
    return escape(_NOT_XML.sub("\ufffd", text))


_WRITERS: dict[str, Callable[[str, list[tuple[str, str]], Iterator[_Line]], Iterator[str]]] = {
    HTML: _html,
    PLAIN: _plain,
    XML: _xml,
}
