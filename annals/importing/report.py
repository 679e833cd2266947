"""The two reports of an import: files that could not be read, files that were not sent. One line a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from annals.history import escaped


class Report:
    """A text file that exists only when it has a line: the path, a tab, the reason."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._file: IO[str] | None = None

    def add(self, path: bytes, reason: str) -> None:
        """Write one line, at once: an import may be ended at any time. Raises OSError."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8", buffering=1)
        self._file.write(f"{shown(path)}\t{escaped(reason)}\n")
        self.lines += 1

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def shown(path: bytes) -> str:
    """A path as text on one line: what cannot be printed is escaped."""
    return escaped(os.fsdecode(path).encode("utf-8", "backslashreplace").decode())
