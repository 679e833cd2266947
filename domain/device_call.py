"""The stream of one caller's minute: which devices somebody let the archive call, no more than are allowed (B56)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from domain.errors import Because, Refused
from domain.event import Event

KIND = "device-call"


@dataclass(frozen=True, slots=True)
class DeviceCalled(Event):
    """Somebody let the archive call a device to see whether it is there; a WADO device has no AE title and port 0."""

    NAME: ClassVar[str] = "DeviceCalled"
    ae_title: str
    host: str
    port: int


FACTS = (DeviceCalled,)


def fold(events: Iterable[Event]) -> int:
    """How many calls there were."""
    return sum(isinstance(event, DeviceCalled) for event in events)


def call(calls: int, called: DeviceCalled, calls_max: int) -> list[Event]:
    """Call once more within the minute. Raises :class:`Refused` past the allowed number."""
    if calls >= calls_max:
        raise Refused(Because.OUT_OF_RESOURCES, f"no more than {calls_max} calls a minute: come again in the next")
    return [called]
