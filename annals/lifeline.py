"""How a role learns that it shall end: by SIGTERM, by Ctrl-C, or because its supervisor is gone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from types import FrameType

from annals.ending import when_asked
from annals.supervisor import LIFELINE_VARIABLE


class Lifeline:
    """Set once when the process shall end; waiting on it is how a role's main thread spends its life."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._read, self._write = os.pipe()
        self.ended = threading.Event()
        os.set_blocking(self._write, False)
        # The interpreter writes here in whichever thread Linux gives the signal to; handlers run in the first only,
        # which waits.
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        when_asked(_noted)
        if descriptor := environment.get(LIFELINE_VARIABLE):
            threading.Thread(target=self._watch, args=(int(descriptor),), name="lifeline", daemon=True).start()

    def _watch(self, descriptor: int) -> None:
        while os.read(descriptor, 1):
            pass
        os.write(self._write, b"x")

    def wait(self) -> None:
        """Block until the process shall end."""
        os.read(self._read, 1)
        self.ended.set()

    def join(self, threads: Iterable[threading.Thread], seconds: float) -> None:
        """Wait, all in all so long, for threads that end when this has."""
        deadline = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _noted(_number: int, _frame: FrameType | None) -> None:
    """A signal only writes to the wake-up descriptor."""
