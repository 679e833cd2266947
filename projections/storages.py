"""Which storages are there, in which order are they written, and what is wrong with them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.event import Recorded
from domain.storage import (
    FOLDER,
    Storage,
    StorageAdded,
    StorageChanged,
    StorageFailed,
    StorageRecovered,
    StorageRemoved,
    StorageScrubbed,
    StorageWithdrawn,
)
from projections.engine import Projection

TABLES = """
CREATE TABLE storage (
    name text PRIMARY KEY,
    storage_id text NOT NULL,
    path text NOT NULL,
    enabled boolean NOT NULL,
    removed boolean NOT NULL,
    emptied boolean NOT NULL DEFAULT false,
    leaving boolean NOT NULL DEFAULT false,
    troubles jsonb NOT NULL,
    trouble_versions jsonb NOT NULL DEFAULT '{}',
    added bigint NOT NULL,
    scrubbed text NOT NULL DEFAULT '',
    instances bigint NOT NULL DEFAULT 0,
    unreadable bigint NOT NULL DEFAULT 0,
    whole_scrub_ended timestamptz
);
"""

_ADD = """
INSERT INTO storage (name, storage_id, path, enabled, removed, troubles, added) VALUES (%s, %s, %s, %s, false, '{}', %s)
ON CONFLICT (name) DO UPDATE
SET path = excluded.path, enabled = excluded.enabled, removed = false, leaving = false, troubles = '{}',
    added = excluded.added, scrubbed = ''
"""
_CHANGE = """
UPDATE storage SET path = %s, enabled = %s, troubles = (
    SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(troubles) WHERE %s OR key = %s
) WHERE name = %s
"""
_REMOVE = """
UPDATE storage SET removed = true, leaving = false, emptied = emptied OR %s, troubles = '{}' WHERE name = %s
"""
_WITHDRAW = "UPDATE storage SET leaving = NOT removed WHERE name = %s"
_TOLD = """
UPDATE storage SET
    troubles = CASE WHEN %(failed)s THEN troubles || jsonb_build_object(%(trouble)s::text, %(reason)s::text)
        ELSE troubles - %(trouble)s::text END,
    trouble_versions = trouble_versions
        || jsonb_build_object(%(trouble)s::text, coalesce((trouble_versions ->> %(trouble)s::text)::int, 0) + 1)
WHERE name = %(name)s
"""
_SCRUB = """
UPDATE storage SET scrubbed = %(after)s, whole_scrub_ended = coalesce(%(ended)s, whole_scrub_ended),
    instances = %(instances)s + CASE WHEN scrubbed = '' THEN 0 ELSE instances END,
    unreadable = %(unreadable)s + CASE WHEN scrubbed = '' THEN 0 ELSE unreadable END
WHERE name = %(name)s
"""
_ALL = """
SELECT name, storage_id, path, enabled, removed, troubles, scrubbed, trouble_versions, emptied, leaving
FROM storage ORDER BY added
"""
_SCRUBS = "SELECT name, scrubbed <> '', instances, unreadable, whole_scrub_ended FROM storage"


def add(connection: Any, run: Sequence[Recorded]) -> None:
    """Storages that were added, or came back."""
    for recorded in run:
        event = recorded.event
        assert isinstance(event, StorageAdded)
        connection.execute(_ADD, (event.name, event.storage_id, event.path, event.enabled, recorded.position))


def change(connection: Any, run: Sequence[Recorded]) -> None:
    """Storages that have another folder, or were enabled or disabled."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, StorageChanged)
        connection.execute(_CHANGE, (event.path, event.enabled, event.enabled, FOLDER, event.name))


def remove(connection: Any, run: Sequence[Recorded]) -> None:
    """Storages that are no longer used."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, StorageRemoved)
        connection.execute(_REMOVE, (event.files, event.name))


def withdraw(connection: Any, run: Sequence[Recorded]) -> None:
    """Storages that are being removed."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, StorageWithdrawn)
        connection.execute(_WITHDRAW, (event.name,))


def fail(connection: Any, run: Sequence[Recorded]) -> None:
    """Storages that refuse objects."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, StorageFailed)
        what = {"name": event.name, "trouble": event.trouble}
        connection.execute(_TOLD, {"failed": True, "reason": event.reason, **what})


def recover(connection: Any, run: Sequence[Recorded]) -> None:
    """Storages that take objects again."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, StorageRecovered)
        what = {"name": event.name, "trouble": event.trouble}
        connection.execute(_TOLD, {"failed": False, "reason": "", **what})


def scrub(connection: Any, run: Sequence[Recorded]) -> None:
    """How far the files of storages were read again; the counts are those of the running scrub, or of the last."""
    for recorded in run:
        event = recorded.event
        assert isinstance(event, StorageScrubbed)
        counts = {"instances": event.instances, "unreadable": event.unreadable}
        ended = None if event.after else recorded.envelope.at
        connection.execute(_SCRUB, {"name": event.name, "after": event.after, "ended": ended, **counts})


STORAGES = Projection(
    "storages",
    6,
    TABLES,
    {
        StorageAdded: add,
        StorageChanged: change,
        StorageRemoved: remove,
        StorageWithdrawn: withdraw,
        StorageFailed: fail,
        StorageRecovered: recover,
        StorageScrubbed: scrub,
    },
)


def everyone(connection: Any) -> list[tuple[Storage, dict[str, str]]]:
    """All storages in the order of writing, the removed ones too, each with its troubles and their reasons."""
    return [
        (Storage(name, storage_id, path, enabled, removed, frozenset(troubles), *rest), troubles)
        for name, storage_id, path, enabled, removed, troubles, *rest in connection.execute(_ALL).fetchall()
    ]


@dataclass(frozen=True, slots=True)
class ScrubState:
    """How far a storage's files were read again: the counts of the running scrub, or of the last whole one."""

    is_running: bool
    instances: int
    unreadable: int
    whole_ended: datetime | None


def scrubs(connection: Any) -> Mapping[str, ScrubState]:
    """The scrub of each storage, by name."""
    return {name: ScrubState(*state) for name, *state in connection.execute(_SCRUBS).fetchall()}
