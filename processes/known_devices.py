"""The registered devices as every process remembers them: asked for each operation, so never a query in its way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from domain.address import is_address, normal_host
from domain.admission import AdmissionChanged, Door
from domain.device import DeviceAdded, Kind
from domain.errors import AnnalsError, Unavailable
from domain.limits import Limits
from projections import devices

_LOG = logging.getLogger("annals.devices")


class Names(Protocol):
    """Host names and the addresses behind them."""

    def matches(self, host: str, address: str, wait_seconds: float = 0.0) -> bool:
        """Whether an address is a host's, both in their normal form; a name never asked for is waited for so long.

        A name that cannot be resolved matches nothing.
        """
        ...


class Readable(Protocol):
    """The read model of the devices."""

    def now(self) -> AbstractContextManager[Any]:
        """A connection that sees the tables as they are."""
        ...

    def current(self) -> AbstractContextManager[Any]:
        """A connection that sees the tables after everything that was acknowledged before."""
        ...


class KnownDevices:
    """The devices and doors as they were a moment ago. :meth:`follow` keeps them fresh; they outlive an outage."""

    def __init__(self, model: Readable, names: Names, limits: Limits) -> None:
        self._model = model
        self._names = names
        self._limits = limits
        self._lock = threading.Lock()
        self._renewed_at = float("-inf")
        self._failing = False
        self._seen: _Seen | None = None
        self.renew()

    def follow(self, ended: threading.Event) -> None:
        """Keep what is remembered fresh until the end."""
        while not ended.wait(self._limits.devices_renewed_seconds):
            try:
                self.renew()
            except Exception:  # noqa: BLE001 - a thread that ended would leave the devices as they are for ever
                _LOG.exception("the devices could not be followed")

    def titled(self, ae_title: str) -> DeviceAdded | None:
        """The DICOM device with this AE title. Raises :class:`Unavailable` until the devices could be read once."""
        return self._known().by_title.get(ae_title)

    def wado_at(self, address: str, *, wait: bool = False) -> Sequence[DeviceAdded]:
        """The WADO devices at an address; with ``wait`` unknown names are waited for. Raises as :meth:`titled` does."""
        ends = time.monotonic() + (self._limits.name_wait_seconds if wait else 0.0)
        address = normal_host(address)
        return [
            one
            for one in self._known().wado
            if self._names.matches(normal_host(one.host), address, max(0.0, ends - time.monotonic()))
        ]

    def admission(self, door: Door) -> AdmissionChanged | None:
        """What a door grants to callers that are not registered, if it was ever changed. Raises as :meth:`titled`."""
        return self._known().admissions.get(door)

    def registered(self, ae_title: str) -> DeviceAdded | None:
        """The DICOM device with this AE title as the log has it now: for where a moment ago is not good enough."""
        with self._model.current() as connection:
            return devices.one(connection, ae_title)

    def is_at(self, device: DeviceAdded, address: str, *, wait: bool = False) -> bool:
        """Whether an address is the device's, from what is remembered; with ``wait`` an unknown name is waited for."""
        seconds = self._limits.name_wait_seconds if wait else 0.0
        return self._names.matches(normal_host(device.host), normal_host(address), seconds)

    def is_address(self, address: str) -> bool:
        """Whether a DICOM device is at an address, from what is remembered: never waits."""
        if (seen := self._seen) is None:
            return False
        address = normal_host(address)
        return address in seen.addresses or any(self._names.matches(name, address) for name in seen.host_names)

    def look_again(self) -> None:
        """Read the devices again where they changed, a few times a second and not in an outage."""
        if not self._failing:
            self.renew(self._limits.devices_looked_up_seconds)

    def renew(self, older_than_seconds: float = 0.0) -> None:
        """Read the devices again where they changed; an outage leaves what is remembered."""
        with self._lock:
            began = time.monotonic()
            if began - self._renewed_at < older_than_seconds:
                return
            try:
                with self._model.now() as connection:
                    self._read(connection)
                self._failing = False
            except AnnalsError as error:
                if not self._failing:
                    _LOG.warning("the devices cannot be read, those last known hold: %s", error)
                self._failing = True
            # What changed while it was read was not seen.
            self._renewed_at = began

    def _known(self) -> _Seen:
        if self._seen is None:
            raise Unavailable("the registered devices are not known yet: a reader must run")
        return self._seen

    def _read(self, connection: Any) -> None:
        changed = devices.changed(connection)
        if self._seen is None or self._seen.changed != changed:
            self._seen = _seen(changed, devices.everyone(connection), devices.admissions(connection))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read at one state, whole: who looks while it is replaced sees the old or the new."""

    changed: int
    by_title: Mapping[str, DeviceAdded]
    wado: Sequence[DeviceAdded]
    admissions: Mapping[str, AdmissionChanged]
    addresses: frozenset[str]
    host_names: frozenset[str]


def _seen(changed: int, everyone: Sequence[DeviceAdded], admissions: Mapping[str, AdmissionChanged]) -> _Seen:
    known = [device for device in everyone if device.kind == Kind.DICOM]
    hosts = {normal_host(device.host) for device in known}
    addresses = frozenset(host for host in hosts if is_address(host))
    return _Seen(
        changed,
        {device.ae_title: device for device in known},
        [device for device in everyone if device.kind == Kind.WADO],
        admissions,
        addresses,
        frozenset(hosts - addresses),
    )
