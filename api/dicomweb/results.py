"""Which attributes a search answers with (PS3.18 10.6.3.3), in the DICOM JSON Model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.dicomweb.search_parameters import Path, Search, vr_of
from domain.attributes import ATTRIBUTES, BY_TAG, COMPUTED, Level
from domain.matching import INSTANCE_AVAILABILITY, NEVER_MATCHED, SPECIFIC_CHARACTER_SET

RETRIEVE_URL = "00081190"
_STUDY = (
    "00080020 00080030 00080050 00080061 00080090 00080201 00100010 00100020 00100030 00100040 0020000D 00200010 "
    "00201206 00201208"
)
_SERIES = "00080060 00080201 0008103E 0020000E 00200011 00201209 00400244 00400245 00400275"
_INSTANCE = "00080016 00080018 00080201 00200013 00280008 00280010 00280011 00280100 00083002"
_DEFAULTS = {
    level: tuple(tags.split()) for level, tags in zip(list(Level)[1:], (_STUDY, _SERIES, _INSTANCE), strict=True)
}
"""Tables 10.6.3-3 to 10.6.3-5; Retrieve URL and Instance Availability are answered at each level."""

_IF_PRESENT = frozenset(
    (
        *("00080061", "00080201", "0008103E", "00280008", "00280010"),
        *("00280011", "00280100", "00400244", "00400245", "00400275"),
    )
)
"""Answered only where there is a value ("shall be present if known"): an SR has no rows.

Modalities in Study too: of one study whose objects name none, OHIF's list of all studies breaks otherwise.
"""

_ALWAYS: Mapping[str, Mapping[str, Any]] = {
    SPECIFIC_CHARACTER_SET: {"vr": "CS", "Value": ["ISO_IR 192"]},
    INSTANCE_AVAILABILITY: {"vr": "CS", "Value": ["ONLINE"]},
}
_UNIQUE = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}
_NAMES = {Level.STUDY: "studies", Level.SERIES: "series", Level.IMAGE: "instances"}


class Selection:
    """What one search answers with: made once, applied to each record."""

    def __init__(self, search: Search, level: Level, shown: Iterable[Level], service: str) -> None:
        self._service = service
        self._levels = tuple(one for one in Level if Level.STUDY <= one <= level)
        asked = {*((tag,) for tag in search.keys), *search.include}
        self.tags = {
            *(tag for one in shown for tag in _DEFAULTS[one]),
            *(_UNIQUE[one] for one in self._levels),
            INSTANCE_AVAILABILITY,
            *(path[0] for path in asked if _is_answered(path[0], level)),
        }
        self._optional = {tag for tag in _IF_PRESENT if (tag,) not in asked}
        if search.include_all:
            covered = {*shown, *((Level.PATIENT,) if Level.STUDY in shown else ())}
            every = {one.tag for one in (*ATTRIBUTES, *COMPUTED) if one.level in covered}
            self._optional |= every - self.tags
            self.tags |= every
        self._whole = {path[0] for path in asked if len(path) == 1} | set().union(*_DEFAULTS.values())
        self._order = sorted({*self.tags, SPECIFIC_CHARACTER_SET, RETRIEVE_URL})
        self._nested = [path for path in search.include if len(path) > 1 and path[0] not in self._whole]

    def of(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record as it is answered, in the order of tags; zero length where there is no value."""
        made = {**_ALWAYS, RETRIEVE_URL: {"vr": "UR", "Value": [self._url(record)]}}
        answer: dict[str, Any] = {}
        for tag in self._order:
            element = made.get(tag) or record.get(tag)
            if element is not None and any(value is not None for value in element.get("Value", ())):
                answer[tag] = self._narrowed(tag, element) if self._nested else element
            elif tag not in self._optional:
                answer[tag] = {"vr": vr_of(tag)}
        return answer

    def _url(self, record: Mapping[str, Any]) -> str:
        parts = (f"/{_NAMES[one]}/{record[_UNIQUE[one]]['Value'][0]}" for one in self._levels)
        return self._service + "".join(parts)

    def _narrowed(self, tag: str, element: Mapping[str, Any]) -> Mapping[str, Any]:
        """A sequence of which only attributes of its items were asked for."""
        below = [path[1:] for path in self._nested if path[0] == tag]
        return {**element, "Value": [_item(item, below) for item in element["Value"]]} if below else element


def unsupported(search: Search, level: Level) -> list[str]:
    """Keys that this search cannot match: they are answered, and named in a Warning."""
    return sorted(
        tag
        for tag, key in search.keys.items()
        if tag not in NEVER_MATCHED and not key.is_universal and not (tag in BY_TAG and BY_TAG[tag].level <= level)
    )


def _is_answered(tag: str, level: Level) -> bool:
    """Attributes of lower levels are never answered (10.6.3.3.1); what no level knows neither, nor file meta."""
    return tag in BY_TAG and BY_TAG[tag].level <= level


def _item(item: Mapping[str, Any] | None, paths: Sequence[Path]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag, *rest in sorted(paths):
        if item and tag in item:
            deeper = [path[1:] for path in paths if path[0] == tag and len(path) > 1]
            whole = not rest or not deeper
            element = item[tag]
            found[tag] = (
                element if whole else {**element, "Value": [_item(one, deeper) for one in element.get("Value", ())]}
            )
    return found
