"""Faults at a system call of one thread, by ``strace``: its n-th call of a name is killed or fails."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

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
geteuid getgid getegid prctl rseq set_robust_list clone3 exit exit_group
"""
EFFECTS = frozenset(_WITH_EFFECT.split())
"""Calls that change what is on a disk, or what a peer or the database has heard; killed or failed in turn."""
WITHOUT_EFFECT = frozenset(_WITHOUT_EFFECT.split())
"""Calls after which everything is as before: a kill at one is a kill at the next with an effect."""

_LINE = re.compile(r"(?P<tid>\d+) +(?P<name>\w+)\(")


@contextlib.contextmanager
def injected(thread: int, name: str, fault: str, when: str) -> Iterator[None]:
    """While inside, ``fault`` (``signal=KILL``, ``error=EIO``) befalls the thread's calls of ``name``."""
    with _attached([thread], "-o", "/dev/null", f"--trace={name}", f"--inject={name}:{fault}:when={when}"):
        yield


@contextlib.contextmanager
def traced(threads: Mapping[str, int], into: Path) -> Iterator[dict[tuple[str, str], int]]:
    """Counts, once outside again, the calls between the two by thread and name."""
    counts: dict[tuple[str, str], int] = {}
    names = {thread: name for name, thread in threads.items()}
    with _attached(list(threads.values()), "-o", str(into), "--trace=all"):
        yield counts
    lines = [found for line in into.read_text("utf-8", "replace").splitlines() if (found := _LINE.match(line))]
    counts |= Counter((names[int(found["tid"])], found["name"]) for found in lines)


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
        tracer.wait(30)
    finally:
        if tracer.poll() is None:
            tracer.terminate()
            tracer.wait()
        tracer.stderr.close()
