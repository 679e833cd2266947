"""The stream of one DICOM device: an AE title with the address that C-MOVE sends to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from domain.errors import InvalidInput
from domain.event import Event

KIND = "device"
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class DeviceAdded(Event):
    """A device became known."""

    NAME: ClassVar[str] = "DeviceAdded"
    ae_title: str
    host: str
    port: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class DeviceChanged(DeviceAdded):
    """A known device got another address or description."""

    NAME: ClassVar[str] = "DeviceChanged"


@dataclass(frozen=True, slots=True)
class DeviceRemoved(Event):
    """A device is no longer known."""

    NAME: ClassVar[str] = "DeviceRemoved"
    ae_title: str


FACTS = (DeviceAdded, DeviceChanged, DeviceRemoved)


def fold(events: Iterable[Event]) -> DeviceAdded | None:
    """The device as it is known now, or None."""
    device: DeviceAdded | None = None
    for event in events:
        match event:
            case DeviceAdded():
                device = event
            case DeviceRemoved():
                device = None
    return device


def add(device: DeviceAdded | None, wanted: DeviceAdded) -> list[Event]:
    """Make a device known, or change the one that has this AE title. All faults are reported at once."""
    if faults := _faults(wanted):
        raise InvalidInput(faults)
    if device is None:
        return [wanted]
    changed = DeviceChanged(wanted.ae_title, wanted.host, wanted.port, wanted.description)
    same = (device.host, device.port, device.description) == (wanted.host, wanted.port, wanted.description)
    return [] if same else [changed]


def remove(device: DeviceAdded | None, ae_title: str) -> list[Event]:
    """Forget a device; forgetting an unknown one is nothing."""
    return [] if device is None else [DeviceRemoved(ae_title)]


def ae_title_fault(ae_title: str) -> str:
    """What is wrong with an AE title, or nothing (VR AE, PS3.5 6.2: 1 to 16 characters, no backslash, no control)."""
    if not ae_title.strip(" "):
        return "AE title: is empty"
    if len(ae_title) > 16:
        return "AE title: longer than 16 characters"
    if any(not 0x20 <= ord(c) < 0x7F or c == "\\" for c in ae_title):
        return "AE title: has a backslash, a control character or a character outside ASCII"
    if ae_title != ae_title.strip(" "):
        return "AE title: begins or ends with a space"
    return ""


def host_fault(host: str) -> str:
    """What is wrong with a host, or nothing (DEV-1: an IP address, or a name of labels up to 63, 255 in all)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        if not host or len(host) > 255 or not all(_LABEL.match(label) for label in labels):
            return "host: neither an IP address nor a host name (letters, digits, hyphen; 63 a label, 255 in all)"
        if all(label.isdigit() for label in labels):
            return "host: looks like an IP address and is none"
    return ""


def _faults(wanted: DeviceAdded) -> list[str]:
    faults = [ae_title_fault(wanted.ae_title), host_fault(wanted.host)]
    if not 1 <= wanted.port <= 65535:
        faults.append("port: not between 1 and 65535")
    if len(wanted.description) > 128:
        faults.append("description: longer than 128 characters")
    return [fault for fault in faults if fault]
