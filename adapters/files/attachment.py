"""A storage's folder, opened once and verified: descriptors that outlive an unmount and never reach another disk."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from uuid import UUID, uuid4

from adapters.files import disk, lease

MARKER = ".annals-storage"
MOVED = f"{MARKER}.moved"
"""What the marker of a folder is called that was left for a copy of it."""
REMOVED = f"{MARKER}.removed"
"""What the marker of a storage is called that is being removed, or is: nobody writes into it, whatever he knows."""
INCOMING = ".incoming"
QUARANTINE = ".quarantine"
_MARKER_MAX = 128
_NOT_A_STORAGE = frozenset(("lost+found", MARKER))
_BRANCHES = tuple(f"{number:02x}" for number in range(256))
_LEAVES = tuple("0123456789abcdef")


class ForeignFolder(OSError):
    """The folder is not the storage that it should be: its marker file is missing, unreadable or another's."""


class Attachment:
    """One opened storage folder whose marker was read through its descriptor.

    ``root`` is its descriptor. Kept by everyone who works in it; the descriptors close with the last of them.
    """

    def __init__(self, path: Path, expected: UUID | None, name: str = MARKER) -> None:
        """Open and verify by the marker of this name. Raises :class:`ForeignFolder` or another OSError."""
        self.root = disk.open_root(str(path))
        self._marker_path = str(path / name)
        self._temp: lease.TempFolder | None = None
        self._incoming = -1
        self._lock = threading.Lock()
        try:
            self.storage_id, self._seen = _read_marker(self.root, name)
            if expected is not None and self.storage_id != expected:
                raise ForeignFolder(f"the marker file names another storage: {self.storage_id}")
        except OSError:
            self.close()
            raise

    def is_current(self) -> bool:
        """Whether the storage's path still leads to the marker file that was read (reliability D5)."""
        try:
            return _identity(os.stat(self._marker_path)) == self._seen
        except OSError:
            return False

    def temp_folder(self) -> int:
        """The descriptor of this process's temp folder, made with the other folders at the first call."""
        if self._temp is None:
            with self._lock:
                if self._temp is None:
                    self._prepare()
        assert self._temp is not None
        return self._temp.descriptor

    def object_folder(self, digest: str) -> int:
        """A descriptor of the folder for a digest, whose name is durable. The caller closes it."""
        branch, leaf = digest[:2], digest[2]
        try:
            return disk.open_folder(self.root, f"{branch}/{leaf}")
        except FileNotFoundError:
            if disk.make_folder(self.root, branch):
                disk.sync(self.root)
            self._make_leaves(branch)
            return disk.open_folder(self.root, f"{branch}/{leaf}")

    def quarantine_folder(self) -> int:
        """A descriptor of the folder for refused objects, whose name is durable. The caller closes it."""
        if disk.make_folder(self.root, QUARANTINE):
            disk.sync(self.root)
        return disk.open_folder(self.root, QUARANTINE)

    def sweep(self) -> int:
        """Remove what dead processes left in their temp folders; returns how many files went."""
        self.temp_folder()
        return lease.sweep(self._incoming)

    def close(self) -> None:
        """Close the descriptors and give the temp folder up."""
        if self._temp is not None:
            self._temp.close()
        for descriptor in (self._incoming, self.root):
            if descriptor >= 0:
                os.close(descriptor)
        self._incoming = self.root = -1

    def __del__(self) -> None:
        """Close with the last user."""
        if getattr(self, "root", -1) >= 0:
            self.close()

    def _prepare(self) -> None:
        """Make the fixed folders durable, take a temp folder.

        The object folders are made all at once: one made for an object would cost it a second folder's sync.
        """
        known = set(disk.names(self.root))
        made = [name for name in (INCOMING, *_BRANCHES) if name not in known and disk.make_folder(self.root, name)]
        if made:
            disk.sync(self.root)
        for branch in _BRANCHES:
            self._make_leaves(branch)
        incoming = disk.open_folder(self.root, INCOMING)
        # ext4 gives a file an inode near its folder: where many were deleted lately, it may search long (decision 23).
        disk.spread(incoming)
        try:
            self._temp = lease.TempFolder(incoming)
        except OSError:
            os.close(incoming)
            raise
        self._incoming = incoming

    def _make_leaves(self, branch: str) -> None:
        """Make what is missing; synced always, since another process may have made them a moment ago."""
        folder = disk.open_folder(self.root, branch)
        try:
            known = set(disk.names(folder))
            for leaf in _LEAVES:
                if leaf not in known:
                    disk.make_folder(folder, leaf)
            disk.sync(folder)
        finally:
            os.close(folder)


