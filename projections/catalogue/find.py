"""Questions to the catalogue: SQL narrows by index, the matching rules decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.sql import SQL, Composed

from domain.attributes import Level
from domain.matching import Key, Query, matches
from domain.person_name import folded
from domain.temporal import interval

_RECORDS = {
    Level.PATIENT: SQL("""
        SELECT patient_attributes, NULL, NULL, NULL,
            (SELECT count(*) FROM study WHERE study.patient_key = patient.patient_key),
            (SELECT sum(number_of_series) FROM study WHERE study.patient_key = patient.patient_key),
            (SELECT sum(number_of_instances) FROM study WHERE study.patient_key = patient.patient_key)
        FROM patient WHERE EXISTS (SELECT FROM study WHERE study.patient_key = patient.patient_key) AND {where}
    """),
    Level.STUDY: SQL("""
        SELECT patient_attributes, study.attributes, NULL, NULL,
            study.study_instance_uid, modalities, sop_classes, number_of_series, number_of_instances
        FROM study WHERE {where}
    """),
    Level.SERIES: SQL("""
        SELECT patient_attributes, study.attributes, series.attributes, NULL,
            study.study_instance_uid, study.modalities, study.sop_classes, study.number_of_series,
            study.number_of_instances, series.series_instance_uid, series.number_of_instances
        FROM study JOIN series USING (study_instance_uid) WHERE {where}
    """),
    Level.IMAGE: SQL("""
        SELECT patient_attributes, study.attributes, series.attributes, instance.attributes,
            study.study_instance_uid, study.modalities, study.sop_classes, study.number_of_series,
            study.number_of_instances, series.series_instance_uid, series.number_of_instances,
            instance.sop_instance_uid, instance.sop_class_uid, instance.transfer_syntax_uid
        FROM study JOIN series USING (study_instance_uid)
            JOIN instance USING (study_instance_uid, series_instance_uid) WHERE {where}
    """),
}
_COMPUTED: tuple[tuple[str, str], ...] = (
    ("0020000D", "UI"),
    ("00080061", "CS"),
    ("00080062", "UI"),
    ("00201206", "IS"),
    ("00201208", "IS"),
    ("0020000E", "UI"),
    ("00201209", "IS"),
    ("00080018", "UI"),
    ("00080016", "UI"),
    ("00083002", "UI"),
)
_OF_PATIENT = (("00201200", "IS"), ("00201202", "IS"), ("00201204", "IS"))
_EXACT = {
    "00100020": SQL("patient_id = ANY(%s)"),
    "00080050": SQL("study.accession_number = ANY(%s)"),
}
_PREFIX = {
    "00100020": SQL("patient_id LIKE %s"),
    "00080050": SQL("study.accession_number LIKE %s"),
}
_UIDS = {
    "0020000D": (Level.STUDY, SQL("study.study_instance_uid = ANY(%s)")),
    "0020000E": (Level.SERIES, SQL("series.series_instance_uid = ANY(%s)")),
    "00080018": (Level.IMAGE, SQL("instance.sop_instance_uid = ANY(%s)")),
}
_DATES = {
    "00080020": SQL("study.study_date BETWEEN %s AND %s"),
    "00100030": SQL("patient_birth_date BETWEEN %s AND %s"),
}
_PATIENT_NAME = "00100010"
_NAME = SQL("(patient_name LIKE %s OR patient_name_groups)")
_MODALITIES = SQL("study.modalities && %s")
_STUDIES_OF_PATIENT = (
    "SELECT count(*), coalesce(sum(number_of_series), 0), coalesce(sum(number_of_instances), 0) "
    "FROM study WHERE patient_key = (SELECT patient_key FROM study WHERE study_instance_uid = %s)"
)


def find(connection: Any, query: Query, page: int) -> Iterator[dict[str, Any]]:
    """Records that match, each once, tag to DICOM JSON element; read in pages on one snapshot."""
    keys = query.matching
    statement, parameters = _narrowed(query.level, keys)
    with connection.cursor(name="find", scrollable=False) as cursor:
        cursor.itersize = page
        cursor.execute(statement, parameters)
        for row in cursor:
            record = _record(query.level, row)
            if matches(record, keys):
                if query.level is not Level.PATIENT and any(tag in query.keys for tag, _ in _OF_PATIENT):
                    _add_patient_counts(connection, record)
                yield record


def like_prefix(text: str) -> str:
    """A LIKE pattern for what begins with ``text``; its own wild cards are literal (correctness C1.4)."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def _narrowed(level: Level, keys: Mapping[str, Key]) -> tuple[Composed, list[Any]]:
    conditions: list[Any] = [SQL("true")]
    parameters: list[Any] = []
    for tag, key in keys.items():
        values = [value for value in key.values if value]
        if tag in _UIDS:
            at, condition = _UIDS[tag]
            if at <= level:
                conditions.append(condition)
                parameters.append(values)
        elif tag in _EXACT:
            wild = any(c in value for value in values for c in "*?")
            if not wild:
                conditions.append(_EXACT[tag])
                parameters.append([value.strip(" ") for value in values])
            elif len(values) == 1 and (fixed := _fixed(values[0].strip(" "))):
                conditions.append(_PREFIX[tag])
                parameters.append(like_prefix(fixed))
        elif tag in _DATES and len(values) == 1:
            conditions.append(_DATES[tag])
            parameters.extend(interval(values[0], "DA"))
        elif tag == _PATIENT_NAME and len(values) == 1 and "=" not in values[0]:
            if fixed := folded(_fixed(values[0])):
                conditions.append(_NAME)
                parameters.append(like_prefix(fixed))
        elif tag == "00080061" and not any(c in value for value in values for c in "*?"):
            conditions.append(_MODALITIES)
            parameters.append([value.strip(" ") for value in values])
    return _RECORDS[level].format(where=SQL(" AND ").join(conditions)), parameters


def _fixed(pattern: str) -> str:
    """What stands before the first wild card."""
    return pattern.split("*")[0].split("?")[0]


def _record(level: Level, row: tuple[Any, ...]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for attributes in row[:4]:
        record.update(attributes or {})
    computed = _OF_PATIENT if level is Level.PATIENT else _COMPUTED
    for (tag, vr), value in zip(computed, row[4:], strict=False):
        values = value if isinstance(value, list) else [value]
        record[tag] = {"vr": vr, "Value": [int(one) if vr == "IS" else one for one in values]}
    return record


def _add_patient_counts(connection: Any, record: dict[str, Any]) -> None:
    row = connection.execute(_STUDIES_OF_PATIENT, (record["0020000D"]["Value"][0],)).fetchone()
    for (tag, vr), value in zip(_OF_PATIENT, row, strict=True):
        record[tag] = {"vr": vr, "Value": [int(value)]}
