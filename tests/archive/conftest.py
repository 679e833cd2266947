"""A whole archive as a user runs it: ``annals serve`` in its own process with its own data folder and ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import folder_that_others_enter


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Archive:
    """One running archive and the tools of its users."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.port = free_port()
        self.http_port = free_port()
        self.environment = {
            **os.environ,
            "ANNALS_DIMSE__STORE_PORT": str(self.port),
            "ANNALS_DIMSE__HOST": "127.0.0.1",
            "ANNALS_HTTP__PORT": str(self.http_port),
            "ANNALS_HTTP__HOST": "127.0.0.1",
            "ANNALS_LIMITS__STORAGE_FREE_MIN": "1048576",
            **(settings or {}),
        }
        self.lines = data.parent / f"{data.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 60) -> Archive:
        with self.lines.open("ab") as lines:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "annals", "serve", "--data", str(self.data)],
                env=self.environment,
                stderr=lines,
                stdout=lines,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            until(lambda: self.ready() or self._died(), seconds, "the archive is ready")
        except AssertionError:
            self.stop()
            raise AssertionError(self.log_lines()) from None
        return self

    def _died(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            raise AssertionError(self.log_lines())
        return False

    def ready(self) -> bool:
        try:
            return self.health()[0] == 200
        except (OSError, ValueError):
            # Not there yet, or the last words of a predecessor that ends at this port.
            return False

    def health(self) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/health/ready", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def log_lines(self) -> str:
        return self.lines.read_text("utf-8", "replace") if self.lines.exists() else ""

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def annals(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "annals", *arguments, "--data", str(self.data)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
        )

    def dcmtk(
        self, tool: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A DCMTK client called on this archive, with one address before ``arguments``."""
        return self.dcmtk_to(tool, self.port, *arguments, environment=environment)

    def dcmtk_to(
        self, tool: str, port: int, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A DCMTK client called on a port of this machine."""
        return subprocess.run(
            [tool, "-aec", "ANNALS", "127.0.0.1", str(port), *arguments],
            env={**os.environ, "TCP_NODELAY": "1", **(environment or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )

    def processes(self) -> list[int]:
        """Every process of this archive: those that name its data folder, the database's apart."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"annals" in command and str(self.data).encode() in command:
                    found.append(int(entry.name))
        return found


@pytest.fixture
def make_archive() -> Iterator[Callable[..., Archive]]:
    """Makes archives with settings; all are stopped and their databases with them."""
    with folder_that_others_enter() as folder:
        made: list[Archive] = []

        def make(settings: Mapping[str, str] | None = None, data: Path | None = None) -> Archive:
            made.append(Archive(data or folder / f"data{len(made)}", settings))
            return made[-1]

        yield make
        for archive in made:
            if archive.process and archive.process.poll() is None:
                archive.stop()


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    """One running archive for the tests of a module."""
    with folder_that_others_enter() as folder:
        running = Archive(folder / "data").start()
        yield running
        assert running.stop() == 0
