"""Instances of removed storages: out of every answer, and back when their storage is (STO-2, B52).

Their rows lie in tables of their own, so that nothing that is asked has to pass them over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.event import Recorded
from domain.instance import InstanceMoved
from domain.storage import StorageAdded, StorageRemoved, StorageWithdrawn
from projections.catalogue import due

TABLES = """
CREATE TABLE withdrawn_study (LIKE study, PRIMARY KEY (study_instance_uid));
CREATE TABLE withdrawn_series (LIKE series, PRIMARY KEY (study_instance_uid, series_instance_uid));
CREATE TABLE withdrawn_instance (LIKE instance, PRIMARY KEY (sop_instance_uid));
CREATE INDEX withdrawn_instance_storage_idx ON withdrawn_instance (storage);
CREATE TABLE withdrawn_storage (name text PRIMARY KEY);
"""

_LAST = "~"
"""Comes after every UID."""

_NEXT = """
SELECT max(study_instance_uid), count(*) FROM (
    SELECT study_instance_uid FROM instance WHERE storage = %s AND study_instance_uid > %s
    ORDER BY study_instance_uid LIMIT %s
) AS next
"""
_IN_STEP = """
SELECT DISTINCT study_instance_uid, series_instance_uid FROM instance
WHERE storage = %s AND study_instance_uid > %s AND study_instance_uid <= %s ORDER BY 1, 2
"""
_WITHDRAW = """
WITH gone AS (
    DELETE FROM instance WHERE storage = %s AND study_instance_uid > %s AND study_instance_uid <= %s RETURNING *
)
INSERT INTO withdrawn_instance SELECT * FROM gone
"""
_NOTE = "INSERT INTO withdrawn_storage VALUES (%s) ON CONFLICT DO NOTHING"
_NOTED = "DELETE FROM withdrawn_storage WHERE name = %s"
_AFFECTED = """
SELECT DISTINCT study_instance_uid, series_instance_uid FROM withdrawn_instance WHERE storage = %s ORDER BY 1, 2
"""
_RESTORE = """
WITH back AS (DELETE FROM withdrawn_instance WHERE storage = %s RETURNING *) INSERT INTO instance SELECT * FROM back
"""
_RESTORE_SERIES = """
WITH back AS (
    DELETE FROM withdrawn_series WHERE (study_instance_uid, series_instance_uid) IN (
        SELECT * FROM unnest(%s::text[], %s::text[])
    ) RETURNING *
)
INSERT INTO series SELECT * FROM back ON CONFLICT DO NOTHING
"""
_RESTORE_STUDIES = """
WITH back AS (DELETE FROM withdrawn_study WHERE study_instance_uid = ANY(%s) RETURNING *)
INSERT INTO study SELECT * FROM back ON CONFLICT DO NOTHING
"""
_COUNT_SERIES = """
UPDATE series SET number_of_instances = counted.instances, sop_classes = counted.classes
FROM (
    SELECT study, one, count(sop_instance_uid) AS instances,
        coalesce(array_agg(DISTINCT sop_class_uid ORDER BY sop_class_uid) FILTER (WHERE sop_class_uid <> ''), '{}')
            AS classes
    FROM unnest(%s::text[], %s::text[]) AS affected (study, one)
    LEFT JOIN instance ON study_instance_uid = study AND series_instance_uid = one GROUP BY study, one
) AS counted
WHERE study_instance_uid = study AND series_instance_uid = one
"""
_COUNT_STUDIES = """
UPDATE study SET number_of_series = counted.series, number_of_instances = counted.instances,
    modalities = counted.modalities, sop_classes = ARRAY(
        SELECT DISTINCT class COLLATE "C" FROM series, unnest(series.sop_classes) AS class
        WHERE series.study_instance_uid = one ORDER BY 1
    )
FROM (
    SELECT one, count(series_instance_uid) AS series, coalesce(sum(number_of_instances), 0) AS instances,
        coalesce(array_agg(DISTINCT modality ORDER BY modality) FILTER (WHERE modality <> ''), '{}') AS modalities
    FROM unnest(%s::text[]) AS affected (one) LEFT JOIN series ON study_instance_uid = one GROUP BY one
) AS counted
WHERE study_instance_uid = one
"""
_WITHDRAW_SERIES = """
WITH gone AS (DELETE FROM series WHERE study_instance_uid = ANY(%s) AND number_of_instances = 0 RETURNING *)
INSERT INTO withdrawn_series SELECT * FROM gone ON CONFLICT (study_instance_uid, series_instance_uid)
DO UPDATE SET modality = excluded.modality, attributes = excluded.attributes
"""
_WITHDRAW_STUDIES = """
WITH gone AS (DELETE FROM study WHERE study_instance_uid = ANY(%s) AND number_of_series = 0 RETURNING *)
INSERT INTO withdrawn_study SELECT * FROM gone ON CONFLICT (study_instance_uid) DO UPDATE
SET patient_key = excluded.patient_key, patient_id = excluded.patient_id, patient_name = excluded.patient_name,
    patient_name_ideographic = excluded.patient_name_ideographic,
    patient_name_phonetic = excluded.patient_name_phonetic, patient_birth_date = excluded.patient_birth_date,
    study_date = excluded.study_date, accession_number = excluded.accession_number, irregular = excluded.irregular,
    name_words = excluded.name_words, patient_attributes = excluded.patient_attributes,
    attributes = excluded.attributes
