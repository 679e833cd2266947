"""Which images stand for a study or a series? Those in the middle of it."""

from __future__ import annotations

from typing import Any

_TRIED_MAX = 3
_REPRESENTATIVES = """
WITH image AS (
    SELECT *,
        row_number() OVER (PARTITION BY series_instance_uid ORDER BY instance_number, sop_instance_uid) AS place,
        count(*) OVER (PARTITION BY series_instance_uid) AS images
    FROM instance
    WHERE study_instance_uid = %(study)s AND (%(series)s = '' OR series_instance_uid = %(series)s)
        AND attributes -> '00280010' IS NOT NULL
)
SELECT sop_class_uid, sop_instance_uid, series_instance_uid, study_instance_uid,
    digest, size, header_size, transfer_syntax_uid, storage, path
FROM image ORDER BY abs(place - (images / 2 + 1)), images DESC, series_instance_uid, place LIMIT %(most)s
"""


def representatives(connection: Any, study: str, series: str = "") -> list[tuple[Any, ...]]:
    """Rows of class, instance, series, study and the content's parts: the middle of the largest series first.

    What has no Rows is no image. More than one, since the first may be damaged.
    """
    parameters = {"study": study, "series": series, "most": _TRIED_MAX}
    return list(connection.execute(_REPRESENTATIVES, parameters).fetchall())
