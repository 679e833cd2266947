"""What a person sees of an import: a bar with rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    FileSizeColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from annals.importing.report import shown
from annals.importing.walk import count

_LINE_EVERY_SECONDS = 10.0


class Progress:
    """Counts files while they are dealt with. Use as a context; the total is counted beside the work."""

    def __init__(self, root: bytes, console: Console) -> None:
        self._console = console
        self._root = root
        self._began = time.monotonic()
        self._next_line = self._began + _LINE_EVERY_SECONDS
        self._files = 0
        self._sent = 0
        self._bytes = 0
        self._total: int | None = None
        self._bar = RichProgress(
            TextColumn("{task.fields[files]}"),
            BarColumn(bar_width=None),
            FileSizeColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, files="0 files", rate="")

    def __enter__(self) -> Progress:
        self._bar.start()
        threading.Thread(target=self._count, name="count", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def done(self, size: int, *, sent: bool) -> None:
        """One file of so many bytes is dealt with; the rate is of those that were sent."""
        self._files += 1
        self._bytes += size
        self._sent += sent
        seconds = max(time.monotonic() - self._began, 0.001)
        rate = f"{self._sent / seconds:.0f} files/s"
        files = f"{self._files} of {self._total} files" if self._total is not None else f"{self._files} files"
        self._bar.update(self._task, completed=self._bytes, files=files, rate=rate)
        if not self._console.is_terminal and time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + _LINE_EVERY_SECONDS
            self._console.print(f"{files}, {rate}", highlight=False)

    def say(self, path: bytes, reason: str) -> None:
        """Tell what became of a file that was not sent."""
        self._console.print(Text(f"{shown(path)}: {reason}"), soft_wrap=True)

    def _count(self) -> None:
        files, size = count(self._root)
        self._total = files
        self._bar.update(self._task, total=max(size, 1))
