"""The query string of a search (PS3.18 8.3.4): keys, fields to include, paging and switches. All faults at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import keyword_dict

from domain.attributes import BY_TAG
from domain.errors import InvalidInput, Refused
from domain.identifiers import uid_fault
from domain.limits import Limits
from domain.matching import NUMBER_VRS, TIME_VRS, Key, is_private_creator
from domain.temporal import check

EMPTY = '""'
"""Two quotation marks: the value that only an empty attribute matches (PS3.4 C.2.2.2.7)."""

_SWITCHES = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_ELSEWHERE = frozenset(("accept", "charset"))
_COMMA_VRS = frozenset(("UI", "CS", "AE"))
_LIST_VRS = frozenset(("UI", "CS"))
_EVERY_VRS = frozenset(("AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"))
_HEX = frozenset("0123456789ABCDEFabcdef")
_NUMBER_MAX = 10**18
"""What a database counts with. Clients ask for "all" by the largest number that they know, whatever it is."""

Path = tuple[str, ...]
"""Tags from a data set down: a tag alone, or sequences before it."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a query string asks. ``ignored`` names parameters that mean nothing here, for the Warning header."""

    keys: Mapping[str, Key]
    include: frozenset[Path] = frozenset()
    include_all: bool = False
    limit: int = 0
    offset: int = 0
    ignored: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    limits: Limits
    faults: list[str] = field(default_factory=list)
    switches: dict[str, bool] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    include: set[Path] = field(default_factory=set)
    include_all: bool = False
    matches: dict[Path, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def search_parameters(query_string: bytes, limits: Limits) -> Search:
    """Read a query string. Raises :class:`InvalidInput` with every fault; unknown parameters are ignored and named."""
    reading = _Reading(limits)
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidInput(["query: is not UTF-8 in percent encoding"]) from None
    for name, value in pairs:
        if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in name + value):
            reading.faults.append(f"{name[:64]!a}: has a control character")
        else:
            _read(reading, name, value)
    keys = _keys(reading)
    if reading.faults:
        raise InvalidInput(reading.faults)
    return Search(
        keys,
        frozenset(reading.include),
        reading.include_all,
        min(reading.numbers.get("limit", limits.query_matches_max), limits.query_matches_max),
        reading.numbers.get("offset", 0),
        tuple(dict.fromkeys(reading.ignored)),
    )


def path_of(name: str) -> Path | None:
    """The tags of a dotted name, keywords or eight hex digits each (PS3.18 8.3.4.1), None where it is none."""
    path = tuple(_tag(part) for part in name.split("."))
    return path if all(path) and len(path) <= 8 else None  # type: ignore[return-value]


def vr_of(tag: str) -> str:
    """The VR of a tag by the model, then by the dictionary; ``UN`` where neither knows."""
    if known := BY_TAG.get(tag):
        return known.vr
    if is_private_creator(tag):
        return "LO"
    return str(DicomDictionary.get(int(tag, 16), ("UN",))[0]).partition(" ")[0] or "UN"


def _tag(part: str) -> str | None:
    if len(part) == 8 and set(part) <= _HEX:
        return part.upper()
    # The dictionary has a retired attribute without a keyword under the empty text.
    number = keyword_dict.get(part) if part else None
    return f"{number:08X}" if number is not None else None


def _read(reading: _Reading, name: str, value: str) -> None:
    if name in _SWITCHES:
        if value not in ("true", "false"):
            reading.faults.append(f"{name}: is neither true nor false")
        elif reading.switches.setdefault(name, value == "true") != (value == "true"):
            reading.faults.append(f"{name}: stands twice")
    elif name in ("limit", "offset"):
        if not (value.isascii() and value.isdigit()):
            reading.faults.append(f"{name}: is not an unsigned number")
        elif reading.numbers.setdefault(name, number := _number(value)) != number:
            reading.faults.append(f"{name}: stands twice")
    elif name == "includefield":
        _include(reading, value)
    elif name not in _ELSEWHERE:
        path = path_of(name)
        if path is None:
            reading.ignored.append(name)
        elif path in reading.matches:
            reading.faults.append(f"{name}: stands twice")
        elif len(reading.matches) >= reading.limits.query_keys_max:
            reading.faults.append(f"{name}: is one attribute more than query_keys_max")
        else:
            reading.matches[path] = value


def _number(digits: str) -> int:
    """The number, or the largest that is counted with."""
    digits = digits.lstrip("0")
    return min(int(digits or "0"), _NUMBER_MAX) if len(digits) <= len(str(_NUMBER_MAX)) else _NUMBER_MAX


def _include(reading: _Reading, value: str) -> None:
    for one in filter(None, (part.strip() for part in value.split(","))):
        if one == "all":
            reading.include_all = True
        elif (path := path_of(one)) is not None:
            reading.include.add(path)
        else:
            reading.ignored.append(f"includefield={one}")


def _keys(reading: _Reading) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    for path, value in reading.matches.items():
        *sequences, last = path
        if any(vr_of(tag) != "SQ" for tag in sequences):
            reading.faults.append(f"{'.'.join(path)}: leads through an attribute that is no sequence")
            continue
        key = _key(reading, ".".join(path), vr_of(last), value)
        _put(keys, path, key)
    return keys


def _put(keys: dict[str, Key], path: Path, key: Key) -> None:
    tag, rest = path[0], path[1:]
    if not rest:
        keys[tag] = replace(keys[tag], values=key.values) if tag in keys else key
        return
    upper = keys.get(tag, Key("SQ"))
    item = dict(upper.item)
    _put(item, rest, key)
    keys[tag] = replace(upper, item=item)


def _key(reading: _Reading, name: str, vr: str, value: str) -> Key:
    if reading.switches.get("emptyvaluematching") and value == EMPTY:
        return Key(vr, is_empty=True)
    every = vr in _EVERY_VRS and reading.switches.get("multiplevaluematching", False)
    values = tuple(_values(vr, value, several=every))
    most = reading.limits.query_uids_max if vr == "UI" else reading.limits.query_values_max
    if len(values) > most:
        reading.faults.append(f"{name}: has more than {most} values")
    elif any(len(one) > reading.limits.query_text_max for one in values):
        reading.faults.append(f"{name}: is longer than query_text_max")
    else:
        reading.faults.extend(f"{name}: {fault}" for fault in _value_faults(vr, values))
    fuzzy = vr == "PN" and reading.switches.get("fuzzymatching", False)
    return Key(vr, values, is_fuzzy=fuzzy, is_every=every and len(values) > 1)


def _values(vr: str, value: str, *, several: bool) -> Sequence[str]:
    """One value, or a list: of UIDs always (PS3.18 8.3.4.1), of codes since viewers ask so for modalities."""
    if not value:
        return ()
    if vr == "DT":
        # The sign of a zone, unless it is escaped, comes as a blank.
        value = value.strip(" ").replace(" ", "+")
    if vr in _COMMA_VRS:
        value = value.replace(",", "\\")
    if several or vr in _LIST_VRS:
        return [one.strip(" ") for one in value.split("\\") if one.strip(" ")]
    return [value]


def _value_faults(vr: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        if vr == "SQ":
            yield "is a sequence: name an attribute in it"
        elif vr == "UI" and (fault := uid_fault(value)):
            yield fault
        elif vr in NUMBER_VRS and not _is_number(value):
            yield "is not a number"
        elif vr in TIME_VRS:
            try:
                check(value, vr)
            except Refused as refused:
                yield str(refused)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
