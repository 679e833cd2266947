"""For which series is derived data due to be made? One row a kind and series, until it is made (decision 13).

Facts put rows in; the worker takes them, newest first, then those that wait for another try, and removes what is made.
What cannot be made stays as failed.
Losing the table loses nothing: a rebuild makes every series due, and what is made already is only looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

KINDS = ("metadata", "thumbnail")
"""What is derived of every series, each by a maker of its own (:class:`processes.derive.Maker`)."""

TABLES = """
CREATE TABLE due (
    kind text COLLATE "C" NOT NULL,
    study_instance_uid text COLLATE "C" NOT NULL,
    series_instance_uid text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    attempts integer NOT NULL DEFAULT 0,
    failed boolean NOT NULL DEFAULT false,
    fault text NOT NULL DEFAULT '',
    PRIMARY KEY (kind, study_instance_uid, series_instance_uid)
) WITH (fillfactor = 80);

CREATE INDEX due_newest_idx ON due (kind, position DESC) WHERE NOT failed AND attempts = 0;
CREATE INDEX due_again_idx ON due (kind, not_before) WHERE NOT failed AND attempts > 0;
CREATE INDEX due_failed_idx ON due (kind) WHERE failed;
"""

_NOTE = """
INSERT INTO due (kind, study_instance_uid, series_instance_uid, position, changed_at)
SELECT kind, study, series, position, changed_at
FROM unnest(%s::text[]) AS kind, unnest(%s::text[], %s::text[], %s::bigint[], %s::timestamptz[])
    AS changed (study, series, position, changed_at)
ON CONFLICT (kind, study_instance_uid, series_instance_uid) DO UPDATE
SET position = excluded.position, changed_at = excluded.changed_at, not_before = '-infinity', attempts = 0,
    failed = false, fault = ''
"""
_ALL = """
INSERT INTO due (kind, study_instance_uid, series_instance_uid, position, changed_at)
SELECT %s, study_instance_uid, series_instance_uid, 0, '-infinity' FROM series
ON CONFLICT (kind, study_instance_uid, series_instance_uid) DO UPDATE
SET position = excluded.position, changed_at = excluded.changed_at, not_before = '-infinity', attempts = 0,
    failed = false, fault = ''
"""
_FORGET = """
DELETE FROM due WHERE study_instance_uid = ANY(%s) AND NOT EXISTS (
    SELECT FROM series WHERE series.study_instance_uid = due.study_instance_uid
        AND series.series_instance_uid = due.series_instance_uid
)
"""
_TAKE = """
WITH newest AS (
    SELECT kind, study_instance_uid, series_instance_uid FROM due
    WHERE kind = %(kind)s AND NOT failed AND attempts = 0 AND not_before <= now()
        AND changed_at <= now() - make_interval(secs => %(rest)s)
    ORDER BY position DESC LIMIT 1 FOR UPDATE SKIP LOCKED
), again AS (
    SELECT kind, study_instance_uid, series_instance_uid FROM due
    WHERE kind = %(kind)s AND NOT failed AND attempts > 0 AND not_before <= now()
    ORDER BY not_before LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE due SET not_before = now() + make_interval(secs => %(lease)s), attempts = attempts + 1
WHERE (kind, study_instance_uid, series_instance_uid) = (
    SELECT one.* FROM (TABLE newest UNION ALL TABLE again) AS one LIMIT 1
)
RETURNING study_instance_uid, series_instance_uid, position, attempts
"""
_MADE = "DELETE FROM due WHERE kind = %s AND study_instance_uid = %s AND series_instance_uid = %s AND position = %s"
_AGAIN = """
UPDATE due SET not_before = now() + make_interval(secs => %s), attempts = %s, failed = %s, fault = %s
WHERE kind = %s AND study_instance_uid = %s AND series_instance_uid = %s AND position = %s
"""
_COUNT = "SELECT kind, count(*) FILTER (WHERE NOT failed), count(*) FILTER (WHERE failed) FROM due GROUP BY kind"
_FAILED = """
SELECT kind, study_instance_uid, series_instance_uid, attempts, fault FROM due WHERE failed
ORDER BY kind, position DESC LIMIT %s
"""
_RETRY = "UPDATE due SET failed = false, attempts = 0, not_before = '-infinity' WHERE failed AND kind = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Due:
    """A series whose data of a kind is due, as it was taken. ``attempts`` counts this one."""

    kind: str
    study_instance_uid: str
    series_instance_uid: str
    position: int
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """A series whose data of a kind cannot be made, and why; it holds no patient data."""

    kind: str
    study_instance_uid: str
    series_instance_uid: str
    attempts: int
    fault: str


def note(connection: Any, changed: Iterable[tuple[str, str, int, datetime]]) -> None:
    """Series (study, series, position of the fact, its time) that have other instances now: all kinds are due."""
    if rows := list(changed):
        connection.execute(_NOTE, (list(KINDS), *map(list, zip(*rows, strict=True))))


def forget(connection: Any, study_instance_uids: Sequence[str]) -> None:
    """Nothing is due of series of these studies that are not there any more."""
    connection.execute(_FORGET, (list(study_instance_uids),))


def everything(connection: Any, kind: str) -> None:
    """Data of a kind is due for every series that is there, also where it could not be made or is being made."""
    connection.execute(_ALL, (kind,))


def take(connection: Any, kind: str, rest_seconds: float, lease_seconds: float) -> Due | None:
    """The newest series that has come to rest, else one to be tried again, for the lease; None where nothing is due."""
    row = connection.execute(_TAKE, {"kind": kind, "rest": rest_seconds, "lease": lease_seconds}).fetchone()
    return Due(kind, *row) if row else None


def made(connection: Any, due: Due) -> None:
    """The data is made; it stays due where the series has changed meanwhile."""
    connection.execute(_MADE, (due.kind, due.study_instance_uid, due.series_instance_uid, due.position))


def again(connection: Any, due: Due, seconds: float, attempts: int, fault: str, *, failed: bool) -> None:
    """The data was not made: it is tried again after a time, or ``failed`` stays so until it is asked to be retried."""
    key = (due.kind, due.study_instance_uid, due.series_instance_uid, due.position)
    connection.execute(_AGAIN, (seconds, attempts, failed, fault, *key))


def counts(connection: Any) -> dict[str, tuple[int, int]]:
    """How many series are due and how many have failed, by kind."""
    found = {kind: (due, failed) for kind, due, failed in connection.execute(_COUNT).fetchall()}
    return {kind: found.get(kind, (0, 0)) for kind in KINDS}


def failures(connection: Any, maximum: int) -> list[Failure]:
    """What has failed, the newest first."""
    return [Failure(*row) for row in connection.execute(_FAILED, (maximum,)).fetchall()]


def retry(connection: Any, kinds: Sequence[str]) -> int:
    """Make what has failed due again; how many series."""
    return int(connection.execute(_RETRY, (list(kinds),)).rowcount)
