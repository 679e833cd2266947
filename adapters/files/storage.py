"""One storage: a folder of write-once files named by the digest of their data set (design section 7, "Files")."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from adapters.dicom.part10 import HEADER_MAX, read_file_header
from adapters.files import disk
from adapters.files.attachment import Attachment, ForeignFolder, make_storage
from adapters.files.failpoints import off
from domain.errors import Because, InvalidInput, Refused
from domain.instance import Content
from domain.limits import Limits
from processes.ports import Failpoints

_LOG = logging.getLogger("annals.files")
_PATH = re.compile(r"([0-9a-f]{2})/([0-9a-f])/\1\2[0-9a-f]{61}(-[0-9a-f]{8})?\.dcm\Z")
_SUSPICIOUS = frozenset((errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EUCLEAN))
_READ_AT_ONCE = 1024 * 1024


@dataclass(slots=True)
class Temp:
    """A temp file of this process: its descriptor, its name, and the opened storage that it is in."""

    attachment: Attachment
    name: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class _Existing:
    header_size: int
    transfer_syntax_uid: str
    whole: bool


class Storage:
    """A named folder that keeps objects. Every refusal is A700; its reason is logged once while it lasts."""

    def __init__(
        self, root: Path, name: str, limits: Limits, failpoint: Failpoints, storage_id: UUID | None = None
    ) -> None:
        self.root = root.absolute()
        self.name = name
        self.storage_id = storage_id
        self._limits = limits
        self._failpoint = failpoint
        self._attachment: Attachment | None = None
        self._lock = threading.Lock()
        self._rename = disk.Renamer()
        self._suspect_until = 0.0
        self._space_checked = -1e9
        self._space_trouble = ""
        self._troubles: set[str] = set()

    @classmethod
    def open(
        cls,
        root: Path,
        name: str,
        limits: Limits | None = None,
        failpoint: Failpoints = off,
        storage_id: UUID | None = None,
    ) -> Storage:
        """Open a storage.

        With ``storage_id`` it must be that one; while it is not there (not mounted, another disk in its place) it
        refuses, and comes back by itself. Without, a missing or empty folder becomes a new storage. Raises
        :class:`InvalidInput` where the folder cannot be one.
        """
        storage = cls(root, name, limits or Limits(), failpoint, storage_id)
        try:
            if storage_id is None:
                make_storage(storage.root)
            attachment = storage._attach()
        except OSError as error:
            if storage_id is None:
                raise InvalidInput([f"storage {name!a}: {error}"]) from error
            storage._trouble("folder", str(error))
            return storage
        try:
            attachment.temp_folder()
        except OSError as error:
            storage._trouble("temp file", str(error))
        return storage

    def check(self) -> Attachment:
        """The opened storage, when it can take an object. Raises A700 before any byte is written (NET-8, D5)."""
        now = time.monotonic()
        if now < self._suspect_until:
            raise self._refusal("failed a moment ago")
        try:
            attachment = self._attach()
            if now - self._space_checked >= self._limits.storage_check_seconds:
                self._check_space(attachment)
                self._space_checked = now
        except OSError as error:
            raise self.failed(error, "folder") from error
        if self._space_trouble:
            raise self._refusal(self._space_trouble)
        return attachment

    def create_temp(self) -> Temp:
        """A new temp file. Raises A700."""
        attachment = self.check()
        name = str(uuid4())
        try:
            self._failpoint("store.before_create")
            return Temp(attachment, name, disk.create_file(attachment.temp_folder(), name))
        except OSError as error:
            raise self.failed(error, "temp file") from error

    def keep(self, temp: Temp, digest: str, size: int, header_size: int, transfer_syntax_uid: str) -> Content:
        """Give a temp file, whose bytes are durable already, its final name and make the name durable (D1).

        A whole file of the same content and syntax is used instead; the temp file then is removed. Raises OSError.
        """
        if self._attachment is not temp.attachment or not temp.attachment.is_current():
            raise ForeignFolder("the storage was taken away while the object was received")
        folder = temp.attachment.object_folder(digest)
        try:
            self._failpoint("store.after_folder")
            name, header_size = self._publish(temp, folder, digest, size, header_size, transfer_syntax_uid)
            self._failpoint("store.after_rename")
            disk.sync(folder)
            self._failpoint("store.after_folder_sync")
        finally:
            os.close(folder)
        if self._troubles:
            self._recovered("write", "temp file")
        return Content(digest, size, header_size, transfer_syntax_uid, self.name, f"{digest[:2]}/{digest[2]}/{name}")

    def open_content(self, content: Content) -> int:
        """A descriptor at the first byte of the data set; the file's length is checked (D7).

        Raises A700 while the storage is not there, and OSError where this file cannot be read: missing
        (FileNotFoundError), of another length, or failing.
        """
        if not _PATH.match(content.path):
            raise OSError(errno.EINVAL, "not a path of a stored object", content.path)
        try:
            attachment = self._attach()
        except OSError as error:
            raise self.failed(error, "folder") from error
        self._failpoint("read.before_open")
        descriptor = disk.open_file(attachment.root, content.path)
        try:
            length, wanted = os.fstat(descriptor).st_size, content.header_size + content.size
            if length != wanted:
                raise OSError(errno.EIO, f"the file has {length} bytes instead of {wanted}", content.path)
            os.lseek(descriptor, content.header_size, os.SEEK_SET)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

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
            self._trouble("temp file", f"a temp file stays for the sweep: {error}")

    def sweep(self) -> int:
        """Remove the temp files of dead processes; returns how many went. Raises A700 while it is not there."""
        try:
            removed = self._attach().sweep()
        except OSError as error:
            raise self.failed(error, "folder") from error
        if removed:
            _LOG.info("storage %s: removed %d half-received objects of ended processes", self.name, removed)
        return removed

    def failed(self, error: OSError, what: str) -> Refused:
        """The refusal for a failed system call; an input/output error makes the storage suspect for a while (F13)."""
        if error.errno in _SUSPICIOUS:
            self._suspect_until = time.monotonic() + self._limits.storage_suspect_seconds
        self._trouble("folder" if isinstance(error, ForeignFolder) else what, error.strerror or str(error))
        return self._refusal(error.strerror or str(error))

    def close(self) -> None:
        """Give the temp folder up; the storage may be used again."""
        self._attachment = None

    def _attach(self) -> Attachment:
        attachment = self._attachment
        if attachment is not None and attachment.is_current():
            return attachment
        with self._lock:
            attachment = self._attachment
            if attachment is None or not attachment.is_current():
                self._attachment = None
                attachment = Attachment(self.root, self.storage_id)
                self.storage_id = attachment.storage_id
                self._attachment = attachment
                self._recovered("folder")
        return attachment

    def _check_space(self, attachment: Attachment) -> None:
        figures = os.fstatvfs(attachment.root)
        free = figures.f_bavail * figures.f_frsize
        trouble = ""
        if figures.f_flag & os.ST_RDONLY:
            trouble = "is read-only"
        elif free < self._limits.storage_free_min:
            trouble = "has less free space than storage_free_min"
        elif figures.f_files and not figures.f_favail:
            trouble = "has no free inodes"
        self._space_trouble = trouble
        if trouble:
            self._trouble("space", trouble)
        elif self._troubles:
            self._recovered("space")

    def _publish(
        self, temp: Temp, folder: int, digest: str, size: int, header_size: int, transfer_syntax_uid: str
    ) -> tuple[str, int]:
        """Rename the temp file into its folder; the final name, and the header's size of the file that has it."""
        from_folder = temp.attachment.temp_folder()
        other = hashlib.sha256(transfer_syntax_uid.encode()).hexdigest()[:8]
        for name in (f"{digest}.dcm", f"{digest}-{other}.dcm"):
            if self._rename(from_folder, temp.name, folder, name):
                temp.name = ""
                return name, header_size
            existing = _inspect(folder, name, digest, size)
            if existing and existing.transfer_syntax_uid != transfer_syntax_uid:
                continue
            if existing and existing.whole:
                self.remove_temp(temp)
                return name, existing.header_size
            _LOG.warning("storage %s: replaced a damaged file of the digest %s", self.name, digest)
            disk.replace(from_folder, temp.name, folder, name)
            temp.name = ""
            return name, header_size
        raise OSError(errno.EEXIST, "the object's names are taken by files of other transfer syntaxes")

    def _refusal(self, reason: str) -> Refused:
        return Refused(Because.OUT_OF_RESOURCES, f"storage {self.name}: {reason}")

    def _trouble(self, what: str, reason: str) -> None:
        if what not in self._troubles:
            self._troubles.add(what)
            _LOG.error("storage %s refuses objects (%s): %s", self.name, what, reason)

    def _recovered(self, *what: str) -> None:
        if gone := self._troubles.intersection(what):
            self._troubles -= gone
            _LOG.warning("storage %s takes objects again (%s)", self.name, ", ".join(sorted(gone)))


def _inspect(folder: int, name: str, digest: str, size: int) -> _Existing | None:
    """What is under a name: None where its header cannot be read, ``whole`` where its bytes have the digest."""
    try:
        descriptor = disk.open_file(folder, name)
    except FileNotFoundError:
        return None
    try:
        meta = read_file_header(os.pread(descriptor, HEADER_MAX, 0))
        whole = os.fstat(descriptor).st_size == meta.size + size and _digest(descriptor, meta.size) == digest
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    return _Existing(meta.size, meta.transfer_syntax_uid, whole)


def _digest(descriptor: int, offset: int) -> str:
    hashed = hashlib.sha256()
    while piece := os.pread(descriptor, _READ_AT_ONCE, offset):
        hashed.update(piece)
        offset += len(piece)
    return hashed.hexdigest()
