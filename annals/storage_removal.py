"""Removing the files of a storage that is no longer used: only what history knows, and its marker last (F40)."""

from __future__ import annotations

import time
from collections import Counter

from annals.compose import Archive
from annals.storage_commands import upkeep_of
from domain import instance, storage
from processes.ports import FoundFile


def remove_files(archive: Archive, known: storage.Storage) -> str:
    """Remove what no instance needs and history knows; what was done, in words.

    What is younger than the grace may be on its way into the log, and what no fact knows may be wanted: both stay, and
    with them the folder.
    """
    upkeep = upkeep_of(archive, known)
    older_than = time.time() - archive.limits.orphan_grace_seconds  # noqa: TID251
    outcome: Counter[bool] = Counter()
    for file in upkeep.found():
        is_gone = _is_spare(archive, file) and upkeep.remove(
            file.path,
            older_than,
            lambda file=file: not _is_spare(archive, file),  # type: ignore[misc]
        )
        outcome[is_gone] += 1
    if not outcome[False] and upkeep.dismantle():
        return f"{outcome[True]} files, and its folder is empty"
    return f"{outcome[True]} files; {outcome[False]} stay, unknown to the log or in use"


def _is_spare(archive: Archive, file: FoundFile) -> bool:
    """Whether history knows a file, and it is not what its instance is made of now."""
    if file.content is None:
        return False
    facts = archive.log.stream(instance.KIND, file.sop_instance_uid)
    known = instance.fold(recorded.event for recorded in facts)
    if known is None:
        return False
    current = known.stored.content
    digests = {current.digest, *known.earlier, *known.ignored, *known.refused}
    is_current = (current.storage, current.path) == (file.content.storage, file.path)
    return file.content.digest in digests and not is_current
