"""Facts into the catalogue. Each level is one statement a run; the later fact wins; counts follow from the rows.

Where the instances of a study or series differ in an attribute of that level, the one that was recorded last is shown:
the order is that of the log, so every rebuild shows the same (correctness C1.21). All variants stay in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from domain.event import Recorded
from domain.fuzzy_name import words
from domain.instance import InstanceMoved, InstanceStored
from domain.matching import comparable
from domain.person_name import groups
from domain.temporal import moment
from projections.catalogue import due, withdrawn
from projections.catalogue.name_words import PREFIXES, learn

_PATIENTS = """
INSERT INTO patient
SELECT * FROM json_to_recordset(%s::json) AS r(patient_key text, patient_id text, patient_name text,
    patient_name_ideographic text, patient_name_phonetic text, patient_birth_date text, irregular boolean,
    patient_attributes jsonb)
ON CONFLICT (patient_key) DO UPDATE SET patient_id = excluded.patient_id, patient_name = excluded.patient_name,
    patient_name_ideographic = excluded.patient_name_ideographic,
    patient_name_phonetic = excluded.patient_name_phonetic, patient_birth_date = excluded.patient_birth_date,
    irregular = excluded.irregular, patient_attributes = excluded.patient_attributes
WHERE patient.patient_attributes IS DISTINCT FROM excluded.patient_attributes
"""
_SERIES = """
INSERT INTO series
SELECT study_instance_uid, series_instance_uid, modality, attributes, number_of_instances,
    ARRAY(SELECT json_array_elements_text(classes))
FROM json_to_recordset(%s::json) AS r(study_instance_uid text, series_instance_uid text, modality text,
    attributes jsonb, number_of_instances integer, classes json)
ON CONFLICT (study_instance_uid, series_instance_uid) DO UPDATE
SET modality = excluded.modality, attributes = excluded.attributes,
    number_of_instances = series.number_of_instances + excluded.number_of_instances,
    sop_classes = CASE WHEN series.sop_classes @> excluded.sop_classes THEN series.sop_classes ELSE
        ARRAY(SELECT DISTINCT c COLLATE "C" FROM unnest(series.sop_classes || excluded.sop_classes) AS c ORDER BY 1) END
WHERE excluded.number_of_instances > 0
    OR (series.modality, series.attributes) IS DISTINCT FROM (excluded.modality, excluded.attributes)
"""
_STUDIES = """
INSERT INTO study
SELECT r.*, counted.series, counted.instances, counted.modalities,
    ARRAY(SELECT DISTINCT class COLLATE "C" FROM series, unnest(series.sop_classes) AS class
        WHERE series.study_instance_uid = r.study_instance_uid ORDER BY 1)
FROM json_to_recordset(%s::json) AS r(study_instance_uid text, patient_key text, patient_id text, patient_name text,
    patient_name_ideographic text, patient_name_phonetic text, patient_birth_date text, study_date text,
    accession_number text, irregular boolean, name_words text[], patient_attributes jsonb, attributes jsonb)
CROSS JOIN LATERAL (
    SELECT count(*) AS series, sum(number_of_instances) AS instances,
        coalesce(array_agg(DISTINCT modality ORDER BY modality) FILTER (WHERE modality <> ''), '{}') AS modalities
    FROM series WHERE series.study_instance_uid = r.study_instance_uid
) AS counted
ON CONFLICT (study_instance_uid) DO UPDATE SET patient_key = excluded.patient_key, patient_id = excluded.patient_id,
    patient_name = excluded.patient_name, patient_name_ideographic = excluded.patient_name_ideographic,
    patient_name_phonetic = excluded.patient_name_phonetic, patient_birth_date = excluded.patient_birth_date,
    study_date = excluded.study_date, accession_number = excluded.accession_number, irregular = excluded.irregular,
    name_words = excluded.name_words, patient_attributes = excluded.patient_attributes,
    attributes = excluded.attributes, number_of_series = excluded.number_of_series,
    number_of_instances = excluded.number_of_instances, modalities = excluded.modalities,
    sop_classes = excluded.sop_classes
