"""Devices up to the number of clients that is allowed, and removed with their certificates (DEV-2, DEV-6)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from annals import compose, registering
from annals.compose import Archive
from annals.settings import load
from domain import certificate, device
from domain.certificate import DEVICE_KIND, Certificate
from domain.device import WADO_RIGHTS, Clients, DeviceAdded, Kind
from domain.errors import InvalidInput
from domain.event import Actor, Event
from processes.register import Registrar
from tests.archive.conftest import PATIENT
from tests.tls.authority import issue

BY = Actor("user", "t")
CT = DeviceAdded("CT", "192.0.2.7", 104)
WEB = DeviceAdded("", "192.0.2.9", 0, rights=WADO_RIGHTS, kind="WADO")
OWN = issue("ct")


@contextmanager
def opened(dsn: str) -> Iterator[Archive]:
    settings, _ = load(None, PATIENT)
    with compose.archive(settings, dsn, connections=4) as archive:
        compose.catch_up(archive)
        yield archive


@pytest.fixture
def archive(dsn: str) -> Iterator[Archive]:
    with opened(dsn) as one:
        yield one


def registrar(archive: Archive, clients_max: int | None = None) -> Registrar:
    return replace(registering.registrar(archive), clients_max=lambda: clients_max)


def save(room: Registrar, wanted: DeviceAdded) -> list[Event]:
    return room.save(device.key_of(wanted), lambda _known: wanted, BY)


def known(archive: Archive, ae_title: str = "CT") -> DeviceAdded | None:
    return device.fold(one.event for one in archive.log.stream(device.KIND, ae_title))


def known_by(archive: Archive, ae_title: str = "CT") -> Certificate | None:
    return certificate.fold_device(one.event for one in archive.log.stream(DEVICE_KIND, ae_title))


def test_DEV_6_DICOM_and_WADO_devices_count_together_and_a_refusal_names_used_and_allowed(archive: Archive) -> None:
    room = registrar(archive, 2)
    save(room, CT)
    assert str(room.clients()) == "1 of 2 used"
    save(room, WEB)
    with pytest.raises(InvalidInput, match="clients: 2 of 2 used") as refused:
        save(room, DeviceAdded("MR", "?", 104))
    assert len(refused.value.faults) == 2, "with the other faults, at once"
    assert save(room, replace(CT, port=105)), "those that are known can be changed"
    room.remove(Kind.WADO, "", "192.0.2.9", BY)
    assert save(room, DeviceAdded("MR", "192.0.2.8", 104))


def test_DEV_6_where_fewer_are_allowed_than_there_are_those_stay_and_without_a_limit_any_number_is(
    archive: Archive,
) -> None:
    for number in range(5):
        save(registrar(archive), replace(CT, ae_title=f"CT{number}"))
    assert registrar(archive).clients() == Clients(5, None)
    assert str(registrar(archive).clients()) == "5 of any number used"
    room = registrar(archive, 3)
    assert save(room, replace(CT, ae_title="CT4", port=105))
    with pytest.raises(InvalidInput, match="5 of 3 used"):
        save(room, replace(CT, ae_title="NEW"))
    with pytest.raises(InvalidInput, match="5 of 0 used"):
        save(registrar(archive, 0), replace(CT, ae_title="NEW"))


def test_DEV_6_of_many_that_register_at_the_same_time_no_more_than_allowed_get_in(dsn: str, archive: Archive) -> None:
    refused: list[str] = []
    saved: list[Event] = []

    def register(other: Archive, number: int) -> None:
        try:
            saved.extend(save(registrar(other, 3), replace(CT, ae_title=f"CT{number}")))
        except InvalidInput as error:
            refused.append(str(error))

    with opened(dsn) as second:
        threads = [threading.Thread(target=register, args=((archive, second)[n % 2], n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(saved), len(refused)) == (3, 5), refused


def test_DEV_2_a_new_certificate_replaces_the_old_and_goes_with_its_device(archive: Archive) -> None:
    room, renewed = registrar(archive), issue("ct")
    save(room, CT)
    with pytest.raises(InvalidInput, match="use TLS: needs a certificate"):
        room.use_tls("CT", True, BY)
    room.certify("CT", OWN.pem, {}, BY)
    room.use_tls("CT", True, BY)
    room.certify("CT", renewed.pem, {}, BY)
    (now, device_now) = (known_by(archive), known(archive))
    assert now
    assert device_now
    assert now.pem.encode() == renewed.pem
    assert (device_now.use_tls, device_now.certificate) == (True, now.fingerprint)
    with pytest.raises(InvalidInput, match="uses TLS"):
        room.withdraw_certificate("CT", BY)
    room.remove(Kind.DICOM, "CT", "", BY)
    assert known(archive) is None
    assert known_by(archive) is None
    assert room.remove(Kind.DICOM, "CT", "", BY) == []


def test_DEV_2_a_certificate_is_for_a_device_that_is_registered(archive: Archive) -> None:
    """A mistyped AE title would be taken for good, and clients asked for certificates that nobody has."""
    room = registrar(archive)
    with pytest.raises(InvalidInput, match="'CT' is not a known device"):
        room.certify("CT", OWN.pem, {}, BY)
    assert known_by(archive) is None


def test_DEV_2_a_removal_that_broke_off_leaves_no_device_that_is_trusted_and_ends_when_it_is_tried_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = registrar(archive)
    save(room, CT)
    room.certify("CT", OWN.pem, {}, BY)
    room.use_tls("CT", True, BY)
    with monkeypatch.context() as patched:
        patched.setattr(device, "remove", lambda _known: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            room.remove(Kind.DICOM, "CT", "", BY)
    assert known_by(archive) is None, "what is left of it shows a certificate that is not known: it is refused"
    room.remove(Kind.DICOM, "CT", "", BY)
    assert known(archive) is None


def test_DEV_1_two_that_change_different_parts_of_a_device_do_not_undo_each_other(archive: Archive) -> None:
    room = registrar(archive)
    save(room, CT)
    room.certify("CT", OWN.pem, {}, BY)

    def meanwhile(now: DeviceAdded | None) -> DeviceAdded:
        assert now
        if not now.use_tls:
            room.use_tls("CT", True, BY)
        return replace(now, description="room 5")

    room.save("CT", meanwhile, BY)
    changed = known(archive)
    assert changed
    assert (changed.use_tls, changed.description) == (True, "room 5")
    with pytest.raises(InvalidInput, match="'MR' is not a known device"):
        room.use_tls("MR", True, BY)
