"""What a process remembers of the devices (DEV-1, NET-4): fresh, never in the way, and still there in an outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.log.log import EventLog
from adapters.postgres.database import Database
from annals.compose import FACTS
from domain import admission, device
from domain.admission import AdmissionChanged, Door
from domain.device import WADO_RIGHTS, DeviceAdded
from domain.errors import InvalidInput, Unavailable
from domain.event import Actor
from domain.limits import Limits
from processes.known_devices import KnownDevices
from projections.devices import DEVICES
from projections.engine import Reader
from projections.read_model import ReadModel
from tests.archive.conftest import until

LIMITS = Limits()


class Names:
    """A resolver that knows a few names, and counts how often it is asked."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = known
        self.waits: list[float] = []

    def matches(self, host: str, address: str, wait_seconds: float = 0.0) -> bool:
        self.waits.append(wait_seconds)
        return self.known.get(host, host) == address


class Switched:
    """The read model, behind a switch that takes the database away."""

    def __init__(self, model: ReadModel) -> None:
        self._model = model
        self.is_there = True
        self.reads = 0
        self.after: Callable[[], None] = lambda: None

    @contextmanager
    def now(self) -> Iterator[Any]:
        self.reads += 1
        if not self.is_there:
            raise Unavailable("the database does not answer")
        with self._model.now() as connection:
            yield connection
        self.after()

    current = now


class Site:
    def __init__(self, dsn: str) -> None:
        self.log = EventLog(dsn, FACTS, LIMITS)
        self.database = Database(dsn, LIMITS, size=4)
        self.model = Switched(ReadModel(DEVICES.name, self.database, self.log, LIMITS))
        self.names = Names({"ct.example.org": "192.0.2.7"})
        self.reader = Reader(DEVICES, self.database, self.log, LIMITS)

    def known(self) -> KnownDevices:
        return KnownDevices(self.model, self.names, LIMITS)

    def save(self, *wanted: DeviceAdded) -> None:
        for one in wanted:
            by = Actor("user", "t")
            self.log.change(device.KIND, device.key_of(one), device.add, one, fold=device.fold, by=by)
        while self.reader.step():
            pass


@pytest.fixture
def site(dsn: str) -> Iterator[Site]:
    made = Site(dsn)
    made.log.open()
    made.database.open()
    yield made
    made.database.close()
    made.log.close()


def test_before_there_is_a_read_model_nothing_is_said_of_any_device(site: Site) -> None:
    known = site.known()
    with pytest.raises(Unavailable):
        known.titled("CT")
    with pytest.raises(Unavailable):
        known.wado_at("192.0.2.9")
    with pytest.raises(Unavailable):
        known.admission(Door.DIMSE)
    site.reader.prepare()
    known.renew()
    assert known.titled("CT") is None


def test_DEV_1_devices_are_followed_and_read_again_only_where_they_changed(site: Site) -> None:
    site.reader.prepare()
    known, ended = site.known(), threading.Event()
    following = threading.Thread(target=known.follow, args=(ended,))
    following.start()
    try:
        for port in (104, 105):
            site.save(
                DeviceAdded("CT", "192.0.2.7", port), DeviceAdded("", "192.0.2.9", 0, "", WADO_RIGHTS, kind="WADO")
            )
            deadline = time.monotonic() + 60
            while (found := known.titled("CT")) is None or found.port != port:
                assert time.monotonic() < deadline
        assert known.is_address("192.0.2.7")
        assert known.is_address("::ffff:192.0.2.7")
        assert not known.is_address("192.0.2.9"), "a WADO device has no place at the DIMSE door"
        same, reads = known.titled("CT"), site.model.reads
        while site.model.reads < reads + 3:
            assert time.monotonic() < deadline
        assert known.titled("CT") is same, "nothing changed, nothing was read anew"
    finally:
        ended.set()
        following.join(60)


def test_a_device_that_is_not_remembered_is_looked_for_but_a_flood_of_strangers_reads_seldom(site: Site) -> None:
    site.reader.prepare()
    known = site.known()
    site.save(DeviceAdded("CT", "192.0.2.7", 104))
    deadline = time.monotonic() + 60
    while known.titled("CT") is None:
        known.look_again()
        assert time.monotonic() < deadline
    reads, began = site.model.reads, time.monotonic()
    for number in range(2_000):
        known.look_again()
        assert known.titled(f"AE{number}") is None
    assert site.model.reads - reads <= 1 + (time.monotonic() - began) / LIMITS.devices_looked_up_seconds


