"""Conditions in SQL for the keys of a query. Each lets pass at least what matches; the matching rules decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psycopg.sql import SQL, Composable, Composed, Literal

from domain import fuzzy_name
from domain.attributes import BY_TAG, COMPUTED, Level
from domain.matching import WILD_CARD_VRS, Key, comparable
from domain.person_name import groups
from domain.temporal import interval

_PATIENT_NAME = "00100010"
_NAMES = (SQL("patient_name"), SQL("patient_name_ideographic"), SQL("patient_name_phonetic"))
_TEXTS = {"00100020": SQL("patient_id"), "00080050": SQL("study.accession_number")}
_DATES = {"00080020": SQL("study.study_date"), "00100030": SQL("patient_birth_date")}
_UIDS = {
    "0020000D": SQL("study.study_instance_uid"),
    "0020000E": SQL("series.series_instance_uid"),
    "00080018": SQL("instance.sop_instance_uid"),
    "00080016": SQL("instance.sop_class_uid"),
}
_ARRAYS = {"00080061": SQL("study.modalities"), "00080062": SQL("study.sop_classes")}
_ATTRIBUTES = {
    Level.PATIENT: SQL("jsonb_array_elements_text(patient_attributes -> {tag})"),
    Level.STUDY: SQL("jsonb_array_elements_text(study.attributes -> {tag})"),
    Level.SERIES: SQL("jsonb_array_elements_text(series.attributes -> {tag})"),
    Level.IMAGE: SQL("json_array_elements_text(instance.attributes -> {tag})"),
}
_COMPUTED = frozenset(attribute.tag for attribute in COMPUTED)
_EXACT_VRS = frozenset(("UI", "AS"))
_LAST = chr(0x10FFFF)


def conditions(
    keys: Mapping[str, Key], names: Mapping[str, str], meant_by: Callable[[str], list[str]]
) -> tuple[list[Composable], list[Any]]:
    """Conditions, to be joined by AND, and their parameters in order.

    ``names`` tells what stands before the words of a name that a study is found by, ``meant_by`` knows the words.
    """
    found: list[Composable] = []
    parameters: list[Any] = []
    for tag, key in keys.items():
        values = [value for value in key.values if value]
        condition, wanted = _of_key(tag, key, values, names, meant_by)
        if condition is not None:
            found.append(condition)
            parameters.extend(wanted)
    return found, parameters


def is_decided(tag: str, key: Key) -> bool:
    """Whether the condition of a key lets pass what matches and nothing else."""
    return tag in _UIDS and not key.is_empty


def prefix_end(prefix: str) -> str | None:
    """The first text after all those with this prefix, by code point; None where there is none."""
    stem = prefix.rstrip(_LAST)
    if not stem:
        return None
    last = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)


def like(pattern: str, *, wild: bool = True) -> str:
    """A LIKE pattern for ``*`` and ``?``; LIKE's own wild cards in it are literal (correctness C1.4)."""
    literal = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return literal.replace("*", "%").replace("?", "_") if wild else literal


def _empty(tag: str) -> Composable | None:
    """No value; an unreadable date passes too. Of what has no column nothing is known."""
    column = {**_TEXTS, **_DATES}.get(tag)
    return None if column is None else SQL("({0} IS NULL OR {0} = '' OR irregular)").format(column)


_Condition = tuple[Composable | None, list[Any]]


def _of_key(
    tag: str, key: Key, values: Sequence[str], names: Mapping[str, str], meant_by: Callable[[str], list[str]]
) -> _Condition:
    if key.is_empty:
        return _empty(tag), []
    if not key.is_fuzzy:
        return _condition(tag, key.vr, values)
    if tag not in names:
        return None, []
    whose = names[tag]
    return _any(
        values,
        lambda value: _alike([[whose + meant for meant in meant_by(word)] for word in fuzzy_name.words(value)]),
    )


def _alike(meant: Sequence[list[str]]) -> _Condition:
    """A name that has one of each of these lists of words."""
    if not meant:
        return SQL("false"), []
    return SQL("({})").format(SQL(" AND ").join([SQL("study.name_words && %s")] * len(meant))), list(meant)


