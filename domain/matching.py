"""Attribute matching (PS3.4 C.2.2.2): a query's keys against the DICOM JSON Model, as pure predicates."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain import fuzzy_name
from domain.attributes import BY_TAG, TIME_OF_DATE, Level
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.person_name import groups
from domain.temporal import are_ranges_alike, check, covers, covers_together

WILD_CARD_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
NUMBER_VRS = frozenset(("IS", "DS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"))
TIME_VRS = frozenset(("DA", "TM", "DT"))
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
    """One key of an identifier: its values, or for a sequence the keys of its only item.

    ``is_empty`` matches what has no value and nothing else (PS3.4 C.2.2.2.7); ``is_fuzzy`` matches names that sound or
    look alike (PS3.4 C.2.2.2.1.1); ``is_every`` asks for each of its values, not for any of them (PS3.4 C.2.2.2.8).
    """

    vr: str
    values: tuple[str, ...] = ()
    item: Mapping[str, Key] = field(default_factory=dict)
    is_empty: bool = False
    is_fuzzy: bool = False
    is_every: bool = False

    @property
    def is_universal(self) -> bool:
        """Zero length, or a lone ``*`` where wild cards are allowed: matches everything, also what is absent."""
        if self.is_empty:
            return False
        if self.vr == "SQ":
            return all(key.is_universal for key in self.item.values())
        restricting = [value for value in self.values if value.strip(" ^=" if self.vr == "PN" else " ")]
        return not restricting or (self.vr in WILD_CARD_VRS and any(set(value) == {"*"} for value in restricting))

    @property
    def is_single(self) -> bool:
        """One value without wild cards: what the unique key of an upper level must be."""
        return len(self.values) == 1 and not self.is_universal and not set(self.values[0]) & set("*?")


@dataclass(frozen=True, slots=True)
class Query:
    """A question at one level; keys by tag. ``is_combined``: ranges of a date and its time are one (C.2.2.2.5)."""

    level: Level
    keys: Mapping[str, Key]
    is_combined: bool = False

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
        """Asked-for keys that are not supported at this level: the answer is FF01 then (PS3.4 Table C.4-1).

        Keys below the level are among them: the standard forbids them, many workstations send them (Modality at STUDY
        level), and FF01 says in its words that such a key was not matched.
        """
        return frozenset(
            tag
            for tag in self.keys
            if tag not in NEVER_MATCHED
            and not is_private_creator(tag)
            and (tag not in BY_TAG or BY_TAG[tag].level > self.level)
        )

    @property
    def zone(self) -> str:
        """The Timezone Offset From UTC in which the query's DT keys are meant, or nothing."""
        key = self.keys.get(TIMEZONE_OFFSET)
        return key.values[0] if key and key.values else ""


def query(
    root: Level,
    level_name: str,
    keys: Mapping[str, Key],
    limits: Limits,
    *,
    relational: bool = False,
    combined: bool = False,
) -> Query:
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
                if key is None or not key.is_single:
                    raise Refused(
                        Because.IDENTIFIER_DOES_NOT_MATCH,
                        f"the unique key of the {upper.name} level must have one value",
                    )
    if _count(keys) > limits.query_keys_max:
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"more than {limits.query_keys_max} keys")
    for tag, key in keys.items():
        _check_size(tag, key, limits)
    asked = Query(level, keys, combined)
    for key in asked.matching.values():
        _check_times(key)
    return asked


def matches(record: Mapping[str, Any], keys: Mapping[str, Key], zone: str = "", *, combined: bool = False) -> bool:
    """Whether a record (tag to DICOM JSON element) matches all keys; ``zone`` and ``combined`` are the query's."""
    stored_zone = str((record.get(TIMEZONE_OFFSET, {}).get("Value") or [""])[0] or "")
    pairs = _combined(keys) if combined else {}
    return all(_matches_together(record, date, time, keys) for date, time in pairs.items()) and all(
        _matches_element(record.get(tag), key, zone, stored_zone)
        for tag, key in keys.items()
        if tag not in pairs and tag not in pairs.values()
    )


