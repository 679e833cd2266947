"""File systems on loop devices whose power can be cut: what was not synced is gone after the next mount."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_UNMOUNT_SECONDS = 20.0
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}
FILE_SYSTEMS = tuple(_MAKE)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PATH": _PATH, "LC_ALL": "C"}, check=False
    )
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


class Disk:
    """A file system of one kind at ``path``, in a sparse image file beside it."""

    def __init__(self, folder: Path, name: str, kind: str, megabytes: int = 1024) -> None:
        self.path = folder / name
        self._image = folder / f"{name}.img"
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(megabytes * 1024**2)
        _run(*_MAKE[kind], str(self._image))
        self.mount()

    def mount(self) -> None:
        """Mount; the loop device goes with the last unmount."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def cut(self) -> None:
        """From now on nothing reaches the disk, and every write fails."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount; waits for the last users, which have been killed, to be gone."""
        deadline = time.monotonic() + _UNMOUNT_SECONDS
        while True:
            try:
                return _run("umount", str(self.path))
            except OSError as error:
                if "busy" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def remount(self) -> None:
        """The next start of the machine: the file system's own recovery runs."""
        self.unmount()
        self.mount()

    def remove(self) -> None:
        """Unmount whatever still uses it, and free the image."""
        with contextlib.suppress(OSError):
            self.unmount()
        _release(self.path)
        self.path.rmdir()
        self._image.unlink()


def _release(path: Path) -> None:
    """Take a file system away from whoever still uses it."""
    while f" {path} " in Path("/proc/self/mounts").read_text("utf-8"):
        _run("umount", "-l", str(path))


@contextlib.contextmanager
def folder_for_disks() -> Iterator[Path]:
    """A folder for images; it may lie in memory: a cut forgets in the file system, not below it."""
    folder = Path(tempfile.mkdtemp(prefix="annals-disks-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in folder.iterdir():
            _release(path)
        shutil.rmtree(folder)


def why_not() -> str:
    """Why no power can be cut here, or nothing."""
    if os.geteuid():
        return "cutting the power of a file system needs root"
    for program in ("strace", "mount", "umount", *(command[0] for command in _MAKE.values())):
        if shutil.which(program, path=_PATH) is None:
            return f"{program} is not installed (make system-packages)"
    with folder_for_disks() as folder:
        for kind in FILE_SYSTEMS:
            try:
                Disk(folder, kind, kind, 320).remove()
            except OSError as error:
                return f"no {kind} on a loop device here: {error}"
    return ""