def _condition(tag: str, vr: str, values: Sequence[str]) -> _Condition:
    if tag in _UIDS:
        return SQL("{} = ANY(%s)").format(_UIDS[tag]), [[comparable(value) for value in values]]
    if tag in _TEXTS:
        return _regular(_any(values, lambda value: _text(_TEXTS[tag], comparable(value))))
    if tag in _DATES:
        return _regular(_any(values, lambda value: _date(_DATES[tag], value)))
    if tag == _PATIENT_NAME:
        return _regular(_any(values, _name))
    if tag in _ARRAYS:
        wild = vr in WILD_CARD_VRS and any(c in value for value in values for c in "*?")
        return (None, []) if wild else (SQL("{} && %s").format(_ARRAYS[tag]), [[comparable(v) for v in values]])
    if tag in _COMPUTED or vr not in WILD_CARD_VRS | _EXACT_VRS or vr == "PN":
        return None, []
    attribute = BY_TAG[tag]
    source = _ATTRIBUTES[attribute.level].format(tag=Literal(tag))
    patterns = [like(comparable(value), wild=vr in WILD_CARD_VRS) for value in values]
    return SQL("EXISTS (SELECT FROM {} AS v WHERE btrim(normalize(v), ' ') LIKE ANY(%s))").format(source), [patterns]


def _any(values: Sequence[str], one: Callable[[str], _Condition]) -> _Condition:
    """Any of the values; nothing is known where nothing is known of one of them."""
    made = [one(value) for value in values]
    known = [condition for condition, _ in made if condition is not None]
    if len(known) < len(made):
        return None, []
    return _or(known), [parameter for _, parameters in made for parameter in parameters]


def _or(parts: Sequence[Composable]) -> Composed:
    return SQL("({})").format(SQL(" OR ").join(parts))


def _regular(condition: _Condition) -> _Condition:
    found, parameters = condition
    return (None, []) if found is None else (SQL("({} OR irregular)").format(found), parameters)


def _text(column: Composable, pattern: str) -> _Condition:
    fixed = _fixed(pattern)
    if fixed == pattern:
        return SQL("{} = %s").format(column), [pattern]
    matching = SQL("{} LIKE %s").format(column)
    if (ranged := _range(column, fixed)) is None:
        return matching, [like(pattern)]
    condition, parameters = ranged
    return SQL("({} AND {})").format(condition, matching), [*parameters, like(pattern)]


def _range(column: Composable, prefix: str) -> tuple[Composable, list[Any]] | None:
    if not prefix or (end := prefix_end(prefix)) is None:
        return None
    return SQL("{0} >= %s AND {0} < %s").format(column), [prefix, end]


def _date(column: Composable, value: str) -> _Condition:
    low, high = interval(value, "DA")
    return SQL("{} BETWEEN %s AND %s").format(column), [low, high]


def _name(value: str) -> _Condition:
    parts = groups(value)
    if len(parts) == 1:
        made = [_group(column, parts[0]) for column in _NAMES]
        if any(condition is None for condition, _ in made):
            return None, []
        joined = _or([condition for condition, _ in made if condition is not None])
    else:
        made = [one for one in map(_group, _NAMES, parts) if one[0] is not None]
        if not made:
            return None, []
        joined = SQL("({})").format(SQL(" AND ").join(condition for condition, _ in made if condition is not None))
    return joined, [parameter for _, parameters in made for parameter in parameters]


def _group(column: Composable, part: str) -> _Condition:
    """One component group. Trailing empty components may be absent, so what is fixed ends before them."""
    fixed = _fixed(part)
    if fixed == part:
        return (SQL("{} = %s").format(column), [part]) if part else (None, [])
    if (ranged := _range(column, fixed.rstrip("^"))) is not None:
        return SQL("({})").format(ranged[0]), ranged[1]
    stem = part.rstrip("^*?")
    return (SQL("{} LIKE %s").format(column), [like(stem) + "%"]) if stem else (None, [])


def _fixed(pattern: str) -> str:
    """What stands before the first wild card."""
    return pattern.split("*")[0].split("?")[0]
