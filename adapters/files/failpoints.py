"""Failpoints: named places where a test stops, fails or kills a real process (reliability D30).

``ANNALS_FAILPOINTS`` is read once, at the composition root: ``store.after_rename=kill@3;store.before_fsync=EIO``.
An action is ``kill`` (SIGKILL to itself), ``stop`` (SIGSTOP to itself, a pause until SIGCONT) or the name of an
``errno`` that is raised as :class:`OSError`. ``@n`` acts at the n-th pass only, ``@n+`` from the n-th on; without it
every pass acts.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from domain.errors import InvalidInput
from processes.ports import Failpoints

VARIABLE = "ANNALS_FAILPOINTS"
_RULE = re.compile(r"(?P<name>[a-z][a-z_.]*)=(?P<action>kill|stop|E[A-Z0-9]+)(@(?P<pass>[1-9][0-9]*)(?P<on>\+)?)?\Z")


def off(name: str) -> None:
    """No failpoint acts."""


@dataclass(slots=True)
class Rule:
    """What happens at one failpoint: ``action`` at the ``first`` pass, and at all after it unless ``once``."""

    action: Callable[[], None]
    first: int = 1
    once: bool = False
    passes: Iterator[int] = field(default_factory=lambda: itertools.count(1))


class ArmedFailpoints:
    """Failpoints with rules; names without a rule pass."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = dict(rules)

    def __call__(self, name: str) -> None:
        """Pass the place called ``name``: nothing, an OSError, a pause, or the end of the process."""
        rule = self._rules.get(name)
        if rule is None:
            return
        number = next(rule.passes)
        if number == rule.first or (number > rule.first and not rule.once):
            rule.action()


def failpoints(environment: Mapping[str, str]) -> Failpoints:
    """The failpoints that the environment asks for; :func:`off` where it asks for none.

    Raises :class:`InvalidInput` with every rule that cannot be read.
    """
    text = environment.get(VARIABLE, "")
    rules: dict[str, Rule] = {}
    faults: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        if (match := _RULE.match(part)) is None or (action := _action(match["action"])) is None:
            faults.append(f"{VARIABLE}: {part!a} is not name=kill, name=stop or name=ERRNO, each with @n or @n+")
            continue
        rules[match["name"]] = Rule(action, int(match["pass"] or 1), once=bool(match["pass"]) and not match["on"])
    if faults:
        raise InvalidInput(faults)
    return ArmedFailpoints(rules) if rules else off


def _action(name: str) -> Callable[[], None] | None:
    if name == "kill":
        return lambda: os.kill(os.getpid(), signal.SIGKILL)
    if name == "stop":
        # To this thread: where another takes the signal for the process, this one goes on until that one has its turn.
        return lambda: signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    if (number := getattr(errno, name, None)) is None:
        return None
    return lambda: _fail(number)


def _fail(number: int) -> None:
    raise OSError(number, os.strerror(number))
