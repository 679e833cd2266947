"""Asked to end at any moment, an archive or a command ends in time, and leaves no process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.archive.conftest import Archive, until
from tests.durability import machine

DATABASE, STORAGE = "postgres/data/postmaster.pid", "storage/.annals-storage"


@pytest.mark.parametrize("reached", [DATABASE, STORAGE], ids=["database", "storage"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_P15_an_archive_that_is_asked_to_end_while_it_starts_leaves_no_process(
    make_archive: Callable[..., Archive], number: signal.Signals, reached: str
) -> None:
    archive = make_archive().with_database()
    archive.begin()
    until((archive.data / reached).exists, 60, f"{reached} is there")
    assert archive.stop(number) == 0
    assert archive.processes() == []
    assert machine.inside(archive.data / "postgres") == set()
    assert "Traceback" not in archive.log_lines()


def test_P15_an_archive_whose_terminal_goes_ends_as_by_SIGTERM(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive().with_database().start()
    assert archive.stop(signal.SIGHUP) == 0
    assert archive.processes() == []
    assert machine.inside(archive.data / "postgres") == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_is_asked_to_end_ends_the_database_that_it_has_started(
    make_archive: Callable[..., Archive], number: signal.Signals
) -> None:
    archive = make_archive().with_database()
    command = [sys.executable, "-m", "annals", "events", "--follow", "--data", str(archive.data)]
    with subprocess.Popen(command, env=archive.environment, stderr=subprocess.PIPE, text=True) as running:
        until((archive.data / DATABASE).exists, 60, "it has started the database")
        running.send_signal(number)
        assert "Traceback" not in running.communicate(timeout=60)[1]
    assert machine.inside(archive.data / "postgres") == set()
