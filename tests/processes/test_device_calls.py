"""How often and where somebody may let the archive call a device (DEV-3, B56)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.log.log import EventLog
from adapters.network.own import is_own
from annals.compose import FACTS
from domain.address import not_called
from domain.device import DeviceAdded
from domain.errors import Because, Refused
from domain.event import Actor
from domain.limits import Limits
from processes.call_device import DeviceCalls
from tests.edges import edges

LIMITS = Limits()
CT = DeviceAdded("CT", "192.0.2.7", 104)
NAMES = {"ct.example.org": {"192.0.2.7"}, "evil.example.org": {"192.0.2.7", "169.254.169.254"}, "here": {"127.0.0.1"}}


@pytest.fixture
def log(dsn: str) -> Iterator[EventLog]:
    opened = EventLog(dsn, FACTS, LIMITS)
    opened.open()
    yield opened
    opened.close()


def calls(log: EventLog, at: datetime) -> DeviceCalls:
    def addresses(host: str) -> set[str]:
        return NAMES.get(host, set() if "." not in host or host.endswith("invalid") else {host})

    return DeviceCalls(log, lambda: at, LIMITS, addresses, is_own, {3000, 8000})


def test_B56_somebody_may_call_five_times_a_minute_whichever_process_is_asked(log: EventLog) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(5):
        assert calls(log, at).address_of(CT, Actor("user", "a")) == "192.0.2.7"
    with pytest.raises(Refused, match="no more than 5 calls a minute") as refused:
        calls(log, at + timedelta(seconds=59)).address_of(CT, Actor("user", "a"))
    assert refused.value.because is Because.OUT_OF_RESOURCES
    assert calls(log, at).address_of(CT, Actor("user", "b"))
    assert calls(log, at + timedelta(seconds=60)).address_of(CT, Actor("user", "a"))


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("evil.example.org", 104, "link-local or tells"),
        ("here", 3000, "this archive itself"),
        ("here", 8000, "this archive itself"),
        ("gone.invalid", 104, "has no address"),
    ],
)
def test_B56_a_name_is_refused_for_any_of_its_addresses(log: EventLog, host: str, port: int, said: str) -> None:
    with pytest.raises(Refused, match=said):
        calls(log, datetime.now(UTC)).address_of(replace(CT, host=host, port=port), Actor("user", "a"))


def test_B56_another_port_of_this_machine_is_called(log: EventLog) -> None:
    at = datetime.now(UTC)
    assert calls(log, at).address_of(replace(CT, host="here", port=11112), Actor("user", "a")) == "127.0.0.1"
    assert calls(log, at).address_of(replace(CT, host="ct.example.org"), Actor("user", "a")) == "192.0.2.7"


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "224.0.0.1", "ff02::1", "0.0.0.0", "::"],
)
def test_B56_addresses_that_are_no_device_s_are_never_called(address: str) -> None:
    assert not_called(address)


@pytest.mark.parametrize(
    "address", ["192.168.1.20", "10.0.0.7", "127.0.0.1", "::1", "2001:db8::7", "fd12::7", "203.0.113.1"]
)
def test_DEV_3_addresses_of_devices_are_called(address: str) -> None:
    assert not not_called(address)


@edges
def test_D21_B56_somebody_calls_so_often_in_a_minute_and_no_more(log: EventLog, off: int) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(LIMITS.device_calls_a_minute_max + off - 1):
        calls(log, at).address_of(CT, Actor("user", "a"))
    if off <= 0:
        assert calls(log, at).address_of(CT, Actor("user", "a")) == "192.0.2.7"
    else:
        with pytest.raises(Refused, match="a minute"):
            calls(log, at).address_of(CT, Actor("user", "a"))
