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
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.codecs.child import MESSAGE_MAX, READY
from domain.errors import Because, InvalidInput, NotAcceptable, NotThere, Refused, Unavailable
from domain.limits import MIB, Limits

_LOG = logging.getLogger("annals.codecs")
_MODULE = "adapters.codecs.child"
_START_SECONDS = 30.0
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
        self.socket.settimeout(_START_SECONDS)
        try:
            self.socket.sendall(json.dumps(dataclasses.asdict(limits)).encode())
            if self.socket.recv(MESSAGE_MAX) != READY:
                raise ConnectionError(errno.ECONNRESET, "it ended before it was ready")
        except OSError:
            self.end()
            raise

    def ask(self, request: bytes, descriptors: Sequence[int], seconds: float) -> dict[str, Any]:
        """One request. Raises :class:`_Gone`, TimeoutError, or EOFError where the child died over it."""
        self.socket.settimeout(seconds)
        try:
            socket.send_fds(self.socket, [request], descriptors)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Gone from error
        try:
            answer = self.socket.recv(MESSAGE_MAX)
        except ConnectionError as error:
            # A child that left idle never read the request: its end of the socket was closed with it unread.
            raise (_Gone if self.process.wait() == 0 else EOFError) from error
        if not answer:
            raise (_Gone if self.process.wait() == 0 else EOFError)
        return dict(json.loads(answer))

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
        self._places = threading.BoundedSemaphore(self.count)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._ended = False

    def ask(
        self, request: Mapping[str, Any], descriptors: Sequence[int], limit: str = "codec_timeout_seconds"
    ) -> dict[str, Any]:
        """Have a request performed within the seconds of a limit.

        Raises Refused where the object fails, NotThere, NotAcceptable or InvalidInput where the request does,
        Unavailable where no child can work.
        """
        encoded = json.dumps(request).encode()
        with self._places:
            answer = self._asked(encoded, descriptors, limit)
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
        return answer

    def close(self) -> None:
        """End the children."""
        with self._lock:
            self._ended = True
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

    def _asked(self, encoded: bytes, descriptors: Sequence[int], limit: str) -> dict[str, Any]:
        while True:
            child, is_new = self._child()
            try:
                with self._lock:
                    self._busy.add(child)
                answer = child.ask(encoded, descriptors, getattr(self._limits, limit))
            except _Gone:
                child.end()
                if is_new:
                    raise Unavailable("the codec process does not start") from None
                continue
            except TimeoutError:
                child.end()
                raise self._died(f"was killed at {limit}") from None
            except EOFError:
                code = child.end()
                said = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                raise self._died(f"died ({said})") from None
            except BaseException:
                child.end()
                raise
            finally:
                with self._lock:
                    self._busy.discard(child)
            self._keep(child)
            return answer

    def _died(self, how: str) -> Refused:
        _LOG.error("a codec process %s over one object", how)
        return Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, f"the codec process {how}")

    def _child(self) -> tuple[_Child, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), False
        try:
            return _Child(self._limits), True
        except OSError as error:
            raise Unavailable(f"the codec process does not start: {error.strerror or error}") from error

    def _keep(self, child: _Child) -> None:
        with self._lock:
            if not self._ended:
                self._idle.append(child)
                return
        child.end()
