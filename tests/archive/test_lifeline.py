"""How a role's process learns that it shall end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

MAIN_THREAD_TAKES_NO_SIGNAL = """
import signal, threading
from annals.lifeline import Lifeline
lifeline = Lifeline({})
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
print("waits", flush=True)
lifeline.wait()
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_P15_a_role_ends_by_a_signal_that_another_thread_than_its_first_takes(number: signal.Signals) -> None:
    # Linux gives a signal to any thread, as right after SIGCONT, and Python's own handlers run in the first only.
    with subprocess.Popen(
        [sys.executable, "-c", MAIN_THREAD_TAKES_NO_SIGNAL], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "waits\n"
            process.send_signal(number)
            assert process.communicate(timeout=30)[0] == "ended\n"
        finally:
            process.kill()
