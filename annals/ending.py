"""How a process is asked to end: by SIGTERM, by Ctrl-C, or because its terminal goes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


def when_asked(handler: Handler) -> None:
    """Have a handler called from now on; with nohup(1) a process outlives its terminal."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def exit_when_asked() -> None:
    """Unwind what has begun, once: that a process ends that was asked to is no failure."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        when_asked(lambda *_: None)
        sys.exit(0)

    when_asked(leave)


def interrupt_when_asked() -> None:
    """Let the other ways be as Ctrl-C is, where whoever started this process has not had them ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
