"""The child processes that decode and encode: started when first needed, killed at a deadline, started again."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.codecs.child import MESSAGE_MAX, READY
from domain.errors import Because, InvalidInput, NotAcceptable, NotThere, Refused, Unavailable
from domain.limits import MIB, Limits

_LOG = logging.getLogger("annals.codecs")
_MODULE = "adapters.codecs.child"
_START_SECONDS = 30.0
_DECODER = json.JSONDecoder()
_LOOK_SECONDS = 1.0
_STARVED_MAX = 20
"""A child that waits for a core has at most so many times its seconds."""

Asked = tuple[Mapping[str, Any], Sequence[int]]
"""A request and its descriptors."""

_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Frames come and go: memory that was theirs is kept, or each page of the next is cleared by the kernel again.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * MIB), "MALLOC_TRIM_THRESHOLD_": str(64 * MIB)}
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH")


def environment() -> dict[str, str]:
    """The environment of a child."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | _ONE_THREAD | _KEEP_MEMORY


class _Gone(Exception):
    """The child ended before it took the request."""


class _Child:
    """One process and the socket to it. Raises OSError where it does not start."""

    def __init__(self, limits: Limits) -> None:
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-m", _MODULE], stdin=other.fileno(), env=environment()
            )
        self._seconds = _START_SECONDS
        self.socket.settimeout(_START_SECONDS)
        try:
            self.socket.sendall(json.dumps(dataclasses.asdict(limits)).encode())
            if self.socket.recv(MESSAGE_MAX) != READY:
                raise ConnectionError(errno.ECONNRESET, "it ended before it was ready")
        except OSError:
            self.end()
            raise

    def ask(self, message: bytes, descriptors: Sequence[int], seconds: float) -> list[dict[str, Any]]:
        """The requests of a message. Raises :class:`_Gone`, TimeoutError, or EOFError where the child died over one."""
        self._wait_at_most(min(seconds, _LOOK_SECONDS))
        try:
            socket.send_fds(self.socket, [message], descriptors)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Gone from error
        try:
            answer = self._answer(seconds)
        except ConnectionError as error:
            # A child that left idle never read the message: its end of the socket was closed with it unread.
            raise (_Gone if self.process.wait() == 0 else EOFError) from error
        if not answer:
            raise (_Gone if self.process.wait() == 0 else EOFError)
        return list(_DECODER.decode(answer.decode()))

    def _answer(self, seconds: float) -> bytes:
        """Its answer within so many seconds, in which those do not count that it waits for a core."""
        try:
            return self.socket.recv(MESSAGE_MAX)
        except TimeoutError:
            return self._late_answer(seconds)

    def _late_answer(self, seconds: float) -> bytes:
        left = seconds - _LOOK_SECONDS
        end = time.monotonic() + seconds * _STARVED_MAX
        used = self._processor_seconds()
        while left > 0 and (began := time.monotonic()) < end:
            self._wait_at_most(max(_LOOK_SECONDS / 10, min(left, _LOOK_SECONDS)))
            with contextlib.suppress(TimeoutError):
                return self.socket.recv(MESSAGE_MAX)
            before, used = used, self._processor_seconds()
            left -= used - before if self._is_runnable() else time.monotonic() - began
        # It is at rest also where it has answered since.
        self._wait_at_most(0.0)
        try:
            return self.socket.recv(MESSAGE_MAX)
        except BlockingIOError:
            raise TimeoutError from None

    def _processor_seconds(self) -> float:
        # The number that clock_getcpuclockid(3) makes of a process id.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def _is_runnable(self) -> bool:
        """Whether it has a core or waits for one (proc(5), stat)."""
        state = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(") ")[2]
        return state.startswith("R")

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._seconds:
            self.socket.settimeout(seconds)
            self._seconds = seconds

    def end(self) -> int:
        """Kill it; its exit code."""
        self.socket.close()
        with contextlib.suppress(OSError):
            self.process.kill()
        return self.process.wait()


