"""What a child process may no longer do once it has loaded its libraries (reliability D20): files, network, processes.

It keeps the descriptors that it has and is given. Limits hold on every Linux; the filter where the kernel has seccomp.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct

from domain.limits import Limits

_FILES_MAX = 128
_NICE = 15
"""What receives wins each core; nothing starves, a child that waits for a core is waited for longer (workers.py)."""

_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT = 0, 4
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_OTHER_NUMBERS = 0x40000000
_COMMON = range(424, 440)
"""pidfd_send_signal, io_uring, mounts, pidfd_open, clone3, openat2, pidfd_getfd, by their numbers on every machine."""

_CLONE3 = 435
_FORBIDDEN: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (
        0xC000003E,
        (
            *(2, 85, 257, 304),  # open, creat, openat, open_by_handle_at
            *(41, 42, 43, 49, 50, 53, 288),  # socket, connect, accept, bind, listen, socketpair, accept4
            *(57, 58, 59, 322),  # fork, vfork, execve, execveat
            *(62, 200, 234, 101, 310, 311),  # kill, tkill, tgkill, ptrace, process_vm_readv, process_vm_writev
            *(76, 82, 83, 84, 86, 87, 88, 90, 92, 133),  # truncate, rename, mkdir, rmdir, link, unlink, symlink, ...
            *(258, 259, 260, 263, 264, 265, 266, 268, 316),  # the same, at a folder
            *(161, 165, 166, 272, 308),  # chroot, mount, umount2, unshare, setns
            *(248, 249, 250, 298, 321, 323),  # keys, perf_event_open, bpf, userfaultfd
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            *(56, 265),  # openat, open_by_handle_at
            *(198, 199, 200, 201, 202, 203, 242),  # socket, socketpair, bind, listen, accept, connect, accept4
            *(221, 281),  # execve, execveat
            *(129, 130, 131, 117, 270, 271),  # kill, tkill, tgkill, ptrace, process_vm_readv, process_vm_writev
            *(33, 34, 35, 36, 37, 38, 45, 53, 54, 276),  # mknodat, mkdirat, unlinkat, symlinkat, linkat, renameat, ...
            *(39, 40, 51, 97, 268),  # umount2, mount, chroot, unshare, setns
            *(217, 218, 219, 241, 280, 282),  # keys, perf_event_open, bpf, userfaultfd
        ),
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def confine(limits: Limits) -> None:
    """Bound this process, before any byte of an object is read."""
    os.nice(_NICE)
    for kind, most in (
        (resource.RLIMIT_AS, limits.codec_memory_max),
        (resource.RLIMIT_FSIZE, limits.decoded_object_max),
        (resource.RLIMIT_NOFILE, _FILES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    _forbid()


def _forbid() -> None:
    """No file by its name, no socket, no other process: those system calls fail from now on, in all threads to come."""
    if platform.machine() not in _FORBIDDEN:
        return
    machine, forbidden = _FORBIDDEN[platform.machine()]
    numbers = (*forbidden, *(number for number in _COMMON if number != _CLONE3))
    code = b"".join(
        (
            _step(_LOAD, _MACHINE_AT),
            _step(_EQUAL, machine, then=1),
            _step(_RETURN, _KILL),
            _step(_LOAD, _NUMBER_AT),
            _step(_AT_LEAST, _OTHER_NUMBERS, then=len(numbers) + 1),
            *(_step(_EQUAL, number, then=len(numbers) - place) for place, number in enumerate(numbers)),
            _step(_RETURN, _ALLOW),
            _step(_RETURN, _FAIL),
        )
    )
    steps = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(steps))
    prctl = ctypes.CDLL(None).prctl
    # A kernel without seccomp refuses: the limits hold all the same.
    if prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)


def _step(code: int, value: int, then: int = 0) -> bytes:
    """One instruction of the kernel's packet filter; ``then`` is how many to pass over where it holds."""
    return struct.pack("<HBBI", code, then, 0, value)