def comparable(text: str) -> str:
    """Text as it is compared: NFC, without spaces at its ends (correctness C1.2)."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip(" ")


def is_private_creator(tag: str) -> bool:
    """Whether a tag reserves a private block (PS3.5 7.8.1)."""
    return int(tag[3], 16) % 2 == 1 and tag[4:6] == "00" and tag[6:] >= "10"


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


def _matches_element(element: Mapping[str, Any] | None, key: Key, zone: str, stored_zone: str) -> bool:
    if key.is_universal:
        return True
    stored: Sequence[Any] = (element or {}).get("Value") or ()
    if key.is_empty:
        return all(one in (None, "", {}) for one in stored)
    if key.vr == "SQ":
        return any(
            all(_matches_element(item.get(tag), inner, zone, stored_zone) for tag, inner in key.item.items())
            for item in stored
            if item
        )
    if key.is_fuzzy:
        wanted = [fuzzy_name.words(value) for value in key.values if value]
        names = [fuzzy_name.words(one if isinstance(one, Mapping) else str(one)) for one in stored if one]
        quantifier = all if key.is_every else any
        return quantifier(any(fuzzy_name.is_alike(one, name) for name in names) for one in wanted if one)
    if key.vr == "UI":
        return any(str(one).strip(" ") in key.values for one in stored if one is not None)
    quantifier = all if key.is_every else any
    return quantifier(
        any(_matches_value(one, value, key.vr, zone, stored_zone) for one in stored if one is not None)
        for value in filter(None, key.values)
    )


def _combined(keys: Mapping[str, Key]) -> dict[str, str]:
    """Dates whose range makes one with the range of their time (PS3.4 C.2.2.2.5)."""
    return {
        date: time
        for date, time in TIME_OF_DATE.items()
        if date in keys
        and time in keys
        and len(keys[date].values) == len(keys[time].values) == 1
        and are_ranges_alike(keys[date].values[0], keys[time].values[0])
    }


def _matches_together(record: Mapping[str, Any], date: str, time: str, keys: Mapping[str, Key]) -> bool:
    days, times = ([one for one in record.get(tag, {}).get("Value", ()) if one is not None] for tag in (date, time))
    return any(
        covers_together(keys[date].values[0], keys[time].values[0], str(day), str(at))
        for day in days
        for at in times or ("",)
    )


def _matches_value(stored: Any, wanted: str, vr: str, zone: str, stored_zone: str) -> bool:
    if vr == "PN":
        return _matches_name(stored, wanted)
    if vr in TIME_VRS:
        return covers(wanted, vr, str(stored), zone, stored_zone)
    if vr in NUMBER_VRS:
        try:
            return float(stored) == float(wanted)
        except (TypeError, ValueError):
            return False
    text, pattern = comparable(str(stored)), comparable(wanted)
    if vr in WILD_CARD_VRS and ("*" in pattern or "?" in pattern):
        return glob(pattern, text)
    return text == pattern


def _matches_name(stored: Any, wanted: str) -> bool:
    """Group by group; a key of one group is tried against every group (correctness C1.5)."""
    have = groups(stored if isinstance(stored, Mapping) else str(stored))
    want = groups(wanted)
    if len(want) == 1:
        return not want[0] or any(_matches_group(want[0], group) for group in have if group)
    return all(
        _matches_group(part, have[number] if number < len(have) else "") for number, part in enumerate(want) if part
    )


def _matches_group(wanted: str, group: str) -> bool:
    """Absent components are empty ones: ``DOE^*`` matches ``DOE``, which is ``DOE^``."""
    if glob(wanted, group):
        return True
    absent = wanted.count("^") - group.count("^")
    return absent > 0 and glob(wanted, group + "^" * absent)


def _count(keys: Mapping[str, Key]) -> int:
    return sum(1 + _count(key.item) for key in keys.values())


def _check_size(tag: str, key: Key, limits: Limits) -> None:
    if key.vr == "UI" and len(key.values) > limits.query_uids_max:
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"more than {limits.query_uids_max} UIDs in ({tag})")
    if key.vr != "UI" and len(key.values) > limits.query_values_max:
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"more than {limits.query_values_max} values in ({tag})")
    if any(len(value) > limits.query_text_max for value in key.values):
        raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, f"the key ({tag}) is too long")
    for inner_tag, inner in key.item.items():
        _check_size(inner_tag, inner, limits)


def _check_times(key: Key) -> None:
    if key.vr in TIME_VRS:
        for value in filter(None, key.values):
            check(value, key.vr)
    for inner in key.item.values():
        _check_times(inner)