class Workers:
    """At most ``count`` children at a time, for all threads of this process."""

    def __init__(self, limits: Limits, count: int) -> None:
        self.count = min(count or os.cpu_count() or 1, limits.codec_processes_max)
        self._limits = limits
        self._lock = threading.Lock()
        self._place = threading.Condition(self._lock)
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._starting = 0
        self._ended = False

    def ask(
        self, request: Mapping[str, Any], descriptors: Sequence[int], limit: str = "codec_timeout_seconds"
    ) -> dict[str, Any]:
        """Have a request performed within the seconds of a limit.

        Raises Refused where the object fails, NotThere, NotAcceptable or InvalidInput where the request does,
        Unavailable where no child can work.
        """
        (answer,) = self._asked([(request, descriptors)], limit)
        if answer:
            _raise_what_it_tells(answer)
        return answer

    def ask_together(self, requests: Sequence[Asked]) -> list[dict[str, Any]]:
        """Have one child perform some requests within the seconds of one; the answers as they come, faults among them.

        Raises Refused where the child failed over one of them, Unavailable where no child can work.
        """
        return self._asked(requests, "codec_timeout_seconds")

    def close(self) -> None:
        """End the children."""
        with self._lock:
            self._ended = True
            self._place.notify_all()
            idle, self._idle = self._idle, []
            for busy in self._busy:
                # Who waits for it ends it.
                busy.process.kill()
        for child in idle:
            child.end()

    def processes(self) -> list[int]:
        """The ids of the children that wait for work."""
        with self._lock:
            return [child.process.pid for child in self._idle]

    def _asked(self, requests: Sequence[Asked], limit: str) -> list[dict[str, Any]]:
        message = json.dumps([(request, len(descriptors)) for request, descriptors in requests]).encode()
        all_descriptors = [one for _, descriptors in requests for one in descriptors]
        while True:
            child, is_new = self._taken()
            try:
                answers = child.ask(message, all_descriptors, getattr(self._limits, limit))
            except _Gone:
                self._leave(child)
                if is_new:
                    raise Unavailable("the codec process does not start") from None
            except TimeoutError:
                self._leave(child)
                raise _died(f"was killed at {limit}", len(requests)) from None
            except EOFError:
                code = self._leave(child)
                said = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                raise _died(f"died ({said})", len(requests)) from None
            except BaseException:
                self._leave(child)
                raise
            else:
                self._keep(child)
                return answers

    def _taken(self) -> tuple[_Child, bool]:
        """A child for one request as soon as there is one, and whether it is new."""
        with self._lock:
            while not self._ended and len(self._busy) + self._starting >= self.count:
                self._place.wait()
            if self._ended:
                raise Unavailable("the archive is being stopped")
            if self._idle:
                child = self._idle.pop()
                self._busy.add(child)
                return child, False
            self._starting += 1
        begun: _Child | None = None
        try:
            begun = _Child(self._limits)
        except OSError as error:
            raise Unavailable(f"the codec process does not start: {error.strerror or error}") from error
        finally:
            with self._lock:
                self._starting -= 1
                if begun is None:
                    self._place.notify()
                else:
                    self._busy.add(begun)
        return begun, True

    def _leave(self, child: _Child) -> int:
        """Kill a child, whose place is free then; its exit code."""
        code = child.end()
        with self._lock:
            self._busy.discard(child)
            self._place.notify()
        return code

    def _keep(self, child: _Child) -> None:
        with self._lock:
            ended = self._ended
            if not ended:
                self._busy.discard(child)
                self._idle.append(child)
                self._place.notify()
        if ended:
            self._leave(child)


def _died(how: str, over: int) -> Refused:
    if over == 1:
        _LOG.error("a codec process %s over one object", how)
    else:
        _LOG.error("a codec process %s over one of %d objects, which are asked for again one by one", how, over)
    return Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, f"the codec process {how}")


def _raise_what_it_tells(answer: dict[str, Any]) -> None:
    if (fault := answer.get("absent")) is not None:
        raise NotThere(fault)
    if (fault := answer.get("unasked")) is not None:
        raise InvalidInput([fault])
    if (fault := answer.get("unacceptable")) is not None:
        raise NotAcceptable(fault)
    if (fault := answer.get("unfit")) is not None:
        raise Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, fault)
    if (fault := answer.get("full")) is not None:
        _LOG.error("an object could not be converted in the temp folder: %s", fault)
        raise Refused(Because.OUT_OF_RESOURCES, f"the temp folder: {fault}")
    if (fault := answer.get("failed")) is not None:
        raise Unavailable(f"an object could not be converted: {fault}")
