"""Questions to the catalogue: SQL narrows by index, the matching rules decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from psycopg.sql import SQL, Composed

from domain.attributes import BY_TAG, Level
from domain.matching import Query, matches
from projections.catalogue.name_words import PREFIXES, meant_by
from projections.catalogue.narrow import conditions, is_decided

_PAGES = {
    Level.PATIENT: SQL("""
        SELECT page.patient_attributes::text, NULL, NULL, NULL, page.patient_key, page.patient_key,
            counted.studies, counted.series, counted.instances
        FROM (SELECT * FROM patient WHERE {where} ORDER BY patient_key LIMIT %s) AS page
        CROSS JOIN LATERAL (
            SELECT count(*) AS studies, sum(number_of_series) AS series, sum(number_of_instances) AS instances
            FROM study WHERE study.patient_key = page.patient_key
        ) AS counted ORDER BY page.patient_key
    """),
    Level.STUDY: SQL("""
        SELECT patient_attributes::text, study.attributes::text, NULL, NULL, study.study_date, study.study_instance_uid,
            study.patient_key, study.study_instance_uid, modalities, sop_classes, number_of_series, number_of_instances
        FROM study WHERE {where}
        ORDER BY study.study_date DESC, study.study_instance_uid DESC LIMIT %s
    """),
    Level.SERIES: SQL("""
        SELECT patient_attributes::text, study.attributes::text, series.attributes::text, NULL,
            series.study_instance_uid, series.series_instance_uid,
            study.patient_key, study.study_instance_uid, study.modalities, study.sop_classes, study.number_of_series,
            study.number_of_instances, series.series_instance_uid, series.number_of_instances
        FROM study JOIN series USING (study_instance_uid)
        WHERE {where} ORDER BY series.study_instance_uid, series.series_instance_uid LIMIT %s
    """),
    Level.IMAGE: SQL("""
        SELECT patient_attributes::text, study.attributes::text, series.attributes::text, instance.attributes::text,
            instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid,
            study.patient_key, study.study_instance_uid, study.modalities, study.sop_classes, study.number_of_series,
            study.number_of_instances, series.series_instance_uid, series.number_of_instances,
            instance.sop_instance_uid, instance.sop_class_uid, instance.transfer_syntax_uid
        FROM study JOIN series USING (study_instance_uid)
            JOIN instance USING (study_instance_uid, series_instance_uid)
        WHERE {where}
        ORDER BY instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid LIMIT %s
    """),
}
_PLACES = {
    Level.STUDY: """
        SELECT study_date, study_instance_uid FROM study ORDER BY study_date DESC, study_instance_uid DESC
        LIMIT 1 OFFSET %s
    """,
    Level.SERIES: "SELECT study_instance_uid, series_instance_uid FROM series ORDER BY 1, 2 LIMIT 1 OFFSET %s",
    Level.IMAGE: """
        SELECT study_instance_uid, series_instance_uid, sop_instance_uid FROM instance ORDER BY 1, 2, 3
        LIMIT 1 OFFSET %s
    """,
}
_AFTER = {
    Level.PATIENT: SQL("patient_key > %s"),
    Level.STUDY: SQL("(study.study_date, study.study_instance_uid) < (%s, %s)"),
    Level.SERIES: SQL("(series.study_instance_uid, series.series_instance_uid) > (%s, %s)"),
    Level.IMAGE: SQL(
        "(instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid) > (%s, %s, %s)"
    ),
}
_KEY_SIZE = {Level.PATIENT: 1, Level.STUDY: 2, Level.SERIES: 2, Level.IMAGE: 3}
_COMPUTED = (
    "0020000D",
    "00080061",
    "00080062",
    "00201206",
    "00201208",
    "0020000E",
    "00201209",
    "00080018",
    "00080016",
    "00083002",
)
_OF_PATIENT = ("00201200", "00201202", "00201204")
_COUNT_PATIENTS = """
SELECT patient_key, count(*), sum(number_of_series), sum(number_of_instances)
FROM study WHERE patient_key = ANY(%s) GROUP BY patient_key
"""


@dataclass(frozen=True, slots=True)
class Page:
    """Records that match, tag to DICOM JSON element: studies the newest first, all else in the order of unique keys.

    ``last`` is where the next page begins, None after the last one. A page may be empty and not the last.
    """

    records: Sequence[dict[str, Any]]
    last: tuple[str, ...] | None


def place(connection: Any, level: Level, number: int) -> tuple[str, ...] | None:
    """The unique key of the record with this number (from 0) among all of a level; None where there are fewer."""
    row: tuple[str, ...] | None = connection.execute(_PLACES[level], (number,)).fetchone()
    return row


def find(connection: Any, query: Query, after: tuple[str, ...] | None, size: int) -> Page:
    """One page of at most ``size`` rows looked at. No row comes twice, none is left out (correctness C1.20)."""
    level, keys = query.level, query.matching
    where, parameters = conditions(keys, PREFIXES, partial(meant_by, connection))
    if after is not None:
        where.append(_AFTER[level])
        parameters.extend(after)
    statement: Composed = _PAGES[level].format(where=SQL(" AND ").join(where) if where else SQL("true"))
    # Never prepared: a plan that does not know the values would not use the index that suits them.
    rows = connection.execute(statement, [*parameters, size], prepare=False).fetchall()
    end = 4 + _KEY_SIZE[level]
    counts = _patient_counts(connection, query, [row[end] for row in rows])
    undecided = {tag: key for tag, key in keys.items() if not is_decided(tag, key)}
    upper: dict[tuple[str | None, ...], dict[str, Any]] = {}
    records = []
    for row in rows:
        # What the rows of a page have in common is read once.
        if (common := upper.get(row[:3])) is None:
            common = upper[row[:3]] = {tag: one for text in row[:3] for tag, one in _elements(text).items()}
        record = {**common, **_elements(row[3])}
        _add(record, _OF_PATIENT if level is Level.PATIENT else _COMPUTED, row[end + 1 :])
        if level is Level.PATIENT and not row[end + 1]:
            continue
        if row[end] in counts:
            _add(record, _OF_PATIENT, counts[row[end]])
        if matches(record, undecided, query.zone, combined=query.is_combined):
            records.append(record)
    return Page(records, rows[-1][4:end] if len(rows) == size else None)


def _patient_counts(connection: Any, query: Query, patient_keys: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """What the patients of a page have in all, where it is asked for below the patient level."""
    if query.level is Level.PATIENT or not any(tag in query.keys for tag in _OF_PATIENT):
        return {}
    rows = connection.execute(_COUNT_PATIENTS, (list(set(patient_keys)),)).fetchall()
    return {key: tuple(map(int, counts)) for key, *counts in rows}


def _elements(attributes: str | None) -> dict[str, Any]:
    values = orjson.loads(attributes) if attributes else {}
    return {tag: {"vr": BY_TAG[tag].vr, "Value": one} for tag, one in values.items()}


def _add(record: dict[str, Any], tags: Sequence[str], computed: Sequence[Any]) -> None:
    for tag, value in zip(tags, computed, strict=False):
        vr = BY_TAG[tag].vr
        values = value if isinstance(value, list) else [value]
        record[tag] = {"vr": vr, "Value": [int(one) if vr == "IS" else one for one in values if one is not None]}
