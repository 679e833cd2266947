"""Who is admitted at a door, and what it may do there: registered devices, and all others (NET-4, DEV-4, DEV-5)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from domain import device
from domain.address import normal_host
from domain.admission import AdmissionChanged, Door
from domain.device import DeviceAdded, Right
from domain.errors import AnnalsError, Because, Refused, Unavailable


class Registered(Protocol):
    """The registered devices; :class:`processes.known_devices.KnownDevices` says more."""

    def titled(self, ae_title: str) -> DeviceAdded | None:
        """The DICOM device with this AE title, as it was a moment ago."""
        ...

    def wado_at(self, address: str, *, wait: bool = False) -> Sequence[DeviceAdded]:
        """The WADO devices at an address, as they were a moment ago; ``wait`` as in :meth:`is_at`."""
        ...

    def admission(self, door: Door) -> AdmissionChanged | None:
        """What a door grants to callers that are not registered, where it was ever changed."""
        ...

    def look_again(self) -> None:
        """Bring what is remembered up to now; a flood of callers does not make that often."""
        ...

    def registered(self, ae_title: str) -> DeviceAdded | None:
        """The device with this AE title, as it is now."""
        ...

    def is_at(self, device: DeviceAdded, address: str, *, wait: bool = False) -> bool:
        """Whether an address is the device's; with ``wait`` a name that is being resolved is waited for."""
        ...


class TurnedAway(Enum):
    """Why a peer gets no association. The value is what an administrator reads."""

    CALLED_AE_TITLE = "the called AE title is not that of this archive"
    CALLING_AE_TITLE = "the calling AE title is not registered"
    ADDRESS = "the address is not that of the registered device"
    NOT_NOW = "the registered devices are not known yet"


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules of the DIMSE door. ``initially`` holds until the door is changed by command.

    A registered AE title that calls from another address than its device's is no registered device, and may do no more
    than that device all the same. ``check_called_ae_title``: must peers call this archive by its AE title? None: as
    long as not anyone is admitted. ``own_addresses`` are where the archive probes itself from.
    """

    devices: Registered
    ae_title: str
    initially: AdmissionChanged
    check_called_ae_title: bool | None = None
    own_addresses: frozenset[str] = field(default_factory=frozenset)

    def turned_away(self, calling: str, called: str, address: str) -> TurnedAway | None:
        """Why a peer gets no association, or None."""
        if self._is_own_probe(calling, address):
            return None
        try:
            if called != self.ae_title and self._is_called_ae_title_checked():
                return TurnedAway.CALLED_AE_TITLE
            if away := self._stranger(calling, address):
                self.devices.look_again()
                away = self._stranger(calling, address)
        except Unavailable:
            return TurnedAway.NOT_NOW
        return away

    def claimed(self, calling: str, address: str) -> DeviceAdded | None:
        """The device that a caller says it is, whose certificate it has to show; our own probe is none of our title."""
        known = self.devices.titled(calling)
        if known and self._is_own_probe(calling, address) and not self.devices.is_at(known, address):
            return None
        return known

    def check(self, calling: str, address: str, needed: Iterable[Right]) -> None:
        """Raises :class:`Refused` where a peer lacks a right now, however long its association has been open."""
        if self._fault(calling, address, needed):
            self.devices.look_again()
            if fault := self._fault(calling, address, needed):
                raise Refused(Because.NOT_AUTHORISED, fault)

    def preferred_syntax(self, calling: str) -> str:
        """The transfer syntax in which a registered device prefers to be sent objects now; empty where it has none.

        As the log has it: what is sent goes by it too, and a syntax that was agreed on holds for the whole association.
        """
        try:
            known = self.devices.registered(calling)
        except AnnalsError:
            return ""
        return known.preferred_transfer_syntax if known else ""

    def destination(self, ae_title: str) -> DeviceAdded | None:
        """The registered device that C-MOVE may send to (B32). Raises :class:`Refused` for one that may not receive."""
        known = self.devices.registered(ae_title)
        if known and ae_title == self.ae_title:
            raise Refused(Because.MOVE_DESTINATION_UNKNOWN, "Move Destination is this archive itself")
        if known and device.lacking(known.rights, (Right.DOWNLOAD,)):
            raise Refused(Because.MOVE_DESTINATION_UNKNOWN, "Move Destination has no right DOWNLOAD")
        return known

    def _is_called_ae_title_checked(self) -> bool:
        asked = self.check_called_ae_title
        return not self._anyone().accept_any if asked is None else asked

    def _stranger(self, calling: str, address: str) -> TurnedAway | None:
        known = self.devices.titled(calling)
        # Also where anyone is admitted: what a request may do is asked later, when nobody waits for a name.
        is_here = known is not None and self.devices.is_at(known, address, wait=True)
        if is_here or self._anyone().accept_any:
            return None
        return TurnedAway.CALLING_AE_TITLE if known is None else TurnedAway.ADDRESS

    def _fault(self, calling: str, address: str, needed: Iterable[Right]) -> str:
        known = self.devices.titled(calling)
        if known and self.devices.is_at(known, address):
            lacking = device.lacking(known.rights, needed)
            return f"the device has no right {' and '.join(lacking)}" if lacking else ""
        anyone = self._anyone()
        if not anyone.accept_any:
            return "not a registered device at its address"
        granted = anyone.granted_at(address)
        lacking = device.lacking([right for right in granted if known is None or right in known.rights], needed)
        return f"not a registered device: no right {' and '.join(lacking)}" if lacking else ""

    def _anyone(self) -> AdmissionChanged:
        return self.devices.admission(Door.DIMSE) or self.initially

    def _is_own_probe(self, calling: str, address: str) -> bool:
        """The readiness check's C-ECHO; it gets an association, and no right."""
        if calling != self.ae_title:
            return False
        address = normal_host(address)
        return address in self.own_addresses or ipaddress.ip_address(address).is_loopback


@dataclass(frozen=True, slots=True)
class WebAdmission:
    """The rules of the DICOMweb door, where a device is known by its address."""

    devices: Registered
    initially: AdmissionChanged

    def check(self, address: str, needed: Right, *, is_forwarded: bool) -> str:
        """The registered WADO device that asks, by its host; empty for another. Raises :class:`Refused`.

        Who is forwarded by a proxy is not on this machine, whatever the address says.
        """
        here = self.devices.wado_at(address)
        if self._fault(here, address, needed, is_forwarded):
            self.devices.look_again()
            here = self.devices.wado_at(address, wait=True)
            if fault := self._fault(here, address, needed, is_forwarded):
                raise Refused(Because.NOT_AUTHORISED, fault)
        return here[0].host if here else ""

    def _fault(self, here: Sequence[DeviceAdded], address: str, needed: Right, is_forwarded: bool) -> str:
        if here:
            return "" if any(needed in one.rights for one in here) else f"this WADO device has no right {needed.value}"
        anyone = self.devices.admission(Door.DICOMWEB) or self.initially
        if not anyone.accept_any:
            return "this address is not that of a registered WADO device"
        granted = anyone.rights if is_forwarded else anyone.granted_at(address)
        return "" if needed in granted else f"not a registered WADO device: no right {needed.value}"
