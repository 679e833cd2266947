"""What changes who is known: the rooms of devices and of certificates."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager
from functools import partial

from adapters.log.log import utc_now
from annals.allowance import clients_max
from annals.compose import Archive, settle
from domain import certificate
from domain.address import host_fault
from domain.errors import Unavailable
from domain.event import Actor
from processes.call_device import DeviceCalls
from processes.certify import Certifier
from processes.register import Registrar
from projections import devices
from projections.devices import DEVICES


def certifier(archive: Archive) -> Certifier:
    """The room that changes which certificates are in use."""
    # Only here: reading certificates brings a library of its own.
    from adapters.tls.keys import PrivateKeys
    from adapters.tls.reading import is_signed_by, present
    from adapters.tls.revocation import read_list
    from adapters.tls.trial import trial_fault

    keys = PrivateKeys(archive.database)
    return Certifier(archive.log, keys, present, read_list, is_signed_by, trial_fault, utc_now, archive.limits)


def registrar(archive: Archive) -> Registrar:
    """The room that makes devices known and forgets them."""
    from adapters.tls.reading import present

    def alone() -> AbstractContextManager[object]:
        return archive.database.alone("registration of devices")

    count, count_max = partial(_count_devices, archive), partial(clients_max, archive)
    return Registrar(archive.log, present, utc_now, archive.limits, count, alone, count_max)


def _count_devices(archive: Archive) -> int:
    if not settle(archive, DEVICES):
        raise Unavailable("how many devices there are is not known now: the readers are behind, try again")
    with archive.devices.now() as connection:
        return devices.count(connection)


def device_calls(archive: Archive) -> DeviceCalls:
    """The room that lets somebody call a device."""
    from adapters.network.own import is_own
    from adapters.network.resolver import Resolver

    settings, names = archive.settings, Resolver(archive.limits)
    ports = {*settings.dimse_ports.values(), settings.http.port, settings.dicomweb.port}

    def addresses(host: str) -> frozenset[str]:
        return names.addresses(host, archive.limits.name_wait_seconds)

    return DeviceCalls(archive.log, utc_now, archive.limits, addresses, is_own, ports)


def make_demo_certificates(archive: Archive, by: Actor, *, anew: bool = False) -> bool:
    """Make a demo set where the server never had a certificate, or ``anew``; whether one was made."""
    if not anew and archive.log.stream(certificate.KIND, certificate.SERVER):
        return False
    from adapters.tls.demo import demo_set

    names = tuple(dict.fromkeys(("localhost", *(name for name in (socket.gethostname(),) if not host_fault(name)))))
    return bool(certifier(archive).install(demo_set(names, utc_now(), archive.limits), by, demo=True))
