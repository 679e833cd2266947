"""The stream of one SOP Instance: received, received again, replaced, found unreadable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar

from domain.event import Event

KIND = "instance"


class OnDuplicate(Enum):
    """What to do with a known SOP Instance UID that arrives with other content (NET-6, ``overwrite_image``)."""

    IGNORE = "ignore"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Content:
    """Where the bytes of an instance are.

    ``digest`` is the SHA-256 of the data set as received (without Part 10 header), ``size`` its length in bytes,
    ``header_size`` the length of the Part 10 header before it, ``path`` relative to the storage's root.
    """

    digest: str
    size: int
    header_size: int
    transfer_syntax_uid: str
    storage: str
    path: str


@dataclass(frozen=True, slots=True)
class InstanceStored(Event):
    """An instance was received for the first time and is durable."""

    NAME: ClassVar[str] = "InstanceStored"
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    content: Content
    particulars: str
    particulars_digest: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstanceReplaced(InstanceStored):
    """A stored instance was received again with other content, and the new content took its place."""

    NAME: ClassVar[str] = "InstanceReplaced"


@dataclass(frozen=True, slots=True)
class DuplicateIgnored(Event):
    """A stored instance was received again with other content; the first content stays."""

    NAME: ClassVar[str] = "DuplicateIgnored"
    sop_instance_uid: str
    digest: str


@dataclass(frozen=True, slots=True)
class DuplicateRefused(Event):
    """A stored SOP Instance UID arrived in another series, study or patient, or as another class; nothing was kept."""

    NAME: ClassVar[str] = "DuplicateRefused"
    sop_instance_uid: str
    digest: str
    difference: str


@dataclass(frozen=True, slots=True)
class InstanceUnreadable(Event):
    """The stored bytes of an instance could not be read when they were wanted."""

    NAME: ClassVar[str] = "InstanceUnreadable"
    sop_instance_uid: str
    storage: str
    path: str
    fault: str


@dataclass(frozen=True, slots=True)
class InstanceMoved(Event):
    """Bytes of an instance, or of an earlier version of it, are at another place now, compared with the digest."""

    NAME: ClassVar[str] = "InstanceMoved"
    sop_instance_uid: str
    content: Content


FACTS = (InstanceStored, InstanceReplaced, DuplicateIgnored, DuplicateRefused, InstanceUnreadable, InstanceMoved)


@dataclass(frozen=True, slots=True)
class Instance:
    """The state of one stored instance; ``earlier`` are the contents that were replaced.

    The same bytes in two transfer syntaxes are two contents: they may mean different images, and each has its file.
    """

    stored: InstanceStored
    unreadable: bool = False
    ignored: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    earlier: tuple[Content, ...] = ()

    def place_of(self, digest: str, transfer_syntax_uid: str) -> Content | None:
        """Where the bytes of a digest are by history, in this transfer syntax or else in another."""
        alike = [one for one in (self.stored.content, *self.earlier) if one.digest == digest]
        return next((one for one in alike if one.transfer_syntax_uid == transfer_syntax_uid), next(iter(alike), None))

    def is_made_of(self, storage: str, path: str) -> bool:
        """Whether a file is what the instance, or an earlier version of it, is made of."""
        return any((one.storage, one.path) == (storage, path) for one in (self.stored.content, *self.earlier))

    def needs(self, content: Content) -> bool:
        """Whether history needs this file: it is the instance's, an earlier version's, or an ignored duplicate's."""
        place = self.place_of(content.digest, content.transfer_syntax_uid)
        if place is None:
            return content.digest in self.ignored
        return (place.storage, place.path) == (content.storage, content.path)


