"""The stream of one device: who may call, from where, what it may do, and where C-MOVE sends to (manual 1.2).

A DICOM device is known by its AE title, a WADO device by its address.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import ClassVar

from domain.address import host_fault, is_address, normal_host
from domain.errors import InvalidInput
from domain.event import Event

KIND = "device"
DESCRIPTION_MAX = 128
_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")


class Kind(StrEnum):
    """How a device speaks: DIMSE under an AE title, or DICOMweb and WADO from an address."""

    DICOM = "DICOM"
    WADO = "WADO"


class Right(StrEnum):
    """What a device may do. A worklist query needs ``MWL`` and ``FIND``; a WADO device has no worklist."""

    UPLOAD = "UPLOAD"
    MWL = "MWL"
    DOWNLOAD = "DOWNLOAD"
    FIND = "FIND"


ALL_RIGHTS = tuple(right.value for right in Right)
WADO_RIGHTS = (Right.UPLOAD.value, Right.DOWNLOAD.value, Right.FIND.value)
PREFERRED_TRANSFER_SYNTAXES = {
    "": "As it is",
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless, Non-Hierarchical, First-Order Prediction",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 (lossless only)",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000 (lossless only)",
    "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000 with RPCL options (lossless only)",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.5": "RLE Lossless",
}


@dataclass(frozen=True, slots=True)
class DeviceAdded(Event):
    """A device became known.

    ``rights`` holds values of :class:`Right` in its order; facts of older programs lack them and keep what these
    devices could do. ``preferred_transfer_syntax`` is a UID, or empty for "as it is stored". ``certificate`` is the
    SHA-256 fingerprint of the uploaded certificate's DER form in lower-case hex, or empty. A WADO device has neither
    AE title nor port (0).
    """

    NAME: ClassVar[str] = "DeviceAdded"
    ae_title: str
    host: str
    port: int
    description: str = ""
    rights: tuple[str, ...] = ALL_RIGHTS
    preferred_transfer_syntax: str = ""
    use_tls: bool = False
    certificate: str = ""
    kind: str = Kind.DICOM.value


@dataclass(frozen=True, slots=True)
class DeviceChanged(DeviceAdded):
    """A known device got another address, description, rights or way of talking."""

    NAME: ClassVar[str] = "DeviceChanged"


@dataclass(frozen=True, slots=True)
class DeviceRemoved(Event):
    """A device is no longer known. A WADO device is named by its host, any other by its AE title."""

    NAME: ClassVar[str] = "DeviceRemoved"
    ae_title: str
    host: str = ""
    kind: str = Kind.DICOM.value


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


def key(kind: str, ae_title: str, host: str) -> str:
    """What names a device's stream: its AE title; a WADO device's host after a character no AE title can have."""
    return ae_title if kind == Kind.DICOM else f"WADO\\{normal_host(host)}"


def key_of(device: DeviceAdded | DeviceRemoved) -> str:
    """The key of a device's stream."""
    return key(device.kind, device.ae_title, device.host)


def rights_of(names: Iterable[str]) -> tuple[str, ...]:
    """Rights in their order, each once; a name that is no right stays at the end, for :func:`add` to refuse."""
    wanted = {name.upper() for name in names}
    return (*(right for right in ALL_RIGHTS if right in wanted), *sorted(wanted - set(ALL_RIGHTS)))


@dataclass(frozen=True, slots=True)
class Clients:
    """How many devices there are, DICOM and WADO together, and how many there may be; None for any number (DEV-6)."""

    used: int = 0
    allowed: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether no device can be added. Where there are more than allowed, those stay."""
        return self.allowed is not None and self.used >= self.allowed

    def __str__(self) -> str:
        return f"{self.used} of {'any number' if self.allowed is None else self.allowed} used"


def add(device: DeviceAdded | None, wanted: DeviceAdded, clients: Clients = Clients()) -> list[Event]:
    """Make a device known, or change the one that has this key. All faults are reported at once."""
    faults = _faults(wanted)
    # One that has it already may be changed in what else it is.
    if "%" in wanted.host and is_address(wanted.host) and (device is None or device.host != wanted.host):
        faults.append("host: has a zone (what follows %), by which no caller is known: leave it out")
    if device is None and clients.is_full:
        faults.append(
            f"clients: {clients}: remove one that is no longer needed, raise clients_max or install a licence"
        )
    if faults:
        raise InvalidInput(faults)
    if device is None:
        return [wanted]
    return [] if astuple(device) == astuple(wanted) else [DeviceChanged(*astuple(wanted))]


def lacking(rights: Collection[str], needed: Iterable[Right]) -> tuple[str, ...]:
    """Those of the needed rights that are not there."""
    return tuple(right.value for right in needed if right not in rights)


def remove(device: DeviceAdded | None) -> list[Event]:
    """Forget a device; forgetting an unknown one is nothing."""
    return [] if device is None else [DeviceRemoved(device.ae_title, device.host, device.kind)]


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


def _faults(wanted: DeviceAdded) -> list[str]:
    faults = [host_fault(wanted.host), *(f"rights: {right!a} is no right" for right in _unknown(wanted))]
    if wanted.kind == Kind.DICOM:
        faults += _dicom_faults(wanted)
    elif wanted.kind == Kind.WADO:
        faults += _wado_faults(wanted)
    else:
        faults.append("kind: neither DICOM nor WADO")
    if len(wanted.description) > DESCRIPTION_MAX:
        faults.append(f"description: longer than {DESCRIPTION_MAX} characters")
    if any(not c.isprintable() for c in wanted.description):
        faults.append("description: has a control character")
    return [fault for fault in faults if fault]


def _dicom_faults(wanted: DeviceAdded) -> list[str]:
    faults = [ae_title_fault(wanted.ae_title)]
    if not 1 <= wanted.port <= 65535:
        faults.append("port: not between 1 and 65535")
    if wanted.preferred_transfer_syntax not in PREFERRED_TRANSFER_SYNTAXES:
        faults.append("preferred transfer syntax: not one that can be sent")
    if wanted.certificate and not _FINGERPRINT.match(wanted.certificate):
        faults.append("certificate: not a SHA-256 fingerprint")
    if wanted.use_tls and not wanted.certificate:
        faults.append("use TLS: needs a certificate")
    return faults


def _wado_faults(wanted: DeviceAdded) -> list[str]:
    faults = ["rights: a WADO device has no worklist"] if Right.MWL in wanted.rights else []
    if (wanted.ae_title, wanted.port) != ("", 0):
        faults.append("WADO device: has neither AE title nor port")
    if (wanted.preferred_transfer_syntax, wanted.use_tls, wanted.certificate) != ("", False, ""):
        faults.append("WADO device: has neither preferred transfer syntax nor TLS of its own")
    return faults


def _unknown(wanted: DeviceAdded) -> list[str]:
    return [right for right in wanted.rights if right not in ALL_RIGHTS]