"""
_MOVE = """
UPDATE withdrawn_instance SET size = %s, header_size = %s, storage = %s, path = %s
WHERE sop_instance_uid = %s AND digest = %s AND transfer_syntax_uid = %s
"""
_WITHOUT_TIMEOUT = "SELECT set_config('statement_timeout', '0', true)"
"""For the rest of the transaction: a storage holds any number of instances, and a fact that is given up comes again."""

_HELD = "SELECT 1 FROM withdrawn_instance WHERE sop_instance_uid = ANY(%s) LIMIT 1"
_FORGET = "DELETE FROM withdrawn_instance WHERE sop_instance_uid = ANY(%s)"


def withdraw(connection: Any, run: Sequence[Recorded]) -> None:
    """Storages were removed: nothing that they hold is there any more."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, StorageRemoved)
        # What went in steps, to the last, is not looked for in all that there is.
        if not connection.execute(_NOTED, (event.name,)).rowcount:
            _withdraw(connection, event.name, "", _LAST)


def withdraw_step(connection: Any, run: Sequence[Recorded]) -> None:
    """What storages hold of some studies is not there any more."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, StorageWithdrawn)
        _withdraw(connection, event.name, event.after, event.until or _LAST)
        if not event.until:
            connection.execute(_NOTE, (event.name,))


def step(connection: Any, storage: str, after: str, instances: int) -> str:
    """The study up to which a next step goes, of at least so many instances; nothing where it is the last."""
    until, found = connection.execute(_NEXT, (storage, after, instances)).fetchone()
    return str(until) if found == instances else ""


def restore(connection: Any, run: Sequence[Recorded]) -> None:
    """Storages were added: what one of them held before it was removed is there again."""
    for recorded in run:
        assert isinstance(recorded.event, StorageAdded)
        connection.execute(_NOTED, (recorded.event.name,))
        _restore(connection, recorded.event.name, recorded)


def holds(connection: Any, sop_instance_uids: Sequence[str]) -> bool:
    """Whether any of these instances is in a removed storage."""
    return bool(connection.execute(_HELD, (list(sop_instance_uids),)).fetchone())


def move(connection: Any, recorded: Recorded) -> None:
    """The bytes of an instance are at another place: if it was in a removed storage, it is there again."""
    event = recorded.event
    assert isinstance(event, InstanceMoved)
    content = event.content
    place = (content.size, content.header_size, content.storage, content.path)
    which = (event.sop_instance_uid, content.digest, content.transfer_syntax_uid)
    if connection.execute(_MOVE, (*place, *which)).rowcount:
        _restore(connection, content.storage, recorded)


def forget(connection: Any, sop_instance_uids: Sequence[str]) -> None:
    """Instances are stored anew, in another storage."""
    connection.execute(_FORGET, (list(sop_instance_uids),))


def _withdraw(connection: Any, storage: str, after: str, until: str) -> None:
    connection.execute(_WITHOUT_TIMEOUT)
    affected = connection.execute(_IN_STEP, (storage, after, until)).fetchall()
    connection.execute(_WITHDRAW, (storage, after, until))
    studies = _counted(connection, affected)
    connection.execute(_WITHDRAW_SERIES, (studies,))
    connection.execute(_COUNT_STUDIES, (studies,))
    connection.execute(_WITHDRAW_STUDIES, (studies,))
    due.forget(connection, studies)


def _restore(connection: Any, storage: str, recorded: Recorded) -> None:
    connection.execute(_WITHOUT_TIMEOUT)
    affected = connection.execute(_AFFECTED, (storage,)).fetchall()
    if not affected:
        return
    connection.execute(_RESTORE, (storage,))
    connection.execute(_RESTORE_SERIES, tuple(map(list, zip(*affected, strict=True))))
    connection.execute(_RESTORE_STUDIES, (sorted({study for study, _ in affected}),))
    connection.execute(_COUNT_STUDIES, (_counted(connection, affected),))
    due.note(connection, ((*key, recorded.position, recorded.envelope.at) for key in affected))


def _counted(connection: Any, affected: Sequence[tuple[str, str]]) -> list[str]:
    """The studies of these series, whose instances are counted anew."""
    studies, series = [study for study, _ in affected], [one for _, one in affected]
    connection.execute(_COUNT_SERIES, (studies, series))
    return sorted(set(studies))
