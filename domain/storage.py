"""The stream of one storage: a folder that keeps objects (STO-1 to STO-5).

A storage is named once for ever, since facts say by its name where an object is; its folder may move. Which storage a
folder is says its marker file, which holds the ``storage_id``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import ClassVar

from domain.errors import InvalidInput
from domain.event import Event

KIND = "storage"
FOLDER = "folder"
"""The trouble of a storage that is not there: the only one that a disabled one can have."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_PATH_MAX = 4_000
_SYSTEM = frozenset(("/", "/dev", "/home", "/root", "/run", "/tmp", "/var"))  # noqa: S108 - refused, not used
_SYSTEM_BELOW = frozenset(
    ("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr")
)


@dataclass(frozen=True, slots=True)
class StorageAdded(Event):
    """A folder became a storage, or a removed storage came back."""

    NAME: ClassVar[str] = "StorageAdded"
    name: str
    storage_id: str
    path: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class StorageChanged(Event):
    """A storage has another folder, or was enabled or disabled. A disabled one is read and never written (STO-1)."""

    NAME: ClassVar[str] = "StorageChanged"
    name: str
    path: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class StorageRemoved(Event):
    """A storage is no longer used; what it holds is neither found nor read until it is added again.

    With ``files`` all its files are removed too, and it is never added again (STO-2).
    """

    NAME: ClassVar[str] = "StorageRemoved"
    name: str
    files: bool = False


@dataclass(frozen=True, slots=True)
class StorageWithdrawn(Event):
    """A step of a removal: what a storage holds of the studies after ``after`` up to ``until`` is not found any more.

    Without ``until`` to the last study. The studies are in the order of the code points of their UIDs.
    """

    NAME: ClassVar[str] = "StorageWithdrawn"
    name: str
    after: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class StorageFailed(Event):
    """A storage began to fail; ``trouble`` names what does: its folder, space, temp file, write, or quarantine."""

    NAME: ClassVar[str] = "StorageFailed"
    name: str
    trouble: str
    reason: str


@dataclass(frozen=True, slots=True)
class StorageRecovered(Event):
    """A storage no longer fails in this way."""

    NAME: ClassVar[str] = "StorageRecovered"
    name: str
    trouble: str


@dataclass(frozen=True, slots=True)
class StorageScrubbed(Event):
    """Files of a storage were read again, up to the instance ``after``; to the end of all of them without one.

    The counts are those since the last such fact; ``unreadable`` of them are not whole.
    """

    NAME: ClassVar[str] = "StorageScrubbed"
    name: str
    after: str
    instances: int
    unreadable: int
    size: int


FACTS = (
    StorageAdded,
    StorageChanged,
    StorageRemoved,
    StorageWithdrawn,
    StorageFailed,
    StorageRecovered,
    StorageScrubbed,
)


@dataclass(frozen=True, slots=True)
class Storage:
    """The state of one storage; ``scrubbed`` is the instance up to which the running scrub has read.

    One that is ``leaving`` is being removed: it is still used, and not all that it holds is found. One that is
    ``emptied`` was removed with all its files, whether they are all gone by now or not.
    ``trouble_versions`` is how many facts have told of each trouble, that it began or was over.
    """

    name: str
    storage_id: str
    path: str
    enabled: bool
    removed: bool = False
    troubles: frozenset[str] = frozenset()
    scrubbed: str = ""
    trouble_versions: Mapping[str, int] = field(default_factory=dict)
    emptied: bool = False
    leaving: bool = False

    @property
    def is_going(self) -> bool:
        """Whether nothing that it holds can be counted on any more, and what comes again is to be kept anew."""
        return self.removed or self.leaving


def evolve(storage: Storage | None, event: Event) -> Storage | None:
    """The state after one more fact."""
    match event:
        case StorageAdded():
            versions = storage.trouble_versions if storage else {}
            return Storage(event.name, event.storage_id, event.path, event.enabled, trouble_versions=versions)
        case StorageChanged() if storage:
            troubles = storage.troubles if event.enabled else storage.troubles & {FOLDER}
            return replace(storage, path=event.path, enabled=event.enabled, troubles=troubles)
        case StorageRemoved() if storage:
            emptied = storage.emptied or event.files
            return replace(storage, removed=True, leaving=False, emptied=emptied, troubles=frozenset())
        case StorageWithdrawn() if storage:
            return replace(storage, leaving=not storage.removed)
        case StorageFailed() if storage:
            return _told(storage, event.trouble, storage.troubles | {event.trouble})
        case StorageRecovered() if storage:
            return _told(storage, event.trouble, storage.troubles - {event.trouble})
        case StorageScrubbed() if storage:
            return replace(storage, scrubbed=event.after)
    return storage


def fold(events: Iterable[Event]) -> Storage | None:
    """The state after all facts of the stream."""
    storage: Storage | None = None
    for event in events:
        storage = evolve(storage, event)
    return storage


