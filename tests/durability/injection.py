"""Faults at a system call of one thread, by ``strace``: its n-th call of a name is killed or fails."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_WITH_EFFECT = """
openat write writev pwrite64 pwritev fsync fdatasync sync_file_range rename renameat renameat2 link linkat mkdir mkdirat
unlink unlinkat rmdir close ftruncate fallocate copy_file_range sendfile sendto sendmsg connect socket shutdown fchmod
fchown flock utimensat
"""
_WITHOUT_EFFECT = """
read pread64 preadv readv lseek stat lstat fstat newfstatat statx fstatfs statfs access faccessat2 getdents64 readlink
poll ppoll select pselect6 epoll_wait epoll_pwait epoll_create1 epoll_ctl recvfrom recvmsg getsockopt setsockopt
getsockname getpeername fcntl ioctl fadvise64 futex mmap munmap mremap mprotect madvise brk rt_sigaction rt_sigprocmask
rt_sigreturn restart_syscall clock_gettime clock_nanosleep gettimeofday getrandom sched_yield getpid gettid getuid
geteuid getgid getegid prctl rseq set_robust_list clone3 exit exit_group openat2
"""
EFFECTS = frozenset(_WITH_EFFECT.split())
"""Calls that change what is on a disk, or what a peer or the database has heard; killed or failed in turn."""
WITHOUT_EFFECT = frozenset(_WITHOUT_EFFECT.split())
"""Calls after which everything is as before: a kill at one is a kill at the next with an effect."""

_LINE = re.compile(r"(?P<tid>\d+) +(?P<name>\w+)\((?P<said>.*)")
_ARGUMENT = re.compile(r"(\d+)")
_RESULT = re.compile(r" = (\d+)$")


class Point(NamedTuple):
    """The n-th system call of a name that a thread makes."""

    thread: str
    name: str
    number: int


class Calls:
    """The system calls of some threads, in their order."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._only_read: set[Point] = set()

    def take(self, trace: str, threads: Mapping[int, str]) -> None:
        """Read what ``strace`` wrote, given the name of each thread."""
        counts: Counter[tuple[str, str]] = Counter()
        only_read: set[str] = set()
        for line in filter(None, map(_LINE.match, trace.splitlines())):
            thread, name = key = threads[int(line["tid"])], line["name"]
            counts[key] += 1
            self._points.append(point := Point(thread, name, counts[key]))
            said = line["said"]
            of, made = (found[1] if found else "" for found in (_ARGUMENT.match(said), _RESULT.search(said)))
            reads = name in ("openat", "openat2") and "O_RDONLY" in said and "O_CREAT" not in said
            if reads or (name == "close" and of in only_read):
                self._only_read.add(point)
            if name in ("close", "flock"):
                only_read.discard(of)
            if reads or ("F_DUPFD" in said and of in only_read):
                only_read.add(made)
            elif name == "openat":
                only_read.discard(made)

    @property
    def names(self) -> set[str]:
        """Which calls there were."""
        return {point.name for point in self._points}

    def of(self, names: Collection[str]) -> list[Point]:
        """Every call with one of these names."""
        return [point for point in self._points if point.name in names]

    def with_effect(self) -> list[Point]:
        """Every call of EFFECTS but for those that open or close what is only read and not locked."""
        return [point for point in self.of(EFFECTS) if point not in self._only_read]


@contextlib.contextmanager
def injected(threads: Mapping[str, int], point: Point, fault: str = "signal=KILL") -> Iterator[None]:
    """While inside, ``fault`` (``signal=KILL``, ``error=EIO``) befalls the call at the point, given each thread."""
    at = f"--inject={point.name}:{fault}:when={point.number}"
    with _attached([threads[point.thread]], "-o", "/dev/null", f"--trace={point.name}", at):
        yield


@contextlib.contextmanager
def traced(threads: Mapping[str, int], into: Path) -> Iterator[Calls]:
    """Knows, once outside again, the calls between the two."""
    calls = Calls()
    with _attached(list(threads.values()), "-o", str(into), "--trace=all"):
        yield calls
    calls.take(into.read_text("utf-8", "replace"), {number: name for name, number in threads.items()})
    unknown = calls.names - EFFECTS - WITHOUT_EFFECT
    assert not unknown, f"does a kill at these change anything? {sorted(unknown)}"


@contextlib.contextmanager
def _attached(threads: list[int], *options: str) -> Iterator[None]:
    command = ["strace", "-I1", *options]
    for thread in threads:
        command += ["-p", str(thread)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert tracer.stderr
    try:
        for _ in threads:
            line = tracer.stderr.readline()
            assert "attached" in line, line
        yield
        tracer.wait(60)
    finally:
        if tracer.poll() is None:
            tracer.terminate()
            tracer.wait()
        tracer.stderr.close()
