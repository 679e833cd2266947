"""The memory files that small results come in: some are written again, which spares their pages' coming and going."""

from __future__ import annotations

import os
import threading

from domain.limits import MIB

KEPT_MAX = 1 * MIB
"""How large a file may be that is kept: encoding more takes so long that its pages hardly count."""


class MemoryFiles:
    """Keeps up to ``count`` files for what comes next."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._kept: list[int] = []

    def take(self) -> int:
        """The descriptor of a file, which is cut to the length of what is written into it."""
        with self._lock:
            if self._kept:
                return self._kept.pop()
        return os.memfd_create("converted")

    def keep(self, descriptor: int) -> None:
        """Take back a file of at most :data:`KEPT_MAX` bytes that were copied: no queue has its pages (decision 11)."""
        with self._lock:
            if len(self._kept) < self._count:
                self._kept.append(descriptor)
                return
        os.close(descriptor)

    def close(self) -> None:
        """Close what is kept, and keep nothing more."""
        with self._lock:
            kept, self._kept, self._count = self._kept, [], 0
        for descriptor in kept:
            os.close(descriptor)
