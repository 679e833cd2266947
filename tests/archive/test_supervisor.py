"""The supervisor alone: what of it an archive cannot be made to show."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

SUPERVISOR = """
import os
from annals.supervisor import Role, Supervisor
roles = [Role("too large", ("x" * 200_000,)), Role("version", ("--version",))]
def tend(is_stopping):
    raise ZeroDivisionError
raise SystemExit(Supervisor(roles, dict(os.environ), 60.0, tend).run())
"""


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_I4_what_cannot_be_started_or_tended_now_is_tried_again_and_the_others_are_kept_running(
    running: subprocess.Popen[str],
) -> None:
    assert running.stderr
    wanted = ["too large cannot be started", "version ended with 0"] * 2 + ["what is tended failed"]
    for line in running.stderr:
        if said := next((one for one in wanted if line.startswith(one)), ""):
            wanted.remove(said)
        if not wanted:
            break
    assert not wanted
    running.send_signal(signal.SIGTERM)
    running.stderr.read()
    assert running.wait(60) == 0
