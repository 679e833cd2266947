"""A part of the tests as a process of its own that is told lines and says lines."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class LineProcess:
    """A module run as a program; it ends when its input does."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        self._said = b""
        self.pid = self._process.pid

    def tell(self, data: bytes) -> None:
        """Say something to it."""
        while data:
            data = data[os.write(self._in.fileno(), data) :]

    def line(self, timeout_seconds: float) -> str | None:
        """The next line that it says, or None where that does not come in time."""
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._said:
            if not select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            piece = os.read(self._out.fileno(), 65536)
            assert piece, f"process {self.pid} ended"
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        """Wait for its end."""
        self._in.close()
        self._process.wait()
        self._out.close()


def told() -> Iterator[bytes]:
    """The lines that this process is told, read to the byte: no later one lies in a buffer that a child has."""
    with open(0, "rb", buffering=0, closefd=False) as lines:
        yield from iter(lines.readline, b"")
