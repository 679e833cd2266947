"""The supervisor: starts the roles as processes, restarts what dies with back-off, drains on SIGTERM.

A child learns of its parent's end by a pipe that closes (the lifeline), so that nothing outlives a killed supervisor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from annals.ending import when_asked
from domain.errors import AnnalsError

_LOG = logging.getLogger("annals.supervisor")
LIFELINE_VARIABLE = "ANNALS_LIFELINE"
SOCKETS_VARIABLE = "ANNALS_LISTENING_SOCKETS"
_BACKOFF_FIRST_SECONDS = 0.2
_BACKOFF_MAX_SECONDS = 5.0
_HEALTHY_AFTER_SECONDS = 30.0
_ENDING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of child process: its arguments after ``annals``, and the listening sockets it inherits, by name."""

    name: str
    arguments: tuple[str, ...]
    sockets: Mapping[str, int] = field(default_factory=dict)
    drain_order: int = 0


@dataclass(slots=True)
class _Child:
    role: Role
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = 0.0
    restart_at: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Keeps the children running until it is asked to stop.

    ``tend`` is called about once a second (it looks after the embedded database) with the question whether all stops.
    """

    roles: Sequence[Role]
    environment: dict[str, str]
    drain_timeout_seconds: float
    tend: Callable[[Callable[[], bool]], None]
    _children: list[_Child] = field(default_factory=list)
    _stopping: bool = False
    _trouble: str = ""

    def run(self) -> int:
        """Run until it is asked to end; returns the exit code (0: all drained in time)."""
        lifeline_read, lifeline_write = os.pipe()
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        # Stays after the run: asked again to stop, the caller still ends what it has begun, the database first.
        when_asked(self._stop)
        previous = signal.signal(signal.SIGCHLD, _noted)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._children = [_Child(role) for role in self.roles]
        try:
            while not self._stopping:
                self._restart_the_dead(lifeline_read)
                self._tend()
                select.select([wake_read], [], [], self._pause())
                _drain_pipe(wake_read)
            return self._drain()
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, previous)
            for child in self._children:
                if child.process and child.process.poll() is None:
                    child.process.kill()
                    child.process.wait()
            for descriptor in (lifeline_read, lifeline_write, wake_read, wake_write):
                os.close(descriptor)

    def _tend(self) -> None:
        """What cannot be mended now is tried again in the next round; its reason is logged once while it lasts."""
        try:
            self.tend(lambda: self._stopping)
        except (AnnalsError, OSError) as error:
            if str(error) != self._trouble:
                _LOG.error("%s", error)
            self._trouble = str(error)
        except Exception as error:  # noqa: BLE001 - the children, which may do without, would be killed with this one
            if repr(error) != self._trouble:
                _LOG.exception("what is tended failed in an unforeseen way")
            self._trouble = repr(error)
        else:
            self._trouble = ""

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _pause(self) -> float:
        now = time.monotonic()
        due = [child.restart_at - now for child in self._children if child.process is None]
        return max(0.01, min([1.0, *due]))

    def _restart_the_dead(self, lifeline: int) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process and (code := child.process.poll()) is not None:
                if now - child.started > _HEALTHY_AFTER_SECONDS:
                    child.backoff = 0.0
                child.process = None
                _put_off(child, now, f"ended with {code}")
            if child.process is None and now >= child.restart_at:
                child.started = now
                try:
                    child.process = self._start(child.role, lifeline)
                except OSError as error:
                    # No memory or no place for a process now: the others go on.
                    _put_off(child, now, f"cannot be started: {error}")

    def _start(self, role: Role, lifeline: int) -> subprocess.Popen[bytes]:
        environment = self.environment | {
            LIFELINE_VARIABLE: str(lifeline),
            SOCKETS_VARIABLE: " ".join(f"{name}:{descriptor}" for name, descriptor in role.sockets.items()),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "annals", *role.arguments],
            env=environment,
            pass_fds=[lifeline, *role.sockets.values()],
            stdin=subprocess.DEVNULL,
            # Out of the terminal's foreground, but in this session: where Linux groups processes by session (autogroup
            # in sched(7)), each session has an equal share of the cores, and niceness counts within one only.
            process_group=0,
        )

    def _drain(self) -> int:
        """Stop the children in their order; what does not end within the drain time is killed."""
        _LOG.info("stopping: no new work is accepted")
        deadline = time.monotonic() + self.drain_timeout_seconds
        code = 0
        for order in sorted({child.role.drain_order for child in self._children}):
            # Who waits for the others to end has some time also where these took all of it.
            deadline = max(deadline, time.monotonic() + _ENDING_SECONDS)
            running = [child for child in self._children if child.role.drain_order == order and child.process]
            for child in running:
                assert child.process
                with contextlib.suppress(ProcessLookupError):
                    child.process.send_signal(signal.SIGTERM)
            for child in running:
                assert child.process
                try:
                    child.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    _LOG.error("%s did not end within the drain time and is killed", child.role.name)
                    child.process.kill()
                    child.process.wait()
                    code = 1
        return code


def _put_off(child: _Child, now: float, why: str) -> None:
    child.backoff = min(max(child.backoff * 2, _BACKOFF_FIRST_SECONDS), _BACKOFF_MAX_SECONDS)
    child.restart_at = now + child.backoff
    _LOG.error("%s %s; again in %.1f s", child.role.name, why, child.backoff)


def _noted(*_: object) -> None:
    """SIGCHLD only wakes the loop through the wake-up descriptor."""


def _drain_pipe(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass
