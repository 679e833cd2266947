"""Work on the files of one storage beside its daily use: listing, copying in, setting aside, removing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from uuid import uuid4

from adapters.dicom.part10 import HEADER_MAX, read_file_header
from adapters.files import disk
from adapters.files.publishing import Finished, digest_of
from adapters.files.reading import fault_of, open_content
from adapters.files.storage import Storage
from domain.identifiers import uid_fault
from domain.instance import Content
from processes.ports import FoundFile

ORPHANS = ".orphans"
BRANCH = re.compile(r"[0-9a-f]{2}\Z")
LEAF = re.compile(r"[0-9a-f]\Z")
FILE = re.compile(r"([0-9a-f]{64})(-[0-9a-f]{8})?\.dcm\Z")
GOING = "going-"
_GOES = re.compile(rf"{GOING}(?:.*-)?([0-9a-f]{{64}}(?:-[0-9a-f]{{8}})?\.dcm)\Z")
_DIGEST = slice(len("ab/c/"), len("ab/c/") + 64)
_AT_ONCE = 1024 * 1024
_MILLISECOND = 10**6


class Upkeep:
    """Fills :class:`processes.ports.Upkeep` for one storage. Raises Refused (A700) while it is not there."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._rename = disk.Renamer()
        self.name = storage.name

    def found(self) -> Iterator[FoundFile]:
        """Every object file that is there."""
        root = self._storage.opened().root
        self._undo_removals(root)
        for branch in sorted(name for name in disk.names(root) if BRANCH.match(name)):
            for leaf in sorted(_names(root, branch, LEAF)):
                for name in sorted(_names(root, f"{branch}/{leaf}", FILE)):
                    if file := _look(root, self.name, f"{branch}/{leaf}/{name}"):
                        yield file

    def open(self, content: Content) -> int:
        """A descriptor at the first byte of the data set. Raises OSError where the file cannot be read."""
        return open_content(self._storage, content)

    def fault_of(self, content: Content, read: Callable[[int], None] = lambda _: None) -> str:
        """What is wrong with an object's file, read from the disk to its end; nothing where it is whole."""
        return fault_of(self._storage, content, read)

    def copy_in(self, source: int, content: Content) -> Content:
        """Keep a copy of an opened object, durable and read back from the disk; its place here.

        Raises OSError where the bytes are not those of the digest, and A700 where they cannot be written; nothing
        stays then.
        """
        temp = self._storage.create_temp()
        try:
            hashed, offset = hashlib.sha256(), 0
            while piece := os.pread(source, _AT_ONCE, offset):
                with self._writing():
                    _write(temp.descriptor, piece)
                hashed.update(piece[max(0, content.header_size - offset) :])
                offset += len(piece)
            if hashed.hexdigest() != content.digest or offset != content.header_size + content.size:
                raise OSError(errno.EIO, "the bytes are not those that were received")
            finished = Finished(content.digest, content.size, content.header_size, content.transfer_syntax_uid)
            with self._writing():
                disk.sync(temp.descriptor)
                copy = self._storage.keep(temp, finished)
        finally:
            self._storage.remove_temp(temp)
        if fault := fault_of(self._storage, copy):
            raise OSError(errno.EIO, f"the copy in {self.name} cannot be read back: {fault}", copy.path)
        return copy

    def remove(self, path: str, older_than: float, is_needed: Callable[[], bool] = lambda: False) -> bool:
        """Remove an object file; whether it is gone.

        It stays where it was made or taken into use after ``older_than`` (seconds since 1970), or where ``is_needed``
        says so when nobody can find it any more.
        """
        return self._remove(path, lambda folder, aside: disk.modified(folder, aside) > older_than, is_needed)

    def remove_as_left(self, path: str, modified: int, is_needed: Callable[[], bool]) -> bool:
        """As :meth:`remove`, of a file that was made or taken into use at ``modified``, in nanoseconds since 1970.

        It stays where anybody has taken it into use since, by whatever clock.
        """
        # Where a file system keeps no finer times than this, two that come close are one.
        if not modified % _MILLISECOND:
            return False
        return self._remove(path, lambda folder, aside: disk.modified_ns(folder, aside) != modified, is_needed)

    def _remove(self, path: str, is_in_use: Callable[[int, str], bool], is_needed: Callable[[], bool]) -> bool:
        source, name = self._place(path)
        try:
            if not disk.exists(source, name):
                return True
            with self._orphans() as orphans:
                aside = self._aside(source, name, orphans, GOING)
                if is_in_use(orphans, aside) or is_needed():
                    self._back(orphans, aside, source, name)
                    return False
                disk.remove_file(orphans, aside)
        except FileNotFoundError:
            # Another one has removed it at the same time.
            return True
        finally:
            os.close(source)
        return True

    def set_aside(self, path: str, older_than: float) -> str:
        """Move an object file that no fact knows to the orphans, durable; its new path.

        Nothing where a resend has just taken the file into use: it stays, or goes back at once.
        """
        source, name = self._place(path)
        try:
            with self._orphans() as orphans:
                aside = self._aside(source, name, orphans)
                if disk.modified(orphans, aside) > older_than:
                    self._back(orphans, aside, source, name)
                    return ""
                for descriptor in (orphans, source):
                    disk.sync(descriptor)
        finally:
            os.close(source)
        return f"{ORPHANS}/{aside}"

    def bring_back(self, content: Content) -> bool:
        """Give a missing object its file again, if it lies whole among the orphans; whether it has it now."""
        folder, name = self._place(content.path)
        try:
            with self._orphans() as orphans:
                if not any(disk.exists(orphans, one) for one in (name, GOING + name)):
                    return False
                for aside in [one for one in disk.names(orphans) if one.endswith(name)]:
                    if self._has_bytes_of(orphans, aside, content):
                        self._back(orphans, aside, folder, name)
                        return True
        finally:
            os.close(folder)
        return False

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._storage.failed(error, "write", self._storage.troubles.known) from error

    def _place(self, path: str) -> tuple[int, str]:
        """An open folder, which the caller closes, and the name in it."""
        folder, _, name = path.rpartition("/")
        if not FILE.match(name):
            raise OSError(errno.EINVAL, "not a path of a stored object", path)
        return disk.open_folder(self._storage.opened().root, folder), name

    @contextlib.contextmanager
    def _orphans(self) -> Iterator[int]:
        root = self._storage.opened().root
        if disk.make_folder(root, ORPHANS):
            disk.sync(root)
        orphans = disk.open_folder(root, ORPHANS)
        try:
            yield orphans
        finally:
            os.close(orphans)

    def _aside(self, source: int, name: str, orphans: int, prefix: str = "") -> str:
        aside = prefix + name
        while not self._rename(source, name, orphans, aside):
            aside = f"{prefix}{uuid4()}-{name}"
        return aside

    def _undo_removals(self, root: int) -> None:
        """What a killed process was about to remove lies at its place again; whoever is at it now finds it gone."""
        if not disk.exists(root, ORPHANS):
            return
        with self._orphans() as orphans:
            for going in list(filter(None, map(_GOES.match, disk.names(orphans)))):
                name = going[1]
                with contextlib.suppress(FileNotFoundError):
                    place = disk.open_folder(root, f"{name[:2]}/{name[2]}")
                    try:
                        self._back(orphans, going[0], place, name)
                    finally:
                        os.close(place)

    def _back(self, orphans: int, aside: str, source: int, name: str) -> None:
        """Where the name is taken again, the file stays among the orphans."""
        self._rename(orphans, aside, source, name)
        for descriptor in (source, orphans):
            disk.sync(descriptor)

    def _has_bytes_of(self, folder: int, name: str, content: Content) -> bool:
        try:
            descriptor = disk.open_file(folder, name)
        except OSError:
            return False
        try:
            is_whole = os.fstat(descriptor).st_size == content.header_size + content.size
            return is_whole and digest_of(descriptor, content.header_size) == content.digest
        except OSError:
            return False
        finally:
            os.close(descriptor)


def _write(descriptor: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(descriptor, left) :]


def _names(root: int, path: str, pattern: re.Pattern[str]) -> list[str]:
    try:
        folder = disk.open_folder(root, path)
    except OSError:
        return []
    try:
        return [name for name in disk.names(folder) if pattern.match(name)]
    finally:
        os.close(folder)


def _look(root: int, storage: str, path: str) -> FoundFile | None:
    """A file as its own header describes it; without a SOP Instance UID where it has none that can be read."""
    try:
        descriptor = disk.open_file(root, path)
    except FileNotFoundError:
        return None
    except OSError:
        return FoundFile(path, "", 0.0, None)
    try:
        seen = os.fstat(descriptor)
        meta = read_file_header(os.pread(descriptor, HEADER_MAX, 0))
        size = seen.st_size - meta.size
        content = Content(path[_DIGEST], size, meta.size, meta.transfer_syntax_uid, storage, path)
        if uid_fault(meta.sop_instance_uid):
            return FoundFile(path, "", seen.st_mtime, None)
        return FoundFile(path, meta.sop_instance_uid, seen.st_mtime, content)
    except (OSError, ValueError):
        return FoundFile(path, "", 0.0, None)
    finally:
        os.close(descriptor)