def add(storage: Storage | None, wanted: StorageAdded) -> list[Event]:
    """Use a folder as a storage. Raises InvalidInput where the name belongs to another one."""
    if faults := [fault for fault in (name_fault(wanted.name), path_fault(wanted.path)) if fault]:
        raise InvalidInput(faults)
    if storage is None:
        return [wanted]
    if storage.storage_id != wanted.storage_id:
        raise InvalidInput([f"name: {wanted.name} is or was another storage ({storage.storage_id}): choose another"])
    if not storage.is_going:
        raise InvalidInput([f"name: {wanted.name} is a storage already, in {storage.path}"])
    if storage.emptied:
        fault = f"name: {wanted.name} was removed with its files: 'annals import' takes the objects of a copy"
        raise InvalidInput([fault])
    return [wanted]


def change(storage: Storage | None, name: str, path: str, enabled: bool | None) -> list[Event]:
    """Give a storage another folder (nothing: the same), enable or disable it."""
    known = _living(storage, name)
    changed = StorageChanged(name, path or known.path, known.enabled if enabled is None else enabled)
    if fault := path_fault(changed.path):
        raise InvalidInput([fault])
    if known.leaving and changed.enabled:
        raise InvalidInput([f"{name} is being removed: 'annals storage adopt {known.path}' takes it back"])
    return [] if (changed.path, changed.enabled) == (known.path, known.enabled) else [changed]


def remove(storage: Storage | None, name: str, files: bool = False) -> list[Event]:
    """Use a storage no more; its files stay, or are all to be removed, also those of one that is not used any more."""
    if storage and storage.removed and files:
        return [StorageRemoved(name, files)]
    return [StorageRemoved(_living(storage, name).name, files)]


def withdraw(storage: Storage | None, name: str, after: str, until: str) -> list[Event]:
    """A step of a storage's removal, or of that of what came into it meanwhile. Raises InvalidInput while enabled."""
    known = storage if storage and storage.removed else _living(storage, name)
    if known.enabled and not known.removed:
        raise InvalidInput([f"{name} is enabled: disable it first"])
    return [StorageWithdrawn(name, after, until)]


def fail(storage: Storage | None, trouble: str, reason: str, version: int) -> list[Event]:
    """Note that a storage refuses objects; noted once while it lasts, whichever process saw it first (STO-4).

    ``version`` is how many facts told of the trouble before it was seen. Where more do now, what was seen may be the
    trouble that is over since: it is not noted again, and whoever still sees it knows more by then.
    """
    if storage is None or storage.removed or trouble in storage.troubles:
        return []
    if storage.trouble_versions.get(trouble, 0) != version or not (storage.enabled or trouble == FOLDER):
        return []
    return [StorageFailed(storage.name, trouble, reason)]


def recover(storage: Storage | None, trouble: str, version: int) -> list[Event]:
    """Note that a trouble is over; not by what was seen before the trouble was told (``version`` as for a failure)."""
    if storage is None or trouble not in storage.troubles or storage.trouble_versions.get(trouble, 0) != version:
        return []
    return [StorageRecovered(storage.name, trouble)]


def scrub(storage: Storage | None, begun_after: str, done: StorageScrubbed) -> list[Event]:
    """Note how far a scrub has come; nothing where another one has gone on from the same place meanwhile."""
    if storage is None or storage.removed or storage.scrubbed != begun_after:
        return []
    return [done]


def name_fault(name: str) -> str:
    """What is wrong with a storage's name, or nothing."""
    return "" if _NAME.match(name) else "name: not 1 to 64 letters, digits, dots, hyphens and underscores"


def path_fault(path: str) -> str:
    """What is wrong with a storage's path, or nothing (B54)."""
    if not path.startswith("/"):
        return "path: is not absolute"
    if len(path) > _PATH_MAX or "\0" in path:
        return "path: is too long or has a NUL"
    place = PurePosixPath("/" + path.lstrip("/"))
    if str(place) in _SYSTEM or _SYSTEM_BELOW & {str(place), *map(str, place.parents)} or str(place.parent) == "/home":
        return f"path: {path} is a folder of the system or somebody's home"
    return ""


def nesting_fault(path: str, others: Iterable[str]) -> str:
    """What is wrong with a path beside the other storages' paths, or nothing: one never lies in another (B54)."""
    place = PurePosixPath(path)
    for other in map(PurePosixPath, others):
        if place == other or place in other.parents or other in place.parents:
            return f"path: {path} lies in or around {other}, which is another storage"
    return ""


def _told(storage: Storage, trouble: str, troubles: frozenset[str]) -> Storage:
    versions = storage.trouble_versions
    return replace(storage, troubles=troubles, trouble_versions={**versions, trouble: versions.get(trouble, 0) + 1})


def _living(storage: Storage | None, name: str) -> Storage:
    if storage is None or storage.removed:
        raise InvalidInput([f"{name!a} is not a storage: see 'annals storage list'"])
    return storage
