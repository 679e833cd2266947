"""Runs commands of ``annals`` in processes of their own that need not import it each time.

One process (``python -m tests.archive.commands``) has everything imported and forks a child for each command, a JSON
line on its standard input.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from annals import collector


class Commands:
    """The process that forks; it ends when this one does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.archive.commands"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._said = b""
        self._lock = threading.Lock()

    def run(
        self, arguments: list[str], environment: Mapping[str, str], timeout_seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """What ``annals`` with these arguments said, and its exit code."""
        with self._lock, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            order = {
                "arguments": arguments,
                "environment": dict(environment),
                "said": [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (output, errors)],
                "folder": os.getcwd(),
            }
            self._write(json.dumps(order).encode() + b"\n")
            pid = int(self._line(timeout_seconds) or 0)
            code = self._line(timeout_seconds)
            if code is None:
                os.kill(pid, signal.SIGKILL)
                self._line(timeout_seconds)
                raise subprocess.TimeoutExpired(arguments, timeout_seconds)
            said = [_text(file.fileno()) for file in (output, errors)]
        return subprocess.CompletedProcess(arguments, int(code), *said)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._in, data) :]

    def _line(self, timeout_seconds: float) -> str | None:
        """The next line of the process, or None where it does not come in time."""
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._said:
            if not select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            piece = os.read(self._out, 4096)
            assert piece, "the process of the commands ended"
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()


@cache
def commands() -> Commands:
    """The one of this test process."""
    return Commands()


def _text(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode()


def _become(order: dict[str, object]) -> None:
    """Turn this child into what a shell would have started."""
    said, environment, arguments = order["said"], order["environment"], order["arguments"]
    assert isinstance(said, list)
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.chdir(str(order["folder"]))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["annals", *arguments]


def main() -> None:
    """Fork a child for each command, say its pid and how it ended."""
    with collector.imports():
        from adapters.dicom import index, json_model  # noqa: F401 - commands bring these when they need them
        from adapters.dimse import verification  # noqa: F401
        from adapters.files import storages  # noqa: F401
        from adapters.tls import keys, reading, revocation  # noqa: F401
        from annals import cli

    # Read to the byte: nothing of a later order may lie in a buffer that a child has too.
    with os.fdopen(os.dup(0), "rb", buffering=0) as orders:
        while line := orders.readline():
            pid = os.fork()
            if not pid:
                orders.close()
                _become(json.loads(line))
                sys.exit(cli.main())
            os.write(1, f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
