"""Attribute matching (PS3.4 C.2.2.2): a query's keys against the DICOM JSON Model, as pure predicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.attributes import BY_TAG, Level
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.person_name import groups
from domain.temporal import interval, moment

_WILD_CARD_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_NUMBER_VRS = frozenset(("IS", "DS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"))
_TIME_VRS = frozenset(("DA", "TM", "DT"))
SPECIFIC_CHARACTER_SET = "00080005"
QUERY_RETRIEVE_LEVEL = "00080052"
RETRIEVE_AE_TITLE = "00080054"
INSTANCE_AVAILABILITY = "00080056"
TIMEZONE_OFFSET = "00080201"
NEVER_MATCHED = frozenset(
    (SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY, TIMEZONE_OFFSET)
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an identifier: its values, or for a sequence the keys of its only item."""

    vr: str
    values: tuple[str, ...] = ()
    item: Mapping[str, Key] = field(default_factory=dict)

    @property
    def is_universal(self) -> bool:
        """Zero length, or a lone ``*`` where wild cards are allowed: matches everything, also what is absent."""
        if self.vr == "SQ":
            return all(key.is_universal for key in self.item.values())
        return not any(self.values) or (self.vr in _WILD_CARD_VRS and all(set(v) == {"*"} for v in self.values))


@dataclass(frozen=True, slots=True)
class Query:
    """A question at one level; keys by tag."""

    level: Level
    keys: Mapping[str, Key]

    @property
    def matching(self) -> dict[str, Key]:
        """The keys that restrict the answer: supported ones at or above the level."""
        return {
            tag: key
            for tag, key in self.keys.items()
            if tag not in NEVER_MATCHED and not key.is_universal and tag in BY_TAG and BY_TAG[tag].level <= self.level
        }

    @property
    def unsupported(self) -> frozenset[str]:
        """Asked-for keys that are not supported at this level: the answer is FF01 then (PS3.4 Table C.4-1)."""
        return frozenset(
            tag
            for tag in self.keys
            if tag not in NEVER_MATCHED and (tag not in BY_TAG or BY_TAG[tag].level > self.level)
        )


def query(root: Level, level_name: str, keys: Mapping[str, Key], limits: Limits, *, relational: bool = False) -> Query:
    """Check a query against its information model. Raises :class:`Refused` (A900) with what is wrong."""
    try:
        level = Level[level_name.strip()]
    except KeyError:
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, "Query/Retrieve Level is missing or unknown") from None
    if level < root:
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, "that level is not in this information model")
    if not relational:
        for upper in Level:
            if root <= upper < level:
                key = keys.get(upper.unique_key)
                if key is None or len(key.values) != 1 or key.is_universal or "?" in key.values[0]:
                    raise Refused(
                        Because.IDENTIFIER_DOES_NOT_MATCH,
                        f"the unique key of the {upper.name} level must have one value",
                    )
    for tag, key in keys.items():
        _check_size(tag, key, limits)
    asked = Query(level, keys)
    for key in asked.matching.values():
        _check_times(key)
    return asked


def matches(record: Mapping[str, Any], keys: Mapping[str, Key]) -> bool:
    """Whether a record (tag to DICOM JSON element) matches all keys."""
    return all(_matches_element(record.get(tag), key) for tag, key in keys.items())


def glob(pattern: str, text: str) -> bool:
    """``*`` and ``?`` against a whole text, in time proportional to both lengths at worst multiplied."""
    p = t = 0
    star, resume = -1, 0
    while t < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, resume = p, t
            p += 1
        elif p < len(pattern) and pattern[p] in ("?", text[t]):
            p += 1
            t += 1
        elif star >= 0:
            resume += 1
            p, t = star + 1, resume
        else:
            return False
    return all(c == "*" for c in pattern[p:])


def _matches_element(element: Mapping[str, Any] | None, key: Key) -> bool:
    if key.is_universal:
        return True
    stored: Sequence[Any] = (element or {}).get("Value") or ()
    if key.vr == "SQ":
        restricting = {tag: inner for tag, inner in key.item.items() if not inner.is_universal}
        return any(matches(item, restricting) for item in stored)
    return any(_matches_value(one, value, key.vr) for value in key.values if value for one in stored if one is not None)


def _matches_value(stored: Any, wanted: str, vr: str) -> bool:
    if vr == "PN":
        return _matches_name(stored, wanted)
    if vr in _TIME_VRS:
        low, high = interval(wanted, vr)
        at = moment(str(stored), vr)
        return at is not None and low <= at <= high
    if vr in _NUMBER_VRS:
        try:
            return float(stored) == float(wanted)
        except (TypeError, ValueError):
            return False
    text, pattern = str(stored).strip(" "), wanted.strip(" ")
    if vr in _WILD_CARD_VRS and ("*" in pattern or "?" in pattern):
        return glob(pattern, text)
    return text == pattern


def _matches_name(stored: Any, wanted: str) -> bool:
    have = groups(stored if isinstance(stored, Mapping) else str(stored))
    want = groups(wanted)
    if len(want) == 1:
        return any(glob(want[0], group) for group in have if group or want[0] == "")
    return all(glob(part, have[number] if number < len(have) else "") for number, part in enumerate(want) if part)


def _check_size(tag: str, key: Key, limits: Limits) -> None:
    if key.vr == "UI" and len(key.values) > limits.query_uids_max:
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"more than {limits.query_uids_max} UIDs in ({tag})")
    if key.vr != "UI" and any(len(value) > limits.query_text_max for value in key.values):
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"the key ({tag}) is too long")
    for inner_tag, inner in key.item.items():
        _check_size(inner_tag, inner, limits)


def _check_times(key: Key) -> None:
    if key.vr in _TIME_VRS:
        for value in filter(None, key.values):
            interval(value, key.vr)
    for inner in key.item.values():
        _check_times(inner)