def test_DEV_1_a_device_that_comes_while_they_are_read_slowly_is_found_by_who_looks_for_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("processes.known_devices.time", SimpleNamespace(monotonic=lambda: now[0]))
    site.reader.prepare()
    known = site.known()

    def meanwhile() -> None:
        site.model.after = lambda: None
        now[0] += 2 * LIMITS.devices_looked_up_seconds
        site.save(DeviceAdded("CT", "192.0.2.7", 104))

    site.model.after = meanwhile
    known.renew()
    assert known.titled("CT") is None
    known.look_again()
    assert known.titled("CT") is not None


def test_in_an_outage_those_last_known_hold(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.reader.prepare()
    site.save(DeviceAdded("CT", "192.0.2.7", 104))
    known = site.known()
    site.model.is_there = False
    for _ in range(5):
        known.renew()
    reads = site.model.reads
    known.look_again()
    assert site.model.reads == reads, "who is refused does not wait for a database that is away"
    assert known.titled("CT") is not None
    assert known.is_address("192.0.2.7")
    assert len(caplog.records) == 1, "an outage is told once"


def test_DEV_1_devices_are_followed_whatever_reading_them_raised_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        site.model.after = lambda: None
        raise ArithmeticError("nobody foresaw it")

    site.reader.prepare()
    known, ended = site.known(), threading.Event()
    site.model.after = fail
    following = threading.Thread(target=known.follow, args=(ended,))
    following.start()
    try:
        until(lambda: "nobody foresaw it" in caplog.text, 60, "it has failed")
        site.save(DeviceAdded("CT", "192.0.2.7", 104))
        until(lambda: known.titled("CT") is not None, 60, "the device is known")
    finally:
        ended.set()
        following.join(60)


def test_only_who_negotiates_waits_for_a_name_never_who_accepts(site: Site) -> None:
    site.reader.prepare()
    site.save(DeviceAdded("CT", "CT.example.org", 104))
    known = site.known()
    assert known.is_address("192.0.2.7")
    assert not known.is_address("192.0.2.8")
    assert set(site.names.waits) == {0.0}
    found = known.titled("CT")
    assert found is not None
    assert known.is_at(found, "192.0.2.7")
    assert site.names.waits[-1] == 0.0
    assert known.is_at(found, "192.0.2.7", wait=True)
    assert site.names.waits[-1] == LIMITS.name_wait_seconds


def test_DEV_4_the_names_of_WADO_devices_are_waited_for_together(site: Site) -> None:
    site.reader.prepare()
    hosts = ("CT.example.org", "a.example.org", "192.0.2.9")
    site.save(*(DeviceAdded("", host, 0, "", WADO_RIGHTS, kind="WADO") for host in hosts))
    known = site.known()
    assert [one.host for one in known.wado_at("192.0.2.9")] == ["192.0.2.9"]
    assert set(site.names.waits) == {0.0}
    assert [one.host for one in known.wado_at("::ffff:192.0.2.7", wait=True)] == ["CT.example.org"]
    assert LIMITS.name_wait_seconds >= max(site.names.waits) > 0


def test_NET_4_what_a_door_grants_is_followed_as_devices_are(site: Site) -> None:
    site.reader.prepare()
    known = site.known()
    assert known.admission(Door.DIMSE) is None
    for wanted in (AdmissionChanged("DIMSE", False), AdmissionChanged("DIMSE", True, ("FIND",), False)):
        by = Actor("user", "t")
        for facts in ([wanted], []):
            assert (
                site.log.change(admission.KIND, "DIMSE", admission.change, wanted, fold=admission.fold, by=by) == facts
            )
        while site.reader.step():
            pass
        known.renew()
        assert known.admission(Door.DIMSE) == wanted
        assert known.admission(Door.DICOMWEB) is None
    for door, rights in (("DIMSE", ("DELETE",)), ("DICOMweb", ("MWL",))):
        with pytest.raises(InvalidInput, match="is no right at this door"):
            admission.change(None, AdmissionChanged(door, True, rights))


def test_200_devices_are_found_in_microseconds(site: Site) -> None:
    site.reader.prepare()
    hosts = [f"192.0.2.{number}" if number % 2 else f"ct{number}.example.org" for number in range(200)]
    site.save(*(DeviceAdded(f"AE{number}", host, 104) for number, host in enumerate(hosts)))
    known = site.known()
    began = time.process_time()
    for number in range(10_000):
        found = known.titled(f"AE{number % 200}")
        assert found is not None
        known.is_at(found, "192.0.2.1")
    assert (time.process_time() - began) / 10_000 < 0.0005
