"""What the processes need from the machines, as protocols that adapters fill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from domain.event import Actor, Event, Particulars, Recorded
from domain.instance import Content


class Log(Protocol):
    """The append-only log. Raises :class:`domain.errors.Unavailable` when the database does not answer in time."""

    def change(
        self,
        kind: str,
        key: str,
        verb: Callable[..., list[Event]],
        *args: Any,
        fold: Callable[[Iterable[Event]], Any] | None = None,
        by: Actor,
        cause: str = "",
        reason: str = "",
        new: bool = False,
        particulars: Sequence[Particulars] = (),
    ) -> list[Event]:
        """Load the stream, fold it, ask ``verb(state, *args)`` and append; on a conflict load and ask again.

        ``new`` skips the first load: the primary key then is the duplicate check. ``particulars`` not yet known to be
        in the database are written in the same transaction. Returns the appended facts, durable; ``[]`` is nothing.
        """
        ...

    def head(self) -> int:
        """The position of the newest fact, 0 for an empty log."""
        ...

    def read(self, after: int, limit: int) -> Sequence[Recorded]:
        """Facts after a position, oldest first, joined with their particulars."""
        ...

    def stream(self, kind: str, key: str) -> Sequence[Recorded]:
        """All facts of one stream, oldest first, joined with their particulars."""
        ...

    def particulars_for(self, content: Mapping[str, Mapping[str, Any]]) -> Particulars:
        """The row for this content: the same content from this writer gets the same id again while remembered."""
        ...

    def particulars(self, ids: Sequence[UUID]) -> Mapping[UUID, Particulars]:
        """Rows that still exist, by id."""
        ...


@dataclass(frozen=True, slots=True)
class Header:
    """What was read from a data set on the way in: identity, index values, warnings.

    ``particulars`` and ``attributes`` are in the DICOM JSON Model, cleaned so that PostgreSQL and JSON take them.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    particulars: Mapping[str, Mapping[str, Any]]
    attributes: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


class Incoming(Protocol):
    """One object on its way in: a temp file in the storage that will keep it."""

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the data set, hashed on the way."""
        ...

    def header(self) -> Header:
        """Check the whole data set and read its header. Raises :class:`domain.errors.Refused`."""
        ...

    def keep(self) -> Content:
        """fsync, rename to the digest's name, fsync the directory. After this the bytes survive power loss."""
        ...

    def discard(self) -> None:
        """Remove the temp file; safe to call at any time, also after ``keep``."""
        ...


class Files(Protocol):
    """The storages. Raises :class:`domain.errors.Refused` (A700) where nothing can be kept."""

    def check_space(self) -> None:
        """Raise A700 before any data is read when no storage can take an object (NET-8)."""
        ...

    def receive(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str
    ) -> Incoming:
        """Open a temp file with a fresh Part 10 header (PS3.10 7.1)."""
        ...

    def open(self, content: Content) -> int:
        """A descriptor at the first byte of the data set, its length checked. Raises Refused or OSError."""
        ...


class Failpoints(Protocol):
    """Named places where a test may stop, fail or kill the process; they cost nothing when off."""

    def __call__(self, name: str) -> None:
        """Pass the place called ``name``."""
        ...