def make_storage(path: Path) -> None:
    """Make a storage of a missing or empty folder; one that has its marker, or was removed, is the same as before.

    Raises :class:`ForeignFolder` where the folder holds other things, and OSError.
    """
    disk.make_root(str(path))
    root = disk.open_root(str(path))
    try:
        known = set(disk.names(root))
        if MARKER in known:
            return
        if REMOVED in known:
            rename_marker(root, REMOVED, MARKER)
            return
        foreign = [name for name in known if name not in _NOT_A_STORAGE and not name.startswith(MARKER)]
        if foreign and not _has_marker(root):
            raise ForeignFolder(f"{path} is not empty and has no marker file {MARKER}")
        _write_marker(root, uuid4())
    finally:
        os.close(root)


def marker(path: Path, *names: str) -> str:
    """The id of the storage that a folder is, or nothing where it is none or cannot be read.

    With ``names`` by a marker that is called so.
    """
    try:
        root = disk.open_root(str(path))
    except OSError:
        return ""
    try:
        for name in names or (MARKER,):
            with contextlib.suppress(OSError):
                return str(_read_marker(root, name)[0])
        return ""
    finally:
        os.close(root)


def marker_of(root: int, storage_id: str) -> str:
    """The name of a storage's marker in an open folder, also of one that was taken away; raises ForeignFolder."""
    for name in (MARKER, REMOVED, MOVED):
        with contextlib.suppress(OSError):
            if str(_read_marker(root, name)[0]) == storage_id:
                return name
    raise ForeignFolder(f"no marker file {MARKER} of this storage: not mounted, or another folder")


def link_fault(path: Path) -> str:
    """What is wrong with a path that leads elsewhere than it says, or nothing."""
    real = os.path.realpath(path)
    return "" if real == str(path) else f"path: leads through a link or a detour to {real!a}: give that"


def rename_marker(root: int, old: str, new: str) -> None:
    """Let an open folder be no storage any more, or one again, durable; done already, nothing happens."""
    if old != new:
        disk.replace(root, old, root, new)
    disk.sync(root)


def _has_marker(root: int) -> bool:
    return MARKER in disk.names(root)


def _write_marker(root: int, storage_id: UUID) -> None:
    name = f"{MARKER}.{storage_id}"
    descriptor = disk.create_file(root, name)
    try:
        os.write(descriptor, f"{storage_id}\n".encode())
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    if not disk.Renamer()(root, name, root, MARKER):
        disk.remove_file(root, name)
    disk.sync(root)


def _identity(seen: os.stat_result) -> tuple[int, int, int, int]:
    return seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_size


def _read_marker(root: int, name: str = MARKER) -> tuple[UUID, tuple[int, int, int, int]]:
    """The storage's id, and which file it was read from."""
    try:
        descriptor = disk.open_file(root, name)
    except FileNotFoundError:
        raise ForeignFolder(f"no marker file {MARKER}: not mounted, or not a storage") from None
    try:
        text, identity = os.read(descriptor, _MARKER_MAX), _identity(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    try:
        return UUID(text.decode("ascii").strip()), identity
    except ValueError:
        raise ForeignFolder(f"the marker file {MARKER} holds no storage id") from None
