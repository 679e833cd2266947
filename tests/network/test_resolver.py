"""Names of devices: resolved beside the work, remembered, kept while a name server fails, then forgotten (NET-4)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from adapters.network.resolver import Resolver
from domain.limits import Limits
from tests.edges import edges

LIMITS = Limits(name_fresh_seconds=10.0, name_kept_seconds=100.0, names_max=8, name_addresses_max=3)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)


class Clock:
    """The resolver's clock, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("adapters.network.resolver.time", made)
    return made


class NameServer:
    """A name server that can be told to fail or to hang, which the machine's own cannot."""

    def __init__(self, **names: Iterable[str]) -> None:
        self.names = {name.replace("_", "."): list(found) for name, found in names.items()}
        self.fault: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked: list[str] = []

    def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        self.go_on.wait(60)
        if self.fault:
            raise self.fault
        if name not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.names[name]


def test_the_machine_s_own_names_are_resolved() -> None:
    resolver = Resolver(Limits())
    assert resolver.matches("localhost", "127.0.0.1", 60.0)
    assert not resolver.matches("LocalHost.", "192.0.2.7", 60.0)


@pytest.mark.parametrize(
    ("host", "address", "same"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:DB8:0::1", "2001:db8::1", True),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_an_address_is_compared_and_nobody_is_asked(host: str, address: str, same: bool) -> None:
    server = NameServer()
    assert Resolver(LIMITS, server).matches(host, address) is same
    assert server.asked == []


def test_a_name_may_have_several_addresses_of_both_families_but_not_very_many() -> None:
    server = NameServer(ct=["192.0.2.7", "::ffff:192.0.2.8", "2001:DB8::1"], many=[f"10.0.0.{n}" for n in range(99)])
    resolver = Resolver(LIMITS, server)
    assert resolver.addresses("ct", 60.0) == {"192.0.2.7", "192.0.2.8", "2001:db8::1"}
    assert len(resolver.addresses("many", 60.0)) == LIMITS.name_addresses_max


def test_who_does_not_wait_is_answered_at_once_while_the_name_server_hangs() -> None:
    server = NameServer(ct=["192.0.2.7"])
    server.go_on.clear()
    resolver = Resolver(LIMITS, server)
    assert not any(resolver.matches("ct", "192.0.2.7") for _ in range(1000))
    assert server.asked in ([], ["ct"]), "it hangs all that while"
    server.go_on.set()
    until(lambda: resolver.matches("ct", "192.0.2.7"))
    assert server.asked == ["ct"]


def test_a_hanging_name_does_not_keep_another_one_waiting() -> None:
    server = NameServer(good=["192.0.2.7"])
    stuck = threading.Event()

    def lookup(name: str) -> list[str]:
        if name == "stuck":
            stuck.wait(60)
        return server(name)

    resolver = Resolver(LIMITS, lookup)
    assert not resolver.matches("stuck", "192.0.2.7")
    assert resolver.matches("good", "192.0.2.7", 60.0)
    stuck.set()


@pytest.mark.parametrize(
    "fault", [socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), UnicodeError("label too long"), OSError(24, "no")]
)
def test_a_name_that_stops_resolving_holds_for_a_while_then_is_nobody_and_comes_back(
    fault: Exception, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    server = NameServer(ct=["192.0.2.7"])
    resolver = Resolver(LIMITS, server)
    assert resolver.matches("ct", "192.0.2.7", 60.0)
    server.fault = fault
    for later in (11, 22, 89):
        clock.now = 1000.0 + later
        assert resolver.matches("ct", "192.0.2.7")
        until(lambda: not resolver._names["ct"].queued)
    clock.now = 1101.0
    assert not resolver.matches("ct", "192.0.2.7", 60.0)
    server.fault = None
    clock.now = 1112.0
    assert resolver.matches("ct", "192.0.2.7", 60.0)
    lines = [line.getMessage() for line in caplog.records]
    assert len([line for line in lines if "ct cannot be resolved" in line]) == 1
    assert len([line for line in lines if "ct is resolved again" in line]) == 1


def test_a_name_that_moves_is_followed(clock: Clock) -> None:
    server = NameServer(ct=["192.0.2.7"])
    resolver = Resolver(LIMITS, server)
    assert resolver.matches("ct", "192.0.2.7", 60.0)
    server.names["ct"] = ["192.0.2.8"]
    clock.now += 11
    until(lambda: resolver.matches("ct", "192.0.2.8"))
    assert not resolver.matches("ct", "192.0.2.7")


def test_a_device_that_calls_seldom_is_known_at_its_first_call(clock: Clock) -> None:
    server = NameServer(ct=["192.0.2.7"])
    resolver = Resolver(LIMITS, server)
    assert resolver.matches("ct", "192.0.2.7", 60.0)
    server.names["ct"] = ["192.0.2.8"]
    clock.now += 101
    assert resolver.matches("ct", "192.0.2.8", 60.0)


def test_who_asks_anew_waits_for_an_answer_of_its_own_while_an_earlier_one_is_told(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = NameServer(ct=["192.0.2.7"])
    resolver = Resolver(LIMITS, server)
    telling, told = threading.Event(), threading.Event()

    def tell(*_: object) -> None:
        telling.set()
        told.wait(60)

    monkeypatch.setattr("adapters.network.resolver._LOG.warning", tell)
    server.fault = socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
    assert not resolver.matches("ct", "192.0.2.7")
    assert telling.wait(60)
    server.fault = None
    server.go_on.clear()
    clock.now += 11
    found: list[bool] = []
    asking = threading.Thread(target=lambda: found.append(resolver.matches("ct", "192.0.2.7", 60.0)))
    asking.start()
    until(lambda: len(server.asked) == 2)
    told.set()
    until(lambda: resolver._idle > 0)
    server.go_on.set()
    asking.join(60)
    assert found == [True]


def test_no_more_names_are_remembered_than_the_limit_and_threads_end() -> None:
    server = NameServer()
    resolver = Resolver(replace(LIMITS, name_fresh_seconds=60.0), server)
    before = threading.active_count()
    assert not resolver._threads
    for number in range(200):
        assert not resolver.matches(f"n{number}", "192.0.2.7")
    assert len(resolver._names) <= LIMITS.names_max
    assert threading.active_count() <= before + 4
    until(lambda: not resolver._waiting)
    until(lambda: threading.active_count() <= before)


def test_many_who_wait_for_one_name_ask_once() -> None:
    server = NameServer(ct=["192.0.2.7"])
    server.go_on.clear()
    resolver = Resolver(replace(LIMITS, name_fresh_seconds=60.0, name_kept_seconds=60.0), server)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(resolver.matches("ct", "192.0.2.7", 60.0))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    server.go_on.set()
    for thread in threads:
        thread.join()
    assert found == [True] * 20
    assert server.asked == ["ct"]


@edges
def test_D21_a_name_has_so_many_addresses_and_no_more(off: int) -> None:
    most = LIMITS.name_addresses_max
    server = NameServer(many=[f"10.0.0.{number}" for number in range(most + off)])
    assert len(Resolver(LIMITS, server).addresses("many", 60.0)) == min(most, most + off)


@edges
def test_D21_so_many_names_are_remembered_those_asked_for_lately(off: int) -> None:
    names = [f"n{number}" for number in range(LIMITS.names_max + off)]
    server = NameServer(**{name: ["192.0.2.7"] for name in names})
    resolver = Resolver(LIMITS, server)
    assert all(resolver.matches(name, "192.0.2.7", 60.0) for name in names)
    assert list(resolver._names) == names[max(0, off) :]
