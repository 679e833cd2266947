"""The temp folder (STO-3): for conversions, downloads and bulk data, never for what a storage keeps (decision 12)."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from domain.errors import Because, Refused
from domain.limits import Limits

_LOG = logging.getLogger("annals.files")


class TemporaryFolder:
    """Makes nameless temp files, as long as the folder has space; what is wrong with it is logged once."""

    def __init__(self, limits: Limits, path: str = "") -> None:
        """Without ``path`` it is the system's."""
        self.path = path or tempfile.gettempdir()
        self._limits = limits
        self._lock = threading.Lock()
        self._trouble = ""

    def free(self) -> int:
        """The free bytes of its file system; 0 where it is not there."""
        try:
            figures = os.statvfs(self.path)
        except OSError:
            return 0
        return figures.f_bavail * figures.f_frsize

    @contextmanager
    def file(self) -> Iterator[int]:
        """The descriptor of a new file that goes with its last descriptor. Raises A700 where there is no space."""
        if self.free() < self._limits.temp_free_min:
            raise self._refusal("is not there, or has less free space than temp_free_min")
        try:
            file = tempfile.TemporaryFile(dir=self.path)  # noqa: SIM115 - closed below
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from error
        with file:
            self._say("")
            yield file.fileno()

    def _refusal(self, reason: str) -> Refused:
        self._say(reason)
        return Refused(Because.OUT_OF_RESOURCES, f"the temp folder {reason}")

    def _say(self, reason: str) -> None:
        with self._lock:
            is_new = reason != self._trouble
            self._trouble = reason
        if is_new and reason:
            _LOG.error("nothing is converted, no bulk data is received: the temp folder %s %s", self.path, reason)
        elif is_new:
            _LOG.warning("the temp folder %s is used again", self.path)
