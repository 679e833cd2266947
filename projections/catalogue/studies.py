"""Is a study there, and how many are?"""

from __future__ import annotations

from typing import Any

_IS_THERE = "SELECT EXISTS (SELECT 1 FROM study WHERE study_instance_uid = %s)"
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM study LIMIT %s) AS counted"


def is_there(connection: Any, study_instance_uid: str) -> bool:
    """Whether an instance of this study is stored."""
    return bool(connection.execute(_IS_THERE, (study_instance_uid,)).fetchone()[0])


def count(connection: Any, maximum: int) -> int:
    """How many studies are there, counted up to a maximum."""
    return int(connection.execute(_COUNT, (maximum,)).fetchone()[0])
