"""Facts into the catalogue. Each level is one statement a run; the later fact wins; counts follow from the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from domain.event import Recorded
from domain.instance import InstanceStored
from domain.person_name import folded

_PATIENTS = """
INSERT INTO patient
SELECT * FROM json_to_recordset(%s::json) AS r(patient_key text, patient_id text, patient_name text,
    patient_name_groups boolean, patient_birth_date text, patient_attributes jsonb)
ON CONFLICT (patient_key) DO UPDATE SET patient_name = excluded.patient_name,
    patient_name_groups = excluded.patient_name_groups, patient_birth_date = excluded.patient_birth_date,
    patient_attributes = excluded.patient_attributes
WHERE patient.patient_attributes IS DISTINCT FROM excluded.patient_attributes
"""
_STUDIES = """
INSERT INTO study (study_instance_uid, patient_key, patient_id, patient_name, patient_name_groups,
    patient_birth_date, patient_attributes, study_date, accession_number, attributes)
SELECT * FROM json_to_recordset(%s::json) AS r(study_instance_uid text, patient_key text, patient_id text,
    patient_name text, patient_name_groups boolean, patient_birth_date text, patient_attributes jsonb,
    study_date text, accession_number text, attributes jsonb)
ON CONFLICT (study_instance_uid) DO UPDATE SET patient_key = excluded.patient_key, patient_id = excluded.patient_id,
    patient_name = excluded.patient_name, patient_name_groups = excluded.patient_name_groups,
    patient_birth_date = excluded.patient_birth_date, patient_attributes = excluded.patient_attributes,
    study_date = excluded.study_date, accession_number = excluded.accession_number, attributes = excluded.attributes
WHERE (study.patient_key, study.patient_attributes, study.attributes)
    IS DISTINCT FROM (excluded.patient_key, excluded.patient_attributes, excluded.attributes)
"""
_SERIES = """
INSERT INTO series (study_instance_uid, series_instance_uid, modality, attributes)
SELECT * FROM json_to_recordset(%s::json) AS r(study_instance_uid text, series_instance_uid text, modality text,
    attributes jsonb)
ON CONFLICT (study_instance_uid, series_instance_uid) DO UPDATE
SET modality = excluded.modality, attributes = excluded.attributes
WHERE (series.modality, series.attributes) IS DISTINCT FROM (excluded.modality, excluded.attributes)
"""
_INSTANCES = """
INSERT INTO instance
SELECT * FROM json_to_recordset(%s::json) AS r(sop_instance_uid text, study_instance_uid text,
    series_instance_uid text, sop_class_uid text, instance_number bigint, digest text, size bigint,
    header_size integer, transfer_syntax_uid text, storage text, path text, attributes jsonb)
ON CONFLICT (sop_instance_uid) DO UPDATE SET study_instance_uid = excluded.study_instance_uid,
    series_instance_uid = excluded.series_instance_uid, sop_class_uid = excluded.sop_class_uid,
    instance_number = excluded.instance_number, digest = excluded.digest, size = excluded.size,
    header_size = excluded.header_size, transfer_syntax_uid = excluded.transfer_syntax_uid,
    storage = excluded.storage, path = excluded.path, attributes = excluded.attributes
"""
_COUNT_SERIES = """
UPDATE series SET number_of_instances = counted.instances, sop_classes = counted.classes
FROM (
    SELECT study_instance_uid, series_instance_uid, count(*) AS instances,
        array_agg(DISTINCT sop_class_uid ORDER BY sop_class_uid) AS classes
    FROM instance
    JOIN unnest(%s::text[], %s::text[]) AS touched(study, series)
        ON study_instance_uid = touched.study AND series_instance_uid = touched.series
    GROUP BY study_instance_uid, series_instance_uid
) AS counted
WHERE series.study_instance_uid = counted.study_instance_uid
    AND series.series_instance_uid = counted.series_instance_uid
"""
_COUNT_STUDIES = """
UPDATE study SET number_of_series = counted.series, number_of_instances = counted.instances,
    modalities = counted.modalities, sop_classes = counted.classes