"""
_KNOWN = """
SELECT sop_instance_uid, false FROM instance WHERE sop_instance_uid = ANY(%(uids)s)
UNION ALL SELECT sop_instance_uid, true FROM withdrawn_instance WHERE sop_instance_uid = ANY(%(uids)s)
"""
_COPY = """
COPY instance (sop_instance_uid, study_instance_uid, series_instance_uid, sop_class_uid, instance_number, digest, size,
    header_size, transfer_syntax_uid, storage, path, attributes) FROM STDIN
"""
_REPLACE = """
UPDATE instance SET instance_number = %s, digest = %s, size = %s, header_size = %s, transfer_syntax_uid = %s,
    storage = %s, path = %s, attributes = %s WHERE sop_instance_uid = %s
"""
_MOVE = """
UPDATE instance SET size = %s, header_size = %s, storage = %s, path = %s
WHERE sop_instance_uid = %s AND digest = %s AND transfer_syntax_uid = %s
"""
_PATIENT_ID, _ISSUER = "00100020", "00100021"
_PATIENT_NAME, _BIRTH_DATE = "00100010", "00100030"
_STUDY_DATE, _ACCESSION_NUMBER = "00080020", "00080050"
_MODALITY = "00080060"
_INSTANCE_NUMBER = "00200013"


def keep(connection: Any, run: Sequence[Recorded]) -> None:
    """Instances that were stored or replaced. A replacement has the same identity (:func:`domain.instance.store`)."""
    instances: dict[str, InstanceStored] = {}
    described: dict[tuple[str, str, str], Recorded] = {}
    for recorded in run:
        stored = recorded.event
        assert isinstance(stored, InstanceStored)
        instances[stored.sop_instance_uid] = stored
        key = (stored.study_instance_uid, stored.series_instance_uid, stored.particulars)
        # The order of the dictionary is that of the last fact of each, so that the later fact wins below.
        described.pop(key, None)
        described[key] = recorded
    new = _keep_instances(connection, instances)
    patients: dict[str, dict[str, Any]] = {}
    studies: dict[str, dict[str, Any]] = {}
    series: dict[tuple[str, str], dict[str, Any]] = {}
    name_words: set[str] = set()
    for (study_uid, series_uid, _), recorded in described.items():
        content = recorded.particulars.content if recorded.particulars else {}
        patient = _patient(values_of(content.get("patient", {})), study_uid)
        patients[patient["patient_key"]] = patient
        studies[study_uid] = _study(values_of(content.get("study", {})), study_uid, patient)
        name_words.update(word.rpartition(" ")[2] for word in studies[study_uid]["name_words"])
        series[study_uid, series_uid] = _series(values_of(content.get("series", {})), study_uid, series_uid)
    for stored in new:
        row = series[stored.study_instance_uid, stored.series_instance_uid]
        row["number_of_instances"] += 1
        row["classes"].add(stored.sop_class_uid)
    for statement, rows in ((_PATIENTS, patients), (_SERIES, series), (_STUDIES, studies)):
        connection.execute(statement, (orjson.dumps(list(rows.values()), default=sorted).decode(),))
    learn(connection, name_words)
    changed = {(study_uid, series_uid): recorded for (study_uid, series_uid, _), recorded in described.items()}
    due.note(connection, ((*key, recorded.position, recorded.envelope.at) for key, recorded in changed.items()))


def move(connection: Any, run: Sequence[Recorded]) -> None:
    """Instances whose bytes are at another place."""
    rows = []
    for event in (recorded.event for recorded in run):
        assert isinstance(event, InstanceMoved)
        content = event.content
        place = (content.size, content.header_size, content.storage, content.path)
        rows.append((*place, event.sop_instance_uid, content.digest, content.transfer_syntax_uid))
    if withdrawn.holds(connection, [row[4] for row in rows]):
        for recorded, row in zip(run, rows, strict=True):
            if not connection.execute(_MOVE, row).rowcount:
                withdrawn.move(connection, recorded)
        return
    with connection.cursor() as cursor:
        cursor.executemany(_MOVE, rows)


def patient_key(patient: Mapping[str, list[Any]], study_instance_uid: str) -> str:
    """Issuer and id; a study without a Patient ID is its own nameless patient (correctness C1.22)."""
    patient_id = text(patient, _PATIENT_ID)
    return f"{text(patient, _ISSUER) or ''}\x1f{patient_id}" if patient_id else f"\x1f\x1f{study_instance_uid}"


def values_of(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Tag to list of values: the VRs are the model's, what has no value is left out."""
    return {tag: values for tag, element in attributes.items() if (values := element.get("Value"))}


