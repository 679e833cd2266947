"""What lies under an archive in these tests: its processes, killed as a power cut kills them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_EFFECT_SECONDS = 60.0


def parent(pid: int) -> int:
    """The parent of a process; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def state(pid: int) -> str:
    """The state of a process, such as R or Z; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def children(of: int) -> list[int]:
    """The processes that a process has started."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if parent(pid) == of]


def postmaster(folder: Path) -> int | None:
    """The pid of the server that works in an embedded database's folder."""
    parents = {pid: parent(pid) for pid in inside(folder)}
    return next((pid for pid, of in parents.items() if of not in parents and pid in parents.values()), None)


def inside(folder: Path) -> set[int]:
    """Every process that works in an embedded database's folder."""
    data = os.fspath((folder / "data").resolve())
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _works_in(name) == data}


def _works_in(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def kill_all(pids: Iterable[int]) -> None:
    """SIGKILL them and wait until they are gone."""
    pids = list(pids)
    _signal(pids, signal.SIGKILL, lambda pid: state(pid) in ("", "Z"))
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def freeze(pids: Iterable[int]) -> None:
    """Stop processes, and wait until no thread of theirs is still in a system call."""
    _signal(list(pids), signal.SIGSTOP, _is_frozen)


@contextlib.contextmanager
def frozen(pids: Iterable[int]) -> Iterator[None]:
    """While inside, these processes stand still."""
    pids = list(pids)
    try:
        freeze(pids)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals, has_worked: Callable[[int], bool]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    deadline = time.monotonic() + _EFFECT_SECONDS
    for pid in pids:
        while not has_worked(pid):
            if time.monotonic() > deadline:
                raise AssertionError(f"{number.name} does nothing to process {pid}")
            time.sleep(0.001)


def _is_frozen(pid: int) -> bool:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return True
    return all(state(int(thread.name)) in ("", "T", "Z", "X") for thread in threads)


def kill_database(folder: Path) -> None:
    """End an embedded server with all its processes; the kernel's shared memory goes as it does in a power cut."""
    killed: set[str] = set()
    if server := postmaster(folder):
        os.kill(server, signal.SIGSTOP)
    while found := inside(folder):
        kill_all(found)
        killed |= {str(pid) for pid in found}
    for line in Path("/proc/sysvipc/shm").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[4] in killed:
            subprocess.run(["ipcrm", "-m", fields[1]], check=False, capture_output=True)


def command_line(pid: int) -> str:
    """What a process was started as."""
    try:
        return f"{pid} (parent {parent(pid)}): {Path(f'/proc/{pid}/cmdline').read_bytes()!r}"
    except OSError:
        return f"{pid} has ended"
