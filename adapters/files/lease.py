"""Temp folders under a lease: a folder belongs to the process that holds the lock on its lease file.

The kernel frees the lock when the process ends, also by ``kill -9``; only then may a sweep remove the folder. The
lease is held by a descriptor for reading, so that the file system can still be made read-only.
"""

from __future__ import annotations

import fcntl
import os
import re
from uuid import uuid4

from adapters.files import disk

_LEASE = "lease"
_ATTEMPTS_MAX = 10
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TEMP_FOLDER = re.compile(rf"{UUID}\Z")


class TempFolder:
    """This process's own folder for temp files below ``parent``."""

    def __init__(self, parent: int) -> None:
        """Make the folder and take its lease. Raises OSError."""
        self.descriptor = -1
        self._lease = -1
        for _ in range(_ATTEMPTS_MAX):
            self.name = str(uuid4())
            disk.make_folder(parent, self.name)
            if self._take(parent):
                return
        raise BlockingIOError("no temp folder could be leased")

    def _take(self, parent: int) -> bool:
        """Whether the new folder is ours: a sweep may find it before its lock is held."""
        try:
            self.descriptor = disk.open_folder(parent, self.name)
            os.close(disk.create_file(self.descriptor, _LEASE))
            self._lease = disk.open_file(self.descriptor, _LEASE)
            fcntl.flock(self._lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._lease).st_nlink:
                return True
        except (FileNotFoundError, FileExistsError, BlockingIOError):
            self.close()
            return False
        except OSError:
            self.close()
            raise
        self.close()
        return False

    def close(self) -> None:
        """Give the lease up; the folder stays for the next sweep. May be called twice."""
        for descriptor in (self.descriptor, self._lease):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor = self._lease = -1


def sweep(parent: int) -> int:
    """Remove the temp folders below ``parent`` whose owners are dead, and no others; how many temp files went."""
    removed = 0
    for name in [name for name in disk.names(parent) if TEMP_FOLDER.match(name)]:
        try:
            folder = disk.open_folder(parent, name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            removed += _sweep_folder(parent, name, folder)
        finally:
            os.close(folder)
    return removed


def _sweep_folder(parent: int, name: str, folder: int) -> int:
    try:
        lease = _open_lease(folder)
    except (FileNotFoundError, FileExistsError):
        return 0
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = [file for file in disk.names(folder) if file != _LEASE]
        for file in left:
            disk.remove_file(folder, file)
        disk.remove_file(folder, _LEASE)
        # Where another sweep has laid a lease meanwhile the folder stays, and goes with that.
        disk.remove_folder(parent, name)
    except BlockingIOError:
        return 0
    finally:
        os.close(lease)
    return len(left)


def _open_lease(folder: int) -> int:
    try:
        return disk.open_file(folder, _LEASE)
    except FileNotFoundError:
        return disk.create_file(folder, _LEASE)
