"""TCP ports that are one test process's alone: no other takes a server's between two of its starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import cycle

_ALL = range(20_000, 32_000)
"""Below those that Linux gives to connections and to whoever listens on any."""
_EACH = 250


@cache
def reserve() -> Iterator[int]:
    """The ports of this process, over and over; called as it begins, since it holds a socket to its end."""
    for first in _ALL[::_EACH]:
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0annals-tests-ports-{first}")
        except OSError:
            mark.close()
            continue
        mark.detach()
        return cycle(range(first, first + _EACH))
    raise AssertionError("there are more test processes than ports for them")


def free_port() -> int:
    """A port that nobody listens on, and that no other test process is given."""
    for port in reserve():
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise AssertionError
