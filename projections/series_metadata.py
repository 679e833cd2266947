"""What does a series' metadata say? Prepared, compressed, in parts of some instances each (decision 13).

A part holds one line of JSON for each instance, in the order of ``digests``. It is found by the digest of an instance's
content, so that what was overwritten is never given out; nothing in it depends on where the service is mounted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from projections.derived import Derived

TABLES = """
CREATE TABLE part (
    study_instance_uid text COLLATE "C" NOT NULL,
    series_instance_uid text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    digests bytea NOT NULL,
    lines bytea NOT NULL,
    PRIMARY KEY (study_instance_uid, series_instance_uid, number)
);

ALTER TABLE part ALTER COLUMN lines SET STORAGE EXTERNAL;
"""

SERIES_METADATA = Derived("metadata", 1, TABLES)

_PARTS = "SELECT digests, lines FROM part WHERE study_instance_uid = %s AND series_instance_uid = %s ORDER BY number"
_PART = """
SELECT digests, lines FROM part
WHERE study_instance_uid = %s AND series_instance_uid = %s AND position(%s in digests) > 0
"""
_DIGESTS = "SELECT digests FROM part WHERE study_instance_uid = %s AND series_instance_uid = %s ORDER BY number"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext(%s))"
_FORGET = "DELETE FROM part WHERE study_instance_uid = %s AND series_instance_uid = %s"
_KEEP = "INSERT INTO part (study_instance_uid, series_instance_uid, number, digests, lines) VALUES (%s, %s, %s, %s, %s)"
_DIGEST_SIZE = 32


@dataclass(frozen=True, slots=True)
class Part:
    """Some instances' metadata: hexadecimal digests, and as many lines of JSON, compressed (RFC 1950)."""

    digests: Sequence[str]
    lines: bytes


def parts(connection: Any, study_instance_uid: str, series_instance_uid: str, only: str = "") -> list[Part]:
    """What is prepared of a series, or the part that holds one digest."""
    key = (study_instance_uid, series_instance_uid)
    if only:
        rows = connection.execute(_PART, (*key, bytes.fromhex(only)), binary=True).fetchall()
    else:
        rows = connection.execute(_PARTS, key, binary=True).fetchall()
    return [Part(_split(digests), lines) for digests, lines in rows]


def prepared(connection: Any, study_instance_uid: str, series_instance_uid: str) -> list[str]:
    """The digests of the instances whose metadata is prepared, in their order."""
    rows = connection.execute(_DIGESTS, (study_instance_uid, series_instance_uid), binary=True).fetchall()
    return [digest for (digests,) in rows for digest in _split(digests)]


def replace(connection: Any, study_instance_uid: str, series_instance_uid: str, made: Iterable[Part]) -> None:
    """Let these parts take the place of what was prepared of a series; without any it is forgotten."""
    # Two that prepare the same series at a time write one after the other: the last one stays.
    connection.execute(_LOCK, (f"annals metadata {study_instance_uid} {series_instance_uid}",))
    connection.execute(_FORGET, (study_instance_uid, series_instance_uid))
    rows = [
        (study_instance_uid, series_instance_uid, number, bytes.fromhex("".join(part.digests)), part.lines)
        for number, part in enumerate(made)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_KEEP, rows)


def _split(digests: bytes) -> list[str]:
    return [digests[at : at + _DIGEST_SIZE].hex() for at in range(0, len(digests), _DIGEST_SIZE)]
