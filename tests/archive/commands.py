"""Runs commands of ``annals`` in processes of their own that need not import it each time.

One process (``python -m tests.archive.commands``) has everything imported and forks a child for each command, a JSON
line on its standard input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache

from annals import collector
from tests.line_process import LineProcess, told


class Commands:
    """The process that forks; it ends when this one does."""

    def __init__(self) -> None:
        self._process = LineProcess("tests.archive.commands")
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
            self._process.tell(json.dumps(order).encode() + b"\n")
            pid = self._process.line(timeout_seconds)
            assert pid, "nothing was begun"
            code = self._process.line(timeout_seconds)
            if code is None:
                os.kill(int(pid), signal.SIGKILL)
                self._process.line(timeout_seconds)
                raise subprocess.TimeoutExpired(arguments, timeout_seconds)
            said = [_text(file.fileno()) for file in (output, errors)]
        return subprocess.CompletedProcess(arguments, int(code), *said)


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

    for line in told():
        pid = os.fork()
        if not pid:
            _become(json.loads(line))
            sys.exit(cli.main())
        os.write(1, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
