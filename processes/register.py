"""Devices made known, changed and forgotten, with their certificates, as many as are allowed (DEV-1, DEV-2, DEV-6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from domain import certificate, device
from domain.certificate import DEVICE_KIND, Certificate
from domain.device import Clients, DeviceAdded, Kind
from domain.errors import InvalidInput
from domain.event import Actor, Event
from domain.limits import Limits
from processes.certify import Present
from processes.ports import Log

Wanted = Callable[[DeviceAdded | None], DeviceAdded]
"""What a device shall be, from what it is now. Raises InvalidInput."""


@dataclass(frozen=True, slots=True)
class Registrar:
    """The one place where devices and their certificates change.

    ``count`` says how many devices there are now, ``alone`` keeps other registrars out while it is entered, and
    ``clients_max`` says how many there may be, None for any number, by the settings and by the licence in use.
    """

    log: Log
    present: Present
    clock: Callable[[], datetime]
    limits: Limits
    count: Callable[[], int]
    alone: Callable[[], AbstractContextManager[Any]]
    clients_max: Callable[[], int | None]

    def clients(self) -> Clients:
        """How many devices there are, and may be."""
        return Clients(self.count(), self.clients_max())

    def save(self, key: str, wanted: Wanted, by: Actor) -> list[Event]:
        """Make a device known, or change the one with this key. Raises InvalidInput with every fault."""
        if self.clients_max() is None:
            return self._save(key, wanted, Clients(0, None), by)
        # Two that count at the same time would both take the last place.
        with self.alone():
            return self._save(key, wanted, self.clients(), by)

    def remove(self, kind: Kind, ae_title: str, host: str, by: Actor) -> list[Event]:
        """Forget a device and its certificate; forgetting an unknown one is nothing."""
        if kind is Kind.DICOM:
            # First: a device of which half is left is refused, and removing it once more ends it.
            self._forget_certificate(ae_title, by)
        key = device.key(kind, ae_title, host)
        return self.log.change(device.KIND, key, device.remove, fold=device.fold, by=by)

    def certify(self, ae_title: str, encoded: bytes, others: Mapping[str, Certificate], by: Actor) -> list[Event]:
        """Know a device by a certificate in place of the one before. Raises InvalidInput with every fault."""
        if self._known(ae_title) is None:
            raise InvalidInput([unknown(ae_title)])
        try:
            presented, _ = self.present(encoded, None, self.limits)
        except InvalidInput as error:
            raise InvalidInput([f"certificate of {ae_title!a}: {fault}" for fault in error.faults]) from None
        installed = self.log.change(
            DEVICE_KIND,
            ae_title,
            certificate.install_for_device,
            ae_title,
            presented,
            others,
            self.clock(),
            self.limits,
            fold=certificate.fold_device,
            by=by,
        )
        return installed + self._change(ae_title, by, certificate=presented.certificate.fingerprint)

    def use_tls(self, ae_title: str, on: bool, by: Actor) -> list[Event]:
        """Let a device speak TLS, and only TLS, or no longer. Raises InvalidInput, also where it has no certificate."""
        known = certificate.fold_device(recorded.event for recorded in self.log.stream(DEVICE_KIND, ae_title))
        if self._known(ae_title) is None:
            raise InvalidInput([unknown(ae_title)])
        return self._change(ae_title, by, use_tls=on, certificate=known.fingerprint if known else "")

    def withdraw_certificate(self, ae_title: str, by: Actor) -> list[Event]:
        """Forget a device's certificate. Raises InvalidInput while the device needs it."""
        if (known := self._known(ae_title)) and known.use_tls:
            raise InvalidInput([f"{ae_title!a} uses TLS: first 'annals device tls {ae_title!a} off'"])
        return self._forget_certificate(ae_title, by) + self._change(ae_title, by, certificate="")

    def _save(self, key: str, wanted: Wanted, clients: Clients, by: Actor) -> list[Event]:
        def verb(known: DeviceAdded | None) -> list[Event]:
            return device.add(known, wanted(known), clients)

        return self.log.change(device.KIND, key, verb, fold=device.fold, by=by)

    def _change(self, ae_title: str, by: Actor, **what: Any) -> list[Event]:
        """Change a part of a device as it is then; one that is not there is nothing."""

        def verb(known: DeviceAdded | None) -> list[Event]:
            return device.add(known, replace(known, **what)) if known else []

        return self.log.change(device.KIND, ae_title, verb, fold=device.fold, by=by)

    def _forget_certificate(self, ae_title: str, by: Actor) -> list[Event]:
        forget = certificate.remove_for_device
        return self.log.change(DEVICE_KIND, ae_title, forget, ae_title, fold=certificate.fold_device, by=by)

    def _known(self, ae_title: str) -> DeviceAdded | None:
        return device.fold(recorded.event for recorded in self.log.stream(device.KIND, ae_title))


def unknown(name: str) -> str:
    """The fault of a name that is no device's."""
    return f"{name!a} is not a known device: see 'annals device list'"
