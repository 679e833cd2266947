"""How many connections to the database each role may keep, and all processes of an archive together."""

from __future__ import annotations

from annals.settings import Settings

READER = 12
"""Two for each read model."""

WEB = WORKER = 4
DICOMWEB = 16
_DIMSE_MIN = 4
_DIMSE_SHARE = 4
_OF_THE_LOG = 11
"""What a process has beside these: those of its log, and the one on which it is woken up."""

_COMMANDS = 40


def of_dimse(settings: Settings) -> int:
    """Of a process that answers DIMSE: not all associations have something to store at once."""
    return max(_DIMSE_MIN, settings.as_limits().associations_max // _DIMSE_SHARE)


def together(settings: Settings) -> int:
    """Of all processes, and of some commands beside them."""
    processes = [READER, WEB, WORKER]
    processes += [of_dimse(settings)] * settings.dimse_processes
    processes += [DICOMWEB] * settings.dicomweb_processes
    return sum(one + _OF_THE_LOG for one in processes) + _COMMANDS
