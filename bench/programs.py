"""The programs that are run: where they are, their environment, their ports and their processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path


def environment(*, nagle: bool) -> dict[str, str]:
    """For a program built on DCMTK, client or server: it leaves Nagle's algorithm on where TCP_NODELAY is not set.

    So since DCMTK 3.6.2 (its envvars.txt).
    """
    kept = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    return kept if nagle else {**kept, "TCP_NODELAY": "1"}


def free_port() -> int:
    """A TCP port of the loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], seconds: float, what: str, pause_seconds: float = 0.005) -> None:
    """Wait for a condition, looked at after every pause. Raises :class:`TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(pause_seconds)


def program(name: str) -> str:
    """The path of a program. Raises :class:`FileNotFoundError`."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: run 'make bench' as an administrator")
    return found


def children(pid: int) -> list[int]:
    """All descendants of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text("ascii").split():
                found += [int(child), *children(int(child))]
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its descendants, those that have ended among them."""
    ticks = 0
    for one in (pid, *children(pid)):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def clock(pid: int) -> float:
    """Processor time of one process in seconds, to the nanosecond where :func:`cpu_seconds` counts in 10 ms."""
    # The number that clock_getcpuclockid(3) makes of a process id.
    return time.clock_gettime(~pid << 3 | 2)


def command_line(pid: int) -> bytes:
    """A process's arguments, each ended by a zero byte; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
