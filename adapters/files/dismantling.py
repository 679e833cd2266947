"""Removing what a storage is made of, with or without its files, and nothing else in its folder (STO-2, D4)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType

from adapters.files import disk, lease
from adapters.files.attachment import (
    INCOMING,
    MARKER,
    MOVED,
    QUARANTINE,
    REMOVED,
    marker_of,
    rename_marker,
)
from adapters.files.failpoints import off
from adapters.files.upkeep import BRANCH, FILE, GOING, LEAF, ORPHANS
from processes.ports import Failpoints

_ORPHAN = re.compile(rf"(?:{GOING})?(?:{lease.UUID}-)?{FILE.pattern}")
_QUARANTINED = re.compile(rf"{lease.UUID}\.dcm\Z")
_NEW_MARKER = re.compile(rf"{re.escape(MARKER)}\.{lease.UUID}\Z")
_OF_THE_FILE_SYSTEM = "lost+found"


class Dismantling:
    """The folder of a storage while it is removed; killed, another one goes on. Use as a context.

    ``marker`` is what its marker is called now.

    Nothing is reached through a link, and a link is nobody's object. Every method raises OSError.
    """

    def __init__(self, path: Path, storage_id: str, failpoint: Failpoints = off) -> None:
        """Open the folder by its marker, also by one that was taken away. Raises OSError."""
        self._root = disk.open_root(str(path))
        self._failpoint = failpoint
        self._files = False
        self._removed = 0
        self._foreign: list[str] = []
        try:
            self.marker = marker_of(self._root, storage_id)
        except OSError:
            os.close(self._root)
            raise

    def take_marker_away(self, name: str = REMOVED) -> None:
        """Let the folder be no storage any more, durable: whatever is on its way into it is refused."""
        self._failpoint("dismantle.before_marker")
        self._rename_marker(name)
        self._failpoint("dismantle.after_marker")

    def give_marker_back(self) -> None:
        """Let the folder be the storage again, durable."""
        self._rename_marker(MARKER)

    def is_received_into(self) -> bool:
        """Whether a living process still has a temp folder there; those of dead ones are removed."""
        try:
            incoming = disk.open_folder(self._root, INCOMING)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            lease.sweep(incoming)
            left = list(filter(lease.TEMP_FOLDER.match, disk.names(incoming)))
            return any(not disk.is_file(incoming, name) for name in left)
        finally:
            os.close(incoming)

    def remove_empty(self) -> bool:
        """Remove the folders where nothing is kept any more, and the marker last; whether the folder is empty now.

        Where anything else is there, or a process still receives, the marker stays.
        """
        self.is_received_into()
        self._remove_folders(files=False)
        if self._foreign:
            return False
        self._remove_marker()
        return True

    def remove(self) -> tuple[int, list[str]]:
        """Remove the files and folders, the marker last; how many files went, and the paths of what is not ours."""
        self._remove_folders(files=True)
        self._remove_marker()
        return self._removed, self._foreign

    def _rename_marker(self, name: str) -> None:
        rename_marker(self._root, self.marker, name)
        self.marker = name

    def _remove_folders(self, *, files: bool) -> None:
        self._files = files
        for name in sorted(disk.names(self._root)):
            if name in (MARKER, MOVED, REMOVED, _OF_THE_FILE_SYSTEM) or _NEW_MARKER.match(name):
                continue
            if name == QUARANTINE:
                self._remove_files(self._root, "", name, _QUARANTINED)
            elif name == ORPHANS:
                self._remove_files(self._root, "", name, _ORPHAN)
            elif name == INCOMING:
                self._remove_files(self._root, "", name, lease.TEMP_FOLDER)
            elif BRANCH.match(name):
                self._remove_branch(name)
            else:
                self._foreign.append(name)

    def _remove_marker(self) -> None:
        # Before the marker goes, all else has gone for good: without it nothing goes on after a power cut.
        disk.sync(self._root)
        for name in [name for name in disk.names(self._root) if _NEW_MARKER.match(name)]:
            disk.remove_file(self._root, name)
        disk.remove_file(self._root, self.marker)
        disk.sync(self._root)

    def _remove_branch(self, branch: str) -> None:
        folder = self._open(self._root, branch, branch)
        if folder < 0:
            return
        try:
            for leaf in sorted(disk.names(folder)):
                if LEAF.match(leaf):
                    self._remove_files(folder, f"{branch}/", leaf, re.compile(rf"(?={branch}{leaf}){FILE.pattern}"))
                else:
                    self._foreign.append(f"{branch}/{leaf}")
        finally:
            os.close(folder)
        disk.remove_folder(self._root, branch)

    def _remove_files(self, parent: int, above: str, name: str, own: re.Pattern[str]) -> None:
        """Remove a folder's own files, and the folder where nothing else is in it."""
        folder = self._open(parent, name, above + name)
        if folder < 0:
            return
        try:
            there = list(disk.names(folder))
            for file in there:
                if self._files and own.match(file) and disk.is_file(folder, file):
                    self._failpoint("dismantle.before_file")
                    disk.remove_file(folder, file)
                    self._removed += 1
                else:
                    self._foreign.append(f"{above}{name}/{file}")
            if there:
                disk.sync(folder)
        finally:
            os.close(folder)
        disk.remove_folder(parent, name)

    def _open(self, parent: int, name: str, path: str) -> int:
        """A descriptor of a folder; -1 where it is none or a link, which is not ours."""
        try:
            return disk.open_folder(parent, name)
        except NotADirectoryError:
            self._foreign.append(path)
            return -1

    def __enter__(self) -> Dismantling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._root)