FROM (
    SELECT study_instance_uid, count(*) AS series, sum(number_of_instances) AS instances,
        coalesce(array_agg(DISTINCT modality ORDER BY modality) FILTER (WHERE modality <> ''), '{}') AS modalities,
        (SELECT array_agg(DISTINCT class ORDER BY class) FROM series AS inside, unnest(inside.sop_classes) AS class
         WHERE inside.study_instance_uid = series.study_instance_uid) AS classes
    FROM series WHERE study_instance_uid = ANY(%s) GROUP BY study_instance_uid
) AS counted
WHERE study.study_instance_uid = counted.study_instance_uid
"""


def keep(connection: Any, run: Sequence[Recorded]) -> None:
    """Instances that were stored or replaced."""
    patients: dict[str, dict[str, Any]] = {}
    studies: dict[str, dict[str, Any]] = {}
    series: dict[tuple[str, str], dict[str, Any]] = {}
    instances: dict[str, dict[str, Any]] = {}
    for recorded in run:
        stored = recorded.event
        assert isinstance(stored, InstanceStored)
        instances[stored.sop_instance_uid] = _instance(stored)
        content = recorded.particulars.content if recorded.particulars else {}
        patient, study = content.get("patient", {}), content.get("study", {})
        key = patient_key(patient, stored.study_instance_uid)
        patients[key] = _patient(key, patient)
        studies[stored.study_instance_uid] = patients[key] | _study(stored, study)
        one = content.get("series", {})
        series[(stored.study_instance_uid, stored.series_instance_uid)] = {
            "study_instance_uid": stored.study_instance_uid,
            "series_instance_uid": stored.series_instance_uid,
            "modality": text(one, "00080060"),
            "attributes": one,
        }
    for statement, rows in (
        (_PATIENTS, patients.values()),
        (_STUDIES, studies.values()),
        (_SERIES, series.values()),
        (_INSTANCES, instances.values()),
    ):
        connection.execute(statement, (json.dumps(list(rows), ensure_ascii=False),))
    connection.execute(_COUNT_SERIES, ([study for study, _ in series], [one for _, one in series]))
    connection.execute(_COUNT_STUDIES, (list(studies),))


def patient_key(patient: Mapping[str, Any], study_instance_uid: str) -> str:
    """Issuer and id; a study without a Patient ID is its own nameless patient (correctness C1.22)."""
    patient_id = text(patient, "00100020")
    return f"{text(patient, '00100021') or ''}\x1f{patient_id}" if patient_id else f"\x1f\x1f{study_instance_uid}"


def text(attributes: Mapping[str, Any], tag: str) -> str | None:
    """The first value of an attribute as text."""
    values = attributes.get(tag, {}).get("Value") or [None]
    return None if values[0] is None else str(values[0])


def _patient(key: str, patient: Mapping[str, Any]) -> dict[str, Any]:
    names = patient.get("00100010", {}).get("Value") or [{}]
    name = names[0] if isinstance(names[0], Mapping) else {"Alphabetic": str(names[0] or "")}
    return {
        "patient_key": key,
        "patient_id": text(patient, "00100020"),
        "patient_name": folded(name.get("Alphabetic", "")),
        "patient_name_groups": len(names) > 1 or any(group != "Alphabetic" for group in name),
        "patient_birth_date": text(patient, "00100030"),
        "patient_attributes": patient,
    }


def _study(stored: InstanceStored, study: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "study_instance_uid": stored.study_instance_uid,
        "study_date": text(study, "00080020"),
        "accession_number": text(study, "00080050"),
        "attributes": study,
    }


def _instance(stored: InstanceStored) -> dict[str, Any]:
    number = text(stored.attributes, "00200013")
    content = stored.content
    return {
        "sop_instance_uid": stored.sop_instance_uid,
        "study_instance_uid": stored.study_instance_uid,
        "series_instance_uid": stored.series_instance_uid,
        "sop_class_uid": stored.sop_class_uid,
        "instance_number": number,
        "digest": content.digest,
        "size": content.size,
        "header_size": content.header_size,
        "transfer_syntax_uid": content.transfer_syntax_uid,
        "storage": content.storage,
        "path": content.path,
        "attributes": stored.attributes,
    }
