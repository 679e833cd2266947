"""Where the archive may call to see whether a device is there: rarely, and nowhere it could be misused (DEV-3, B56)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from domain import device_call
from domain.address import not_called
from domain.device import DeviceAdded
from domain.device_call import DeviceCalled
from domain.errors import Because, Refused
from domain.event import Actor
from domain.limits import Limits
from processes.ports import Log


@dataclass(frozen=True, slots=True)
class DeviceCalls:
    """Lets somebody call a device. ``is_own`` knows this machine's addresses, ``own_ports`` what listens on them."""

    log: Log
    clock: Callable[[], datetime]
    limits: Limits
    addresses: Callable[[str], Collection[str]]
    is_own: Callable[[str], bool]
    own_ports: Collection[int]

    def address_of(self, device: DeviceAdded, by: Actor) -> str:
        """The address to call, which is not asked of a name server again (DNS rebinding); the call is recorded.

        Raises :class:`Refused` for one call too many, for an address that is never called, and for a name without one.
        """
        called = DeviceCalled(device.ae_title, device.host, device.port)
        minute = f"{by.kind} {by.name}/{self.clock():%Y-%m-%dT%H:%M}"
        calls_max = self.limits.device_calls_a_minute_max
        self.log.change(device_call.KIND, minute, device_call.call, called, calls_max, fold=device_call.fold, by=by)
        addresses = sorted(self.addresses(device.host))
        if not addresses:
            raise Refused(
                Because.INVALID_ARGUMENT,
                f"the name {device.host} has no address: is it spelled right, does the name server answer?",
            )
        for address in addresses:
            if fault := not_called(address) or self._own(address, device.port):
                raise Refused(Because.NOT_AUTHORISED, f"{device.host} is not called: {fault}")
        return addresses[0]

    def _own(self, address: str, port: int) -> str:
        return "it is this archive itself" if port in self.own_ports and self.is_own(address) else ""
