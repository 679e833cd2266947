"""Which small picture stands for a series? One a series, made of one of its images (decision 13)."""

from __future__ import annotations

from typing import Any

from domain.rendering import PIPELINE
from projections.derived import Derived

TABLES = """
CREATE TABLE thumbnail (
    study_instance_uid text COLLATE "C" NOT NULL,
    series_instance_uid text COLLATE "C" NOT NULL,
    digest text NOT NULL,
    picture bytea NOT NULL,
    PRIMARY KEY (study_instance_uid, series_instance_uid)
);

ALTER TABLE thumbnail ALTER COLUMN picture SET STORAGE EXTERNAL;
"""

THUMBNAILS = Derived("thumbnail", PIPELINE, TABLES)

_KEPT = """
SELECT picture FROM thumbnail WHERE study_instance_uid = %s AND series_instance_uid = %s AND digest = %s
"""
_KEEP = """
INSERT INTO thumbnail (study_instance_uid, series_instance_uid, digest, picture) VALUES (%s, %s, %s, %s)
ON CONFLICT (study_instance_uid, series_instance_uid) DO UPDATE
SET digest = excluded.digest, picture = excluded.picture
"""
_FORGET = "DELETE FROM thumbnail WHERE study_instance_uid = %s AND series_instance_uid = %s"


def kept(connection: Any, study_instance_uid: str, series_instance_uid: str, digest: str) -> bytes:
    """The picture, where it was made of the image with this digest; empty otherwise."""
    row = connection.execute(_KEPT, (study_instance_uid, series_instance_uid, digest), binary=True).fetchone()
    return bytes(row[0]) if row else b""


def keep(connection: Any, study_instance_uid: str, series_instance_uid: str, digest: str, picture: bytes) -> None:
    """Let this picture stand for the series."""
    connection.execute(_KEEP, (study_instance_uid, series_instance_uid, digest, picture))


def forget(connection: Any, study_instance_uid: str, series_instance_uid: str) -> None:
    """Nothing stands for the series."""
    connection.execute(_FORGET, (study_instance_uid, series_instance_uid))
