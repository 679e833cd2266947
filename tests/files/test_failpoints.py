"""Failpoints cost nothing when off and act as the environment says (D30)."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from adapters.files.failpoints import VARIABLE, failpoints, off
from domain.errors import InvalidInput


def test_without_the_variable_nothing_acts() -> None:
    for environment in ({}, {VARIABLE: ""}, {VARIABLE: " ; "}):
        assert failpoints(environment) is off
    off("store.after_rename")


@pytest.mark.parametrize(("rule", "fails"), [("EIO", [1, 2, 3, 4]), ("EIO@2", [2]), ("EIO@3+", [3, 4])])
def test_a_rule_acts_at_its_passes(rule: str, fails: list[int]) -> None:
    failpoint = failpoints({VARIABLE: f"store.before_sync={rule}"})
    failed = []
    for number in range(1, 5):
        failpoint("store.after_sync")
        try:
            failpoint("store.before_sync")
        except OSError as failure:
            failed.append((number, failure.errno))
    assert failed == [(number, errno.EIO) for number in fails]


def test_every_bad_rule_is_named() -> None:
    with pytest.raises(InvalidInput) as error:
        failpoints({VARIABLE: "a=EIO;b=EWHAT;c;d=kill@0;e=kill\n"})
    assert len(error.value.faults) == 3
    assert all(VARIABLE in fault for fault in error.value.faults)


PASS = "import os; from adapters.files.failpoints import failpoints; failpoints(os.environ)('a'); print('passed')"


def test_kill_ends_the_process_and_stop_pauses_it() -> None:
    killed = subprocess.run([sys.executable, "-c", PASS], env={**os.environ, VARIABLE: "a=kill"}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    stopped = subprocess.Popen(
        [sys.executable, "-c", PASS], env={**os.environ, VARIABLE: "a=stop"}, stdout=subprocess.PIPE
    )
    _, status = os.waitpid(stopped.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(stopped.pid, signal.SIGCONT)
    assert stopped.communicate(timeout=60)[0] == b"passed\n"
