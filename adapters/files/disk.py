"""The only place where anything below a storage is opened, made, renamed or removed (reliability D4).

Everything goes through open directory descriptors, so that an unmounted or exchanged folder is never written into.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import time
from array import array
from collections.abc import Iterator

_RENAME_NOREPLACE = 1
_NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTTY, errno.EOPNOTSUPP)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
"""FS_IOC_GETFLAGS and FS_IOC_SETFLAGS of x86-64 and arm64 (linux/fs.h)."""
_TOP_OF_HIERARCHIES = 0x00020000
"""FS_TOPDIR_FL, which ``chattr +T`` sets."""
_OPENAT2 = 437
"""Its number on x86-64 and arm64 (asm-generic/unistd.h)."""
_BELOW_THROUGH_NO_LINK = 0x08 | 0x04
"""RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS (openat2(2))."""


def make_root(path: str) -> None:
    """Make a storage's own folder, and make its name durable in its parent, if it is not there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    parent = os.open(os.path.dirname(os.path.abspath(path)), _FOLDER)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def open_root(path: str) -> int:
    """A descriptor of a storage's own folder; the last component may be a symbolic link set by the administrator."""
    return os.open(path, _FOLDER)


def open_folder(folder: int, name: str) -> int:
    """A descriptor of the folder ``name`` below an open folder, reached through no link."""
    return _open_below(folder, name, _FOLDER | os.O_NOFOLLOW)


def make_folder(folder: int, name: str) -> bool:
    """Make a folder below an open one; whether it is new. Not durable before ``sync(folder)``."""
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def spread(folder: int) -> None:
    """Have the folders that are made in this one laid out far from each other, and so the files made in those.

    A hint that ext2 to ext4 take; elsewhere nothing happens.
    """
    flags = array("I", (0, 0))
    # Every file system places folders somehow: one that does not take the hint, or not now, is as good.
    with contextlib.suppress(OSError):
        fcntl.ioctl(folder, _GET_FLAGS, flags)
        if not flags[0] & _TOP_OF_HIERARCHIES:
            flags[0] |= _TOP_OF_HIERARCHIES
            fcntl.ioctl(folder, _SET_FLAGS, flags)


def create_file(folder: int, name: str) -> int:
    """A descriptor of a new, empty file; fails where the name exists."""
    return os.open(name, _NEW, 0o600, dir_fd=folder)


def open_file(folder: int, path: str) -> int:
    """A descriptor for reading a regular file, reached through no link; anything else is EINVAL, and waits never."""
    return _regular(_open_below(folder, path, _READ), path)[0]


class Opener:
    """Opens as :func:`open_file` does, at one stroke: ``openat2``, or step by step where the kernel lacks it."""

    def __init__(self) -> None:
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
        # struct open_how: flags, mode, resolve.
        self._how = (ctypes.c_uint64 * 3)(_READ, 0, _BELOW_THROUGH_NO_LINK)
        self._is_known = True

    def __call__(self, folder: int, path: str) -> tuple[int, int]:
        """A descriptor for reading, and the file's length in bytes. Raises OSError."""
        if self._is_known:
            descriptor = self._call(_OPENAT2, folder, path.encode(), self._how, ctypes.sizeof(self._how))
            if descriptor >= 0:
                return _regular(descriptor, path)
            number = ctypes.get_errno()
            # Linux before 5.6 has no such call; a sandbox that does not know it denies it.
            if number not in (errno.ENOSYS, errno.EPERM, errno.EINTR):
                raise OSError(number, os.strerror(number), path)
            self._is_known = number == errno.EINTR
        return _regular(_open_below(folder, path, _READ), path)


def _regular(descriptor: int, path: str) -> tuple[int, int]:
    """An open file and its length in bytes. Closes it and raises EINVAL where it is none."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor, found.st_size


def _open_below(folder: int, path: str, flags: int) -> int:
    """Open step by step: O_NOFOLLOW alone minds only the last one."""
    branch, _, rest = path.partition("/")
    if not rest:
        return os.open(path, flags, dir_fd=folder)
    step = os.open(branch, _STEP, dir_fd=folder)
    try:
        return _open_below(step, rest, flags)
    finally:
        os.close(step)


def names(folder: int) -> Iterator[str]:
    """The names in an open folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def size_of(folder: int, name: str) -> int:
    """The size of a file in bytes; 0 where it is gone."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def exists(folder: int, name: str) -> bool:
    """Whether an open folder has this name."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def is_file(folder: int, name: str) -> bool:
    """Whether a name is that of a regular file, and of no link."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def touch(folder: int, name: str) -> int:
    """Say that a file is in use from now on, by this machine's clock; the time in nanoseconds since 1970."""
    now = time.time_ns()
    os.utime(name, ns=(now, now), dir_fd=folder, follow_symlinks=False)
    return now


def modified(folder: int, name: str) -> float:
    """When a file was made or touched last, in seconds since 1970."""
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime


def modified_ns(folder: int, name: str) -> int:
    """As :func:`modified`, in nanoseconds: exact."""
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns


def remove_file(folder: int, name: str) -> None:
    """Remove a file; a missing one is nothing."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def remove_folder(folder: int, name: str) -> None:
    """Remove a folder unless there is anything in it; a missing one is nothing."""
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            raise


def sync(descriptor: int) -> None:
    """Make a file's bytes, or a folder's names, survive power loss. Never called again on a file where it failed."""
    os.fsync(descriptor)


def replace(from_folder: int, from_name: str, to_folder: int, to_name: str) -> None:
    """Rename over whatever has that name."""
    os.rename(from_name, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)


class Renamer:
    """Rename without replacing: ``renameat2(RENAME_NOREPLACE)``, or link and unlink where a file system lacks it."""

    def __init__(self) -> None:
        self._renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)

    def __call__(self, from_folder: int, from_name: str, to_folder: int, to_name: str) -> bool:
        """Whether the file has the new name now; False where the name is taken. Raises OSError."""
        if self._renameat2 is not None:
            if not self._renameat2(from_folder, from_name.encode(), to_folder, to_name.encode(), _RENAME_NOREPLACE):
                return True
            number = ctypes.get_errno()
            if number == errno.EEXIST:
                return False
            if number not in _NOT_SUPPORTED:
                raise OSError(number, os.strerror(number), to_name)
            self._renameat2 = None
        try:
            os.link(from_name, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder, follow_symlinks=False)
        except FileExistsError:
            return False
        os.unlink(from_name, dir_fd=from_folder)
        return True
