"""The stream of a door: whether callers that are not registered are admitted there, and what they may do (NET-4)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from domain.address import normal_host
from domain.device import ALL_RIGHTS, WADO_RIGHTS, Right
from domain.errors import InvalidInput
from domain.event import Event

KIND = "admission"


class Door(StrEnum):
    """Where callers come in; the key of the door's stream."""

    DIMSE = "DIMSE"
    DICOMWEB = "DICOMweb"

    @property
    def rights(self) -> tuple[str, ...]:
        """The rights that there are at this door, in their order."""
        return ALL_RIGHTS if self is Door.DIMSE else WADO_RIGHTS


@dataclass(frozen=True, slots=True)
class AdmissionChanged(Event):
    """What a door grants to callers that are not registered.

    With ``accept_any`` they are admitted and have ``rights``; those that call from this machine itself (loopback) have
    every right of the door where ``trusts_this_machine``. Without ``accept_any`` only registered devices are admitted.
    """

    NAME: ClassVar[str] = "AdmissionChanged"
    door: str
    accept_any: bool
    rights: tuple[str, ...] = (Right.UPLOAD.value,)
    trusts_this_machine: bool = True

    def granted_at(self, address: str) -> tuple[str, ...]:
        """The rights of a caller that is not registered, by its IP address."""
        if not self.accept_any:
            return ()
        if self.trusts_this_machine and ipaddress.ip_address(normal_host(address)).is_loopback:
            return Door(self.door).rights
        return self.rights


FACTS = (AdmissionChanged,)


def fold(events: Iterable[Event]) -> AdmissionChanged | None:
    """What the door grants, or None where only the settings say it."""
    granted: AdmissionChanged | None = None
    for event in events:
        if isinstance(event, AdmissionChanged):
            granted = event
    return granted


def change(granted: AdmissionChanged | None, wanted: AdmissionChanged) -> list[Event]:
    """Grant something else. Raises :class:`InvalidInput` with every fault."""
    there = Door(wanted.door).rights
    if faults := [f"rights: {right!a} is no right at this door" for right in wanted.rights if right not in there]:
        raise InvalidInput(faults)
    return [] if granted == wanted else [wanted]
