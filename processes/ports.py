"""What the processes need from the machines, as protocols that adapters fill."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from domain.event import Actor, Event, Particulars, Recorded
from domain.instance import Content
from domain.quarantine import InstanceQuarantined


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

    def stream(self, kind: str, key: str, after: int = 0) -> Sequence[Recorded]:
        """The facts of one stream after a version (all of them), oldest first, joined with their particulars."""
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
    ``pixel_fault`` is the one of the warnings that says that the pixel data is not as it is described (B08).
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    particulars: Mapping[str, Mapping[str, Any]]
    attributes: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    pixel_fault: str = ""


@dataclass(frozen=True, slots=True)
class FileBeginning:
    """What the beginning of a Part 10 file tells: ``offset`` is where its data set begins, the identity is its own.

    Of the file meta information only the Transfer Syntax UID is believed: many writers forget to renew the rest.
    ``warnings`` tell what was wrong with what is not kept of the file.
    """

    offset: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    warnings: tuple[str, ...] = ()


class FileBeginnings(Protocol):
    """Reads the beginnings of Part 10 files."""

    def __call__(self, beginning: bytes, *, is_all: bool) -> FileBeginning | None:
        """None where more bytes are needed; ``is_all`` where no more will come. Raises Refused (C000)."""
        ...


@dataclass(frozen=True, slots=True)
class ComposedObject:
    """An object made of metadata and bulk data: ``data_set`` gives its bytes once, and may raise Refused."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: Iterable[bytes]


class Composition(Protocol):
    """The bulk data of one request, kept aside until it is closed, and the objects that are made with it."""

    def begin_bulk(self, location: str, media_type: str, transfer_syntax_uid: str) -> None:
        """A bulk data item begins. Raises Refused (C000)."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """The next bytes of the item. Raises Refused (A700)."""
        ...

    def end_bulk(self) -> None:
        """The item is whole; before, no object can name it."""
        ...

    def compose(self, attributes: Mapping[str, Any]) -> ComposedObject:
        """An object of these attributes, in the DICOM JSON Model. Raises Refused (C000, C122)."""
        ...

    def unused(self) -> int:
        """How many items no object has named."""
        ...

    def close(self) -> None:
        """Throw the bulk data away; may be called twice."""
        ...


class Incoming(Protocol):
    """One object on its way in: a temp file in the storage that will keep it."""

    quarantined: InstanceQuarantined | None
    """Where the bytes are after :meth:`header` refused them, if they were kept aside."""

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the data set, hashed on the way."""
        ...

    def header(self) -> Header:
        """Check the whole data set and read its header. Raises :class:`domain.errors.Refused`."""
        ...

    def keep(self) -> Content:
        """fsync, rename to the digest's name, fsync the directory. After this the bytes survive power loss."""
        ...

    def take_back(self, is_needed: Callable[[], bool]) -> bool:
        """Remove what ``keep`` has kept, unless others use it since or it is needed; whether it is gone.

        ``is_needed`` is asked when nobody can find it any more. Raises Refused and OSError.
        """
        ...

    def discard(self) -> None:
        """Remove the temp file; safe to call at any time, also after ``keep``."""
        ...


class Files(Protocol):
    """The storages. Raises :class:`domain.errors.Refused` (A700) where nothing can be kept."""

    def check_space(self, size: int = 0, *, is_one: bool = True) -> None:
        """Raise A700 before any data is read when no storage can take an object, of a size if it is known (NET-8).

        ``size`` may also be that of several objects together: not ``is_one``.
        """
        ...

    def receive(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str
    ) -> Incoming:
        """Open a temp file with a fresh Part 10 header (PS3.10 7.1)."""
        ...

    def open(self, content: Content) -> int:
        """A descriptor at the first byte of the data set, its length checked. Raises Refused or OSError."""
        ...

    def fault_of(self, content: Content) -> str:
        """What is wrong with the bytes of an object on the disk, or nothing. Raises Refused while they are away."""
        ...

    def are_there(self, contents: Iterable[Content]) -> Iterator[bool]:
        """Of each whether :meth:`open` would succeed, as far as can be told without opening."""
        ...

    def file_header(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
        """A Part 10 header for a data set that comes without its own (PS3.10 7.1)."""
        ...


class BulkValue(Protocol):
    """One element's value: little endian, text in UTF-8 (PS3.18 8.7.3, F.2.2 note 4)."""

    @property
    def length(self) -> int | None:
        """In bytes; None for encapsulated pixel data, which is no single value."""
        ...

    def pieces(self, start: int, length: int) -> Iterator[bytes]:
        """A range of it, some at a time. Raises OSError, Refused (C000)."""
        ...


class DataSetModel(Protocol):
    """Stored data sets in the DICOM JSON Model (PS3.18 Annex F)."""

    def bulk_value(self, read: Callable[[int, int], bytes], content: Content, path: Sequence[str]) -> BulkValue | None:
        """What a BulkDataURI of :meth:`json` leads to: tags as eight hex digits, item numbers from 1 between them.

        None where there is no such value. Raises Refused (C000) where the data set is damaged.
        """
        ...

    def json(self, read: Callable[[int, int], bytes], content: Content, location: str) -> bytes:
        """One data set without its bulk data, which is named by URIs below ``location``; one line of UTF-8.

        ``read(offset, length)`` gives bytes of the data set. Raises Refused (C000) where it is damaged.
        """
        ...


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An object file as it lies there, by its own header; ``modified`` is in seconds since 1970.

    Without ``content`` it is no Part 10 file that can be read.
    """

    path: str
    sop_instance_uid: str
    modified: float
    content: Content | None


class Upkeep(Protocol):
    """The files of one storage, for work beside its daily use. Raises Refused (A700) while it is not there."""

    name: str

    def found(self) -> Iterator[FoundFile]:
        """Every object file that is there."""
        ...

    def open(self, content: Content) -> int:
        """A descriptor at the first byte of the data set. Raises OSError where the file cannot be read."""
        ...

    def fault_of(self, content: Content, read: Callable[[int], None] = ...) -> str:
        """What is wrong with an object's file, read from the disk to its end; nothing where it is whole.

        ``read`` is told of the bytes as they are read.
        """
        ...

    def copy_in(self, source: int, content: Content) -> Content:
        """Keep a copy of an opened object, durable, compared with its digest and read back. Raises OSError."""
        ...

    def remove(self, path: str, older_than: float, is_needed: Callable[[], bool] = ...) -> bool:
        """Remove an object file, unless it was taken into use after ``older_than`` or is needed; whether it is gone."""
        ...

    def set_aside(self, path: str, older_than: float) -> str:
        """Move an object file to the orphans, durable; its new path, or nothing where it was taken into use."""
        ...

    def bring_back(self, content: Content) -> bool:
        """Give a missing object its file again, if it lies whole among the orphans; whether it has it now."""
        ...


class Failpoints(Protocol):
    """Named places where a test may stop, fail or kill the process; they cost nothing when off."""

    def __call__(self, name: str) -> None:
        """Pass the place called ``name``."""
        ...


class PrivateKeys(Protocol):
    """The private keys of this server's own certificates, by the digest of their public half. Never in the log."""

    def keep(self, public_key: str, pem: str) -> None:
        """Keep a key; durable on return."""
        ...

    def forget(self, public_keys: Collection[str]) -> None:
        """Forget keys."""
        ...
