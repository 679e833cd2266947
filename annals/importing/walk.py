"""Every file below a folder, one at a time, however many there are (B67)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

_KINDS = (
    (stat.S_ISLNK, "a symbolic link: not followed"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: its path, size in bytes and time of change in nanoseconds."""

    path: bytes
    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What is no regular file or cannot be looked at, and why. ``failed``: it may have held objects."""

    path: bytes
    reason: str
    failed: bool


def walk(root: bytes) -> Iterator[Found | PassedOver]:
    """Everything below ``root`` (a folder or a file), depth first. No link is followed, so no way is a circle."""
    waiting = [root]
    first = True
    while waiting:
        path = waiting.pop()
        try:
            seen = os.stat(path) if first else os.lstat(path)
            first = False
            if stat.S_ISDIR(seen.st_mode):
                folders: list[bytes] = []
                try:
                    with os.scandir(path) as entries:
                        for entry in entries:
                            if entry.is_dir(follow_symlinks=False):
                                folders.append(entry.path)
                            else:
                                yield _one(entry.path)
                finally:
                    waiting.extend(sorted(folders, reverse=True))
                continue
        except OSError as error:
            first = False
            yield PassedOver(path, f"cannot be opened: {error.strerror}", failed=True)
            continue
        yield _one(path)


def _one(path: bytes) -> Found | PassedOver:
    try:
        seen = os.lstat(path)
        if stat.S_ISREG(seen.st_mode):
            return Found(path, seen.st_size, seen.st_mtime_ns)
    except OSError as error:
        return PassedOver(path, f"cannot be looked at: {error.strerror}", failed=True)
    return PassedOver(
        path, next((words for is_kind, words in _KINDS if is_kind(seen.st_mode)), "no file"), failed=False
    )


def count(root: bytes) -> tuple[int, int]:
    """How many regular files are below ``root``, and their bytes."""
    files = size = 0
    for one in walk(root):
        if isinstance(one, Found):
            files += 1
            size += one.size
    return files, size
