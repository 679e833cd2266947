"""The stream of one association: how it ended, where that was not a release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from domain.event import Event

KIND = "association"


@dataclass(frozen=True, slots=True)
class AssociationAborted(Event):
    """An association on which objects were received ended without a release (correctness C2.9)."""

    NAME: ClassVar[str] = "AssociationAborted"
    calling_ae_title: str
    called_ae_title: str
    instances_stored: int
    half_received: int
    why: str


FACTS = (AssociationAborted,)


def abort(_state: None, aborted: AssociationAborted) -> list[Event]:
    """Record an association that ended early."""
    return [aborted]
