"""Which instances lie under these unique keys? For C-MOVE and C-GET, and for telling a life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.sql import SQL

from domain.attributes import Level

_SELECT = SQL("""
    SELECT sop_class_uid, sop_instance_uid, series_instance_uid, study_instance_uid,
        digest, size, header_size, transfer_syntax_uid, storage, path
    FROM {source} WHERE {where}
    ORDER BY study_instance_uid, series_instance_uid, instance_number, sop_instance_uid LIMIT %s
""")
_CONDITIONS = {
    Level.PATIENT: SQL(
        "study_instance_uid IN (SELECT study_instance_uid FROM study WHERE patient_id = ANY(%s))",
    ),
    Level.STUDY: SQL("study_instance_uid = ANY(%s)"),
    Level.SERIES: SQL("series_instance_uid = ANY(%s)"),
    Level.IMAGE: SQL("sop_instance_uid = ANY(%s)"),
}


def select(
    connection: Any, keys: Mapping[Level, Sequence[str]], maximum: int, *, withdrawn: bool = False
) -> list[tuple[Any, ...]]:
    """Rows of class, instance, series, study and content, in reading order; at most ``maximum``.

    ``withdrawn``: those that are in removed storages instead, which no answer to a peer holds.
    """
    conditions = [_CONDITIONS[level] for level in keys]
    parameters: list[Any] = [list(values) for values in keys.values()]
    source = SQL("withdrawn_instance" if withdrawn else "instance")
    statement = _SELECT.format(source=source, where=SQL(" AND ").join(conditions))
    return list(connection.execute(statement, [*parameters, maximum]).fetchall())
