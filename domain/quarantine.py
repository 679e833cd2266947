"""The stream of one refused object whose bytes were kept aside (correctness C2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from domain.event import Event

KIND = "quarantine"


@dataclass(frozen=True, slots=True)
class InstanceQuarantined(Event):
    """A whole object was refused, since it is not what the request names; its bytes lie in a storage's quarantine.

    Both UIDs are what the request named: the data set may say otherwise, or nothing.
    """

    NAME: ClassVar[str] = "InstanceQuarantined"
    sop_instance_uid: str
    sop_class_uid: str
    refusal: str
    storage: str
    path: str
    digest: str
    size: int


FACTS = (InstanceQuarantined,)


def quarantine(_state: None, quarantined: InstanceQuarantined) -> list[Event]:
    """Record a refused object that was kept aside."""
    return [quarantined]