def evolve(instance: Instance | None, event: Event) -> Instance | None:
    """The state after one more fact."""
    match event:
        case InstanceStored() if instance:
            earlier = _others((*instance.earlier, instance.stored.content), event.content)
            return replace(instance, stored=event, unreadable=False, earlier=earlier)
        case InstanceStored():
            return Instance(event)
        case DuplicateIgnored() if instance:
            return replace(instance, ignored=instance.ignored | {event.digest})
        case DuplicateRefused() if instance:
            return replace(instance, refused=instance.refused | {event.digest})
        case InstanceUnreadable() if instance:
            return replace(instance, unreadable=True)
        case InstanceMoved() if instance and _is_same(instance.stored.content, event.content):
            return replace(instance, stored=replace(instance.stored, content=event.content), unreadable=False)
        case InstanceMoved() if instance:
            return replace(instance, earlier=(*_others(instance.earlier, event.content), event.content))
    return instance


def _is_same(one: Content, other: Content) -> bool:
    """Whether two contents are the same, wherever they are."""
    return (one.digest, one.transfer_syntax_uid) == (other.digest, other.transfer_syntax_uid)


def _others(contents: Iterable[Content], content: Content) -> tuple[Content, ...]:
    return tuple(one for one in contents if not _is_same(one, content))


def fold(events: Iterable[Event]) -> Instance | None:
    """The state after all facts of the stream."""
    instance: Instance | None = None
    for event in events:
        instance = evolve(instance, event)
    return instance


def store(
    instance: Instance | None, stored: InstanceStored, on_duplicate: OnDuplicate, same_patient: bool = True
) -> list[Event]:
    """Receive an instance. Sent again unchanged, nothing happens; an unreadable one is healed by a new copy."""
    if instance is None:
        return [stored]
    known = instance.stored
    if known.content.digest == stored.content.digest:
        if instance.unreadable:
            return [_replacement(stored)]
        return []
    if difference := _difference(known, stored, same_patient):
        if stored.content.digest in instance.refused:
            return []
        return [DuplicateRefused(stored.sop_instance_uid, stored.content.digest, difference)]
    if on_duplicate is OnDuplicate.REPLACE:
        return [_replacement(stored)]
    if stored.content.digest in instance.ignored:
        return []
    return [DuplicateIgnored(stored.sop_instance_uid, stored.content.digest)]


def is_refused(instance: Instance | None, stored: InstanceStored, same_patient: bool = True) -> bool:
    """Whether this content contradicts what is stored under the same SOP Instance UID."""
    return (
        instance is not None
        and instance.stored.content.digest != stored.content.digest
        and bool(_difference(instance.stored, stored, same_patient))
    )


def find_unreadable(instance: Instance | None, fault: str, content: Content | None = None) -> list[Event]:
    """Note that the stored bytes could not be read; noted once until a new copy arrives.

    With ``content`` nothing is noted where the instance is at another place meanwhile.
    """
    if instance is None or instance.unreadable or content not in (None, instance.stored.content):
        return []
    stored = instance.stored
    return [InstanceUnreadable(stored.sop_instance_uid, stored.content.storage, stored.content.path, fault)]


def move(instance: Instance | None, content: Content, away_from: Content | None = None) -> list[Event]:
    """Note where the same bytes are now, also those of an earlier version; nothing where history knows none such.

    With ``away_from`` nothing is noted where they are at another place than that meanwhile.
    """
    known = instance.place_of(content.digest, content.transfer_syntax_uid) if instance else None
    if instance is None or known is None or not _is_same(known, content):
        return []
    if known == content or away_from not in (None, known):
        return []
    return [InstanceMoved(instance.stored.sop_instance_uid, content)]


def _difference(known: InstanceStored, stored: InstanceStored, same_patient: bool) -> str:
    if known.study_instance_uid != stored.study_instance_uid:
        return "Study Instance UID"
    if known.series_instance_uid != stored.series_instance_uid:
        return "Series Instance UID"
    if known.sop_class_uid != stored.sop_class_uid:
        return "SOP Class UID"
    return "" if same_patient else "Patient ID"


def _replacement(stored: InstanceStored) -> InstanceReplaced:
    return InstanceReplaced(
        stored.sop_instance_uid,
        stored.sop_class_uid,
        stored.series_instance_uid,
        stored.study_instance_uid,
        stored.content,
        stored.particulars,
        stored.particulars_digest,
        stored.attributes,
        stored.warnings,
    )
