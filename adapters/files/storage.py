"""One storage: a folder of write-once files named by the digest of their data set (design section 7, "Files")."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from adapters.files import disk
from adapters.files.attachment import MARKER, QUARANTINE, Attachment, ForeignFolder, make_storage
from adapters.files.failpoints import off
from adapters.files.publishing import Finished, publish
from adapters.files.troubles import Known, Troubles
from domain.errors import Because, InvalidInput, Refused, ToldTogether
from domain.instance import Content
from domain.limits import Limits
from domain.storage import FOLDER
from domain.storage import Storage as StorageState
from processes.ports import Failpoints

_SUSPICIOUS = frozenset((errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EUCLEAN))


@dataclass(slots=True)
class Temp:
    """A temp file of this process: its descriptor, its name, and the opened storage that it is in.

    ``known`` is what was told of the storage's troubles before the file was made; ``modified``, in nanoseconds since
    1970, when this process wrote it last, or took the kept one that it became into use.
    """

    attachment: Attachment
    name: str
    descriptor: int
    known: Known
    modified: int = 0


class Storage:
    """A named folder that keeps objects. Every refusal is A700; its reason is logged once while it lasts."""

    def __init__(
        self,
        root: Path,
        name: str,
        limits: Limits,
        failpoint: Failpoints,
        storage_id: UUID | None = None,
        marker: str = MARKER,
    ) -> None:
        self.root = root.absolute()
        self.name = name
        self.storage_id = storage_id
        self._limits = limits
        self.failpoint = failpoint
        self._marker = marker
        self._attachment: Attachment | None = None
        self._lock = threading.Lock()
        self._rename = disk.Renamer()
        self.open_file = disk.Opener()
        self._suspect_until = 0.0
        self._space_checked = -1e9
        self._space_trouble = ""
        self._free = 0
        self._doubtful_until = 0.0
        self._is_retired = False
        self.is_leaving = False
        self.troubles = Troubles(name)

    @classmethod
    def open(
        cls,
        root: Path,
        name: str,
        limits: Limits | None = None,
        failpoint: Failpoints = off,
        storage_id: UUID | None = None,
        *,
        is_writable: bool = False,
    ) -> Storage:
        """Open a storage.

        With ``storage_id`` it must be that one; while it is not there (not mounted, another disk in its place) it
        refuses, and comes back by itself. Without, a missing or empty folder becomes a new storage. Raises
        :class:`InvalidInput` where the folder cannot be one; with ``is_writable`` also where it cannot be written.
        """
        storage = cls(root, name, limits or Limits(), failpoint, storage_id)
        try:
            if storage_id is None:
                make_storage(storage.root)
            attachment = storage.attach()
        except OSError as error:
            if storage_id is None:
                raise InvalidInput([f"storage {name!a}: {error}"]) from error
            storage.troubles.began(FOLDER, str(error), storage.troubles.known)
            return storage
        try:
            attachment.temp_folder()
        except OSError as error:
            if is_writable:
                raise InvalidInput([f"storage {name!a}: it cannot be written: {error}"]) from error
            storage.troubles.began("temp file", str(error), storage.troubles.known)
        return storage

    @classmethod
    def known(cls, state: StorageState, limits: Limits, failpoint: Failpoints = off, marker: str = MARKER) -> Storage:
        """A storage that the log knows, for work beside its daily use; opened when it is needed, by this marker."""
        return cls(Path(state.path), state.name, limits, failpoint, UUID(state.storage_id), marker)

    def check(self, size: int = 0) -> Attachment:
        """The opened storage, when it can take an object (of a size, where that is known).

        Raises A700 before any byte is written (NET-8, D5).
        """
        now, known = time.monotonic(), self.troubles.known
        if now < self._suspect_until:
            raise self.refusal("failed a moment ago")
        try:
            attachment = self.attach()
            self.troubles.ended(FOLDER, known=known)
            if now - self._space_checked >= self._limits.storage_check_seconds:
                self._check_space(attachment, known)
                self._space_checked = now
        except OSError as error:
            raise self.failed(error, FOLDER, known) from error
        if self._space_trouble:
            raise self.refusal(self._space_trouble)
        if self._free - size < self._limits.storage_free_min:
            said = f"storage {self.name}: has too little free space for an object of {size} bytes"
            raise Refused(Because.OUT_OF_RESOURCES, said)
        return attachment

    def space(self) -> tuple[int, int]:
        """Its partition, and the bytes that this takes before it is full. Raises A700 where it takes nothing."""
        partition = os.fstat(self.check().root).st_dev
        return partition, self._free - self._limits.storage_free_min

    def create_temp(self) -> Temp:
        """A new temp file. Raises A700."""
        known, attachment, name = self.troubles.known, self.check(), str(uuid4())
        try:
            self.failpoint("store.before_create")
            return Temp(attachment, name, disk.create_file(attachment.temp_folder(), name), known)
        except OSError as error:
            raise self.failed(error, "temp file", known) from error

    def keep(self, temp: Temp, finished: Finished) -> Content:
        """Give a temp file, whose bytes are durable already, its final name and make the name durable (D1).

        A whole file of the same content and syntax is used instead; the temp file then is removed. Raises OSError.
        """
        if self._is_retired or self._attachment is not temp.attachment or not temp.attachment.is_current():
            raise ForeignFolder("the storage was taken away while the object was received")
        digest, known = finished.digest, self.troubles.known
        folder = temp.attachment.object_folder(digest)
        try:
            self.failpoint("store.after_folder")
            published = publish(self._rename, temp.attachment.temp_folder(), temp.name, folder, finished)
            if published.touched:
                temp.modified = published.touched
                self.remove_temp(temp)
            else:
                temp.name = ""
            self.failpoint("store.after_rename")
            disk.sync(folder)
            self.failpoint("store.after_folder_sync")
        finally:
            os.close(folder)
        self._doubtful_until = 0.0
        self.troubles.ended("write", "temp file", known=known)
        path = f"{digest[:2]}/{digest[2]}/{published.name}"
        return Content(digest, finished.size, published.header_size, finished.transfer_syntax_uid, self.name, path)

    def attach(self) -> Attachment:
        """The opened storage, opened where that is needed. Raises OSError, and notes no trouble."""
        attachment = self._attachment
        if attachment is not None and attachment.is_current():
            return attachment
        with self._lock:
            attachment = self._attachment
            if attachment is None or not attachment.is_current():
                self._attachment = None
                attachment = Attachment(self.root, self.storage_id, self._marker)
                self.storage_id = attachment.storage_id
                self._attachment = attachment
        return attachment

    def opened(self) -> Attachment:
        """The opened storage, whether it takes objects or not. Raises A700 while it is not there."""
        known = self.troubles.known
        try:
            attachment = self.attach()
        except OSError as error:
            raise self.failed(error, FOLDER, known) from error
        self.troubles.ended(FOLDER, known=known)
        return attachment

    @property
    def is_doubtful(self) -> bool:
        """Whether writing failed a moment ago, though the storage seems to be well: others are to be tried first."""
        return time.monotonic() < self._doubtful_until

    def retire(self) -> None:
        """Use this folder no more: what is being received into it is refused, since no fact would lead to it."""
        self._is_retired = True

    def quarantine(self, temp: Temp, size: int) -> str:
        """Keep a refused temp file of this size aside, durable; its path, or nothing where the quarantine is full."""
        known = self.troubles.known
        try:
            folder = temp.attachment.quarantine_folder()
            try:
                kept = [disk.size_of(folder, name) for name in disk.names(folder)]
                is_full = len(kept) >= self._limits.quarantine_files_max
                if is_full or sum(kept) + size > self._limits.quarantine_size_max:
                    reason = "the quarantine is full, what is refused is not kept aside"
                    self.troubles.began("quarantine", reason, known)
                    return ""
                name = f"{temp.name}.dcm"
                disk.sync(temp.descriptor)
                disk.replace(temp.attachment.temp_folder(), temp.name, folder, name)
                temp.name = ""
                disk.sync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            self.failed(error, "quarantine", known)
            return ""
        self.troubles.ended("quarantine", known=known)
        return f"{QUARANTINE}/{name}"

    def remove_temp(self, temp: Temp) -> None:
        """Close and remove a temp file; never raises, may be called again."""
        try:
            if temp.descriptor >= 0:
                descriptor, temp.descriptor = temp.descriptor, -1
                os.close(descriptor)
            if temp.name:
                disk.remove_file(temp.attachment.temp_folder(), temp.name)
                temp.name = ""
        except OSError as error:
            self.troubles.began("temp file", f"a temp file stays for the sweep: {error}", temp.known)

    def sweep(self) -> int:
        """Remove the temp files of dead processes; returns how many went. Raises A700 while it cannot be written."""
        known, attachment = self.troubles.known, self.check()
        try:
            return attachment.sweep()
        except OSError as error:
            raise self.failed(error, "temp file", known) from error

    def failed(self, error: OSError, what: str, known: Known) -> Refused:
        """The refusal for a failed system call; an input/output error makes the storage suspect for a while (F13).

        ``known`` is what was told of its troubles before the call. That one is away that is being removed is none.
        """
        until = time.monotonic() + self._limits.storage_suspect_seconds
        trouble = FOLDER if isinstance(error, ForeignFolder) else what
        if trouble == FOLDER and self.is_leaving:
            return Refused(Because.OUT_OF_RESOURCES, f"storage {self.name}: is being removed")
        if error.errno in _SUSPICIOUS:
            self._suspect_until = until
        elif trouble != FOLDER:
            self._doubtful_until = until
        self.troubles.began(trouble, error.strerror or str(error), known)
        return self.refusal(error.strerror or str(error))

    def refusal(self, reason: str) -> ToldTogether:
        """The A700 that says why nothing is taken or given here."""
        return ToldTogether(f"storage {self.name}: {reason}")

    def close(self) -> None:
        """Give the temp folder up; the storage may be used again."""
        self._attachment = None

    def _check_space(self, attachment: Attachment, known: Known) -> None:
        figures = os.fstatvfs(attachment.root)
        free = figures.f_bavail * figures.f_frsize
        trouble = ""
        if figures.f_flag & os.ST_RDONLY:
            trouble = "is read-only"
        elif free < self._limits.storage_free_min:
            trouble = "has less free space than storage_free_min"
        elif figures.f_files and not figures.f_favail:
            trouble = "has no free inodes"
        self._space_trouble, self._free = trouble, free
        if trouble:
            self.troubles.began("space", trouble, known)
        else:
            self.troubles.ended("space", known=known)
