"""Media types with their parameters, and what an Accept header asks for (RFC 9110 12.5.1, PS3.18 8.7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from domain.errors import InvalidInput

MULTIPART_RELATED = "multipart/related"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TYPE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)/([!#$%&'*+.^_`|~0-9A-Za-z-]+)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BLANK_IN_NAME = re.compile(r"(/[!#$%&'*.^_`|~0-9A-Za-z-]+) (?=[0-9A-Za-z])")
_BARE = re.compile(r'[^\s;,"]+')
_RANGES_MAX = 64


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range; names in lower case, parameters by lower-case name, ``q`` apart.

    ``without`` are the names and ranges that are refused beside a wider one (RFC 9110 12.4.2: q=0).
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    q: float = 1.0
    without: tuple[str, ...] = ()

    @property
    def part_type(self) -> str:
        """The media type of the parts of a ``multipart/related`` (RFC 2387 3.1), lower case, or empty."""
        return self.parameters.get("type", "").lower()

    def covers(self, name: str) -> bool:
        """Whether this range takes a media type: ``*/*``, ``image/*`` or the same name."""
        return _takes(self.name, name) and not any(_takes(one, name) for one in self.without)


def media_type(text: str) -> MediaType:
    """One media type. Raises :class:`InvalidInput`."""
    parsed, end = _parse(text, 0)
    if end != len(text):
        raise InvalidInput(["media type: has something behind its end"])
    return parsed


def accepted(headers: Iterable[str], query: Iterable[str] = ()) -> list[MediaType]:
    """What is acceptable, the most wanted first; ``*/*`` where nothing was asked for.

    The query parameter ``accept`` takes the place of the header (PS3.18 8.3.3.1); a plus sign in it, unless it is
    escaped, comes as a blank. Raises :class:`InvalidInput`.
    """
    text = ",".join(_BLANK_IN_NAME.sub(r"\1+", part) for part in query if part.strip()) or ",".join(
        part for part in headers if part.strip()
    )
    ranges: list[MediaType] = []
    at = _spaces(text, 0)
    while at < len(text):
        if text[at] == ",":
            at += 1
        else:
            one, at = _parse(text, at)
            ranges.append(one)
            if len(ranges) > _RANGES_MAX:
                raise InvalidInput(["Accept: names more media types than anyone can mean"])
        at = _spaces(text, at)
    if not ranges:
        return [MediaType("*/*")]
    refused = [one.name for one in ranges if one.q == 0 and not one.parameters]
    found = (
        replace(one, without=tuple(name for name in refused if name != one.name and _takes(one.name, name)))
        for one in ranges
        if one.q > 0
    )
    # The order of the asker decides between equals: sort is stable.
    return sorted(found, key=lambda one: -one.q)


def accepts_gzip(headers: Iterable[str]) -> bool:
    """Whether Accept-Encoding takes gzip (RFC 9110 12.5.3). Without the header nothing is compressed."""
    weights: dict[str, float] = {}
    for coding in ",".join(headers).split(","):
        name, _, weight = coding.partition(";")
        text = weight.strip().removeprefix("q=").strip()
        try:
            weights[name.strip().lower()] = float(text) if text else 1.0
        except ValueError:
            continue
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _takes(wanted: str, name: str) -> bool:
    return wanted in ("*/*", name) or (wanted.endswith("/*") and name.startswith(wanted[:-1]))


def _parse(text: str, at: int) -> tuple[MediaType, int]:
    """The media type that begins at ``at``, and where it ends: at a comma or the end of the text."""
    at = _spaces(text, at)
    name = _TYPE.match(text, at)
    if name is None:
        raise InvalidInput(["media type: is not of the form type/subtype"])
    at = name.end()
    parameters: dict[str, str] = {}
    while True:
        at = _spaces(text, at)
        if at >= len(text) or text[at] == ",":
            break
        if text[at] != ";":
            raise InvalidInput(["media type: its parameters are not separated by semicolons"])
        at = _spaces(text, at + 1)
        key = _TOKEN.match(text, at)
        if key is None:
            continue
        at = key.end()
        if text[at : at + 1] != "=":
            raise InvalidInput([f"media type: parameter {key[0][:32]!a} has no value"])
        value, at = _value(text, at + 1)
        if parameters.setdefault(key[0].lower(), value) != value:
            raise InvalidInput([f"media type: parameter {key[0][:32]!a} stands twice"])
    return MediaType(f"{name[1]}/{name[2]}".lower(), parameters, _quality(parameters.pop("q", "1"))), at


def _value(text: str, at: int) -> tuple[str, int]:
    """A parameter's value, quoted or not: unquoted, many clients also send what only a quoted one may hold."""
    if quoted := _QUOTED.match(text, at):
        return re.sub(r"\\(.)", r"\1", quoted[1]), quoted.end()
    bare = _BARE.match(text, at)
    return (bare[0], bare.end()) if bare else ("", at)


def _spaces(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t":
        at += 1
    return at


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        raise InvalidInput(["Accept: q is not a number"]) from None
    if not 0 <= quality <= 1:
        raise InvalidInput(["Accept: q is not between 0 and 1"])
    return quality
