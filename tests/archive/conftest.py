"""A whole archive as a user runs it: ``annals serve`` in its own process with its own data folder and ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.archive.commands import commands
from tests.conftest import folder_that_others_enter, lay_database
from tests.ports import free_port

SMALL = {"ANNALS_WORKER__ENABLED": "false", "ANNALS_DIMSE__PROCESSES": "1"}
"""Settings of an archive without what its tests do not look at; every process takes a second of a core to start."""


PATIENT = {
    "ANNALS_LIMITS__READ_LAG_WAIT_SECONDS": "30",
    "ANNALS_LIMITS__HEALTH_PROBE_TIMEOUT_SECONDS": "10",
    "ANNALS_LIMITS__DRAIN_TIMEOUT_SECONDS": "20",
}
"""What an archive waits for longer than it would, since a machine that runs tests is busy."""


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def until_everywhere(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a condition holds so often on end that each process behind a port has been asked, and some time."""
    until(lambda: all(condition() for _ in range(12)), seconds, what)


class Archive:
    """One running archive and the tools of its users."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.environment = {
            **os.environ,
            "ANNALS_DIMSE__STORE_PORT": str(free_port()),
            "ANNALS_DIMSE__HOST": "127.0.0.1",
            "ANNALS_DIMSE__STORE_TLS": "false",
            "ANNALS_DIMSE__WORKLIST": "false",
            "ANNALS_DIMSE__WORKLIST_TLS": "false",
            "ANNALS_HTTP__PORT": str(free_port()),
            "ANNALS_DICOMWEB__PORT": str(free_port()),
            "ANNALS_DICOMWEB__HOST": "127.0.0.1",
            # More of them are for the tests of just that: every process takes a second of a core to start.
            "ANNALS_DICOMWEB__PROCESSES": "1",
            "ANNALS_HTTP__HOST": "127.0.0.1",
            "ANNALS_LIMITS__DEVICE_CALLS_A_MINUTE_MAX": "1000",
            # Whoever is refused right after a command is not taken for one of a flood.
            "ANNALS_LIMITS__DEVICES_LOOKED_UP_SECONDS": "1e-9",
            "ANNALS_LIMITS__STORAGE_FREE_MIN": "1048576",
            **PATIENT,
            **(settings or {}),
        }
        self.port, self.http_port, self.dicomweb_port = (
            int(self.environment[f"ANNALS_{door}_PORT"]) for door in ("DIMSE__STORE", "HTTP_", "DICOMWEB_")
        )
        self.lines = data.parent / f"{data.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def with_database(self) -> Archive:
        """Spare it the second that its first start takes for an embedded database; those without show that."""
        lay_database(self.data / "postgres")
        return self

    def begin(self) -> None:
        """Start it, and wait for nothing."""
        with self.lines.open("ab") as lines:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "annals", "serve", "--data", str(self.data)],
                env=self.environment,
                stderr=lines,
                stdout=lines,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def start(self, seconds: float = 120) -> Archive:
        self.begin()
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
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/health/ready", timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def dicomweb(self, path: str, **headers: str) -> int:
        """The status of a GET below the DICOMweb base path."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.dicomweb_port}/dicom-web/{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    def log_lines(self) -> str:
        return self.lines.read_text("utf-8", "replace") if self.lines.exists() else ""

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def annals(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = commands().run([*arguments, "--data", str(self.data)], self.environment, timeout_seconds=60)
        if check:
            done.check_returncode()
        return done

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

    def processes(self, argument: str = "annals") -> list[int]:
        """Every process of this archive that was started with an argument, as a role is; the database's apart.

        Their arguments are read once: one that is looked at again may be gone.
        """
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if {b"annals", str(self.data).encode(), argument.encode()} <= set(command):
                    found.append(int(entry.name))
        return found


@contextmanager
def running_archive(settings: Mapping[str, str] | None = None) -> Iterator[Archive]:
    """An archive with a data folder of its own that runs, and ends well."""
    with folder_that_others_enter() as folder:
        archive = Archive(folder / "data", settings)
        archive.with_database().start()
        try:
            yield archive
        finally:
            ended = archive.stop()
        assert ended == 0


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
    """One running archive for the tests of a module, which look at nothing that is derived."""
    with running_archive({"ANNALS_WORKER__ENABLED": "false"}) as running:
        yield running


@pytest.fixture(scope="session")
def shown_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """One running archive with objects of every kind that is shown, for all tests of rendering."""
    from tests.archive.shown_objects import store

    with running_archive() as running:
        store(running, tmp_path_factory.mktemp("shown"))
        yield running