def text(attributes: Mapping[str, list[Any]], tag: str) -> str | None:
    """The first value of an attribute as it is compared, or None."""
    value = (attributes.get(tag) or (None,))[0]
    return None if value is None else comparable(str(value))


def _keep_instances(connection: Any, instances: Mapping[str, InstanceStored]) -> Iterable[InstanceStored]:
    """Write the rows; returns those that were not there before."""
    found = connection.execute(_KNOWN, {"uids": list(instances)}, binary=True).fetchall()
    known = {uid for uid, is_withdrawn in found if not is_withdrawn}
    new = [stored for uid, stored in instances.items() if uid not in known] if known else list(instances.values())
    if new:
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for stored in new:
                copy.write_row(
                    (
                        stored.sop_instance_uid,
                        stored.study_instance_uid,
                        stored.series_instance_uid,
                        stored.sop_class_uid,
                        *_content(stored),
                    )
                )
        if again := [uid for uid, is_withdrawn in found if is_withdrawn and uid not in known]:
            withdrawn.forget(connection, again)
    for uid in known:
        connection.execute(_REPLACE, (*_content(instances[uid]), uid))
    return new


def _content(stored: InstanceStored) -> tuple[Any, ...]:
    content = stored.content
    attributes = values_of(stored.attributes)
    number = attributes.get(_INSTANCE_NUMBER, (None,))[0]
    return (
        number if isinstance(number, int) else None,
        content.digest,
        content.size,
        content.header_size,
        content.transfer_syntax_uid,
        content.storage,
        content.path,
        orjson.dumps(attributes).decode(),
    )


def _patient(patient: Mapping[str, list[Any]], study_instance_uid: str) -> dict[str, Any]:
    name = (patient.get(_PATIENT_NAME) or (None,))[0]
    parts = (*(groups(name) if name else ()), "", "", "")
    single = (_PATIENT_ID, _PATIENT_NAME, _BIRTH_DATE)
    return {
        "patient_key": patient_key(patient, study_instance_uid),
        "patient_id": text(patient, _PATIENT_ID),
        "patient_name": parts[0],
        "patient_name_ideographic": parts[1] or None,
        "patient_name_phonetic": parts[2] or None,
        "patient_birth_date": _date(patient, _BIRTH_DATE),
        "irregular": any(len(patient.get(tag, ())) > 1 for tag in single),
        "patient_attributes": patient,
    }


def _study(study: Mapping[str, list[Any]], uid: str, patient: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **patient,
        "irregular": patient["irregular"]
        or any(len(study.get(tag, ())) > 1 for tag in (_STUDY_DATE, _ACCESSION_NUMBER)),
        "study_instance_uid": uid,
        "study_date": _date(study, _STUDY_DATE) or "",
        "accession_number": text(study, _ACCESSION_NUMBER),
        "name_words": _name_words({**patient["patient_attributes"], **study}),
        "attributes": study,
    }


def _name_words(attributes: Mapping[str, list[Any]]) -> list[str]:
    """The words of all names that a study is found by, each behind whose it is."""
    named = ((whose, one) for tag, whose in PREFIXES.items() for one in attributes.get(tag, ()) if one)
    return sorted({whose + word for whose, one in named for word in words(one)})


def _date(attributes: Mapping[str, list[Any]], tag: str) -> str | None:
    value = text(attributes, tag)
    return moment(value, "DA") if value else None


def _series(series: Mapping[str, list[Any]], study_uid: str, uid: str) -> dict[str, Any]:
    return {
        "study_instance_uid": study_uid,
        "series_instance_uid": uid,
        "modality": text(series, _MODALITY),
        "attributes": series,
        "number_of_instances": 0,
        "classes": set(),
    }
