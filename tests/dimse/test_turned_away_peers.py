"""What the door says to peers that it turns away, and what is told of it (B29, correctness C4.2)."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.dimse.associate_request import AssociationRequest
from adapters.dimse.listener import Doorkeeper, Listener
from adapters.dimse.negotiation import CALLING_AE_NOT_RECOGNISED, Rejection
from adapters.dimse.presentation import supported_contexts
from adapters.log.log import EventLog
from annals.compose import FACTS
from annals.listening import open_listening_socket
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.rejection import PeerRejected
from processes.rejections import Rejections
from tests.dimse.conftest import Door, open_door, until
from tests.dimse.raw_peer import (
    ABORT,
    AC,
    COMMAND,
    LAST,
    RJ,
    RQ,
    RawPeer,
    associate_request,
    data,
    pdu,
    store_request,
)

LIMITS = Limits(
    storage_free_min=1,
    association_idle_timeout_seconds=3.0,
    artim_timeout_seconds=1.0,
    unknown_peer_associations_max=2,
    rejection_interval_seconds=3600.0,
)


@pytest.fixture
def log(door_dsn: str) -> Iterator[EventLog]:
    opened = EventLog(door_dsn, FACTS, LIMITS)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def rejections(log: EventLog) -> Iterator[Rejections]:
    made = Rejections(log, LIMITS)
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join(60)
    assert not thread.is_alive()


def told(log: EventLog, after: int = 0) -> list[PeerRejected]:
    return [fact.event for fact in log.read(after, 1000) if isinstance(fact.event, PeerRejected)]


@pytest.fixture
def noting(door_dsn: str, tmp_path: Path, rejections: Rejections) -> Iterator[Door]:
    with open_door(door_dsn, tmp_path / "storage", LIMITS) as opened:
        keeper = opened.listener._keeper
        keeper.note = lambda rejection, address, calling, called: rejections.note(
            address, rejection.why, answer=str(rejection), calling=calling, called=called
        )
        keeper.note_stranger = rejections.note
        yield opened


@pytest.fixture
def roomy(noting: Door) -> Door:
    """The same, where one after another is no crowd, however late the last one's thread ends."""
    noting.known.add("127.0.0.1")
    return noting


@pytest.mark.parametrize(
    ("calling", "called", "answer"),
    [
        (b" " * 16, b"ANNALS", b"\1\1\3"),
        (b"CT\n1", b"ANNALS", b"\1\1\3"),
        (b"\x1b[2J", b"ANNALS", b"\1\1\3"),
        (b"CT\\1", b"ANNALS", b"\1\1\3"),
        ("RÖNTGEN".encode("latin-1"), b"ANNALS", b"\1\1\3"),
        ("レントゲン".encode(), b"ANNALS", b"\1\1\3"),
        (b"C\0T", b"ANNALS", b"\1\1\3"),
        (b"CT", b" " * 16, b"\1\1\7"),
        (b"CT", b"ANN\tALS", b"\1\1\7"),
    ],
)
def test_B29_a_title_that_cannot_be_is_rejected_and_told_in_harmless_words(
    noting: Door, log: EventLog, calling: bytes, called: bytes, answer: bytes
) -> None:
    before = log.head()
    with RawPeer(noting.port) as peer:
        peer.say(associate_request(calling=calling, called=called))
        assert peer.answer() == (RJ, b"\0" + answer)
    until(lambda: bool(told(log, before)))
    (fact,) = told(log, before)
    assert fact.answer == "/".join(str(number) for number in answer)
    assert fact.address == "127.0.0.1"
    assert fact.why.endswith(("is empty", "a character outside ASCII")), "the whole reason is told"
    for title in (*fact.calling_ae_titles, *fact.called_ae_titles):
        assert title.isascii()
        assert title.isprintable()


@pytest.mark.parametrize("calling", [b"ct", b"With Space", b"  PADDED", b"CT\0\0", b"x" * 16])
def test_an_odd_title_that_the_standard_allows_is_not_turned_away(noting: Door, calling: bytes) -> None:
    with RawPeer(noting.port) as peer:
        peer.say(associate_request(calling=calling))
        answer = peer.answer()
        assert answer
        assert answer[0] == AC


def test_a_flood_of_rejections_is_two_facts_and_two_log_lines(
    roomy: Door, log: EventLog, rejections: Rejections, caplog: pytest.LogCaptureFixture
) -> None:
    before = log.head()
    keeper, noted = roomy.listener._keeper, []
    note = keeper.note
    keeper.note = lambda *one: noted.append(note(*one))
    for number in range(120):
        with RawPeer(roomy.port) as peer:
            peer.say(associate_request(calling=b"BAD\\%d" % number))
            answer = peer.answer()
            assert answer
            assert answer[0] == RJ
    # A peer has its answer a moment before it is told of.
    until(lambda: len(noted) == 120)
    rejections.stop()
    until(lambda: sum(fact.count for fact in told(log, before)) == 120)
    assert len(told(log, before)) <= 2
    assert len([line for line in caplog.records if line.name == "annals.rejections"]) <= 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a PDU of unknown type"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "it speaks TLS to a port without"),
        (pdu(RQ, b"x" * 10), "an A-ASSOCIATE-RQ that is too short"),
    ],
)
def test_NET_4_D25_a_flood_of_what_asks_for_no_association_is_told_together(
    roomy: Door, log: EventLog, rejections: Rejections, caplog: pytest.LogCaptureFixture, said: bytes, why: str
) -> None:
    caplog.set_level(logging.INFO)
    before = log.head()
    for _ in range(30):
        with RawPeer(roomy.port) as peer:
            peer.say(said)
            answer = peer.answer()
            assert answer
            assert answer[0] == ABORT
    until(lambda: not roomy.listener._places.by_address)
    rejections.stop()
    until(lambda: sum(fact.count for fact in told(log, before)) == 30)
    assert {(fact.address, fact.why, fact.answer) for fact in told(log, before)} == {("127.0.0.1", why, "")}
    assert len(caplog.records) <= 2


def test_NET_4_a_peer_that_closes_again_is_nothing_to_tell(
    roomy: Door, log: EventLog, rejections: Rejections, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that only looks whether the port is open does so every few seconds for ever."""
    caplog.set_level(logging.INFO)
    before = log.head()
    for _ in range(5):
        RawPeer(roomy.port).socket.close()
    until(lambda: not roomy.listener._places.by_address)
    rejections.stop()
    assert (told(log, before), caplog.records) == ([], [])


def test_DEV_5_a_flood_of_requests_without_their_right_is_no_log_line_each(
    noting: Door, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Refused(Because.NOT_AUTHORISED, "the device has no right UPLOAD")

    monkeypatch.setattr(noting.listener._serve, "_permit", refuse)
    caplog.set_level(logging.INFO)
    with RawPeer(noting.port).established() as peer:
        for _ in range(20):
            peer.say(data(3, COMMAND | LAST, store_request(data_set=False)))
            assert peer.status() == 0x0124
    until(lambda: not noting.listener._places.by_address)
    assert not [line for line in caplog.messages if "no right" in line]


def test_NET_4_too_many_connections_are_told_too(noting: Door, log: EventLog) -> None:
    before = log.head()
    with RawPeer(noting.port), RawPeer(noting.port), RawPeer(noting.port) as third:
        assert third.answer() == (RJ, b"\0\2\3\2")
        until(lambda: bool(told(log, before)))
    (fact,) = told(log, before)
    assert (fact.answer, fact.why, fact.calling_ae_titles) == ("2/3/2", "too many connections are open", ())


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(("target", "seen"), [("::1", "::1"), ("127.0.0.1", "127.0.0.1")])
def test_NET_4_on_a_socket_of_both_families_a_peer_has_the_address_that_it_has_elsewhere(
    target: str, seen: str
) -> None:
    asked: list[str] = []
    noted: list[str] = []

    def admit(request: AssociationRequest) -> Rejection:
        asked.append(request.peer_address)
        return CALLING_AE_NOT_RECOGNISED

    keeper = Doorkeeper(
        supported_contexts(True),
        admit,
        lambda address: bool(asked.append(address)),
        note=lambda _rejection, address, _calling, _called: noted.append(address),
    )
    listening = open_listening_socket("::", 0)
    port = listening.getsockname()[1]
    listener = Listener(listening, keeper, lambda _: None, LIMITS)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    with socket.create_connection((target, port), 60) as peer:
        peer.sendall(associate_request())
        assert peer.recv(10)[0] == RJ
    listener.stop_accepting()
    thread.join(60)
    assert listener.drain(60)
    assert asked == [seen, seen]
    assert noted == [seen]


def test_noting_never_waits_and_what_a_dead_database_did_not_take_is_told_later(log: EventLog) -> None:
    class Broken:
        """A log whose database is away at first."""

        def __init__(self) -> None:
            self.is_back = threading.Event()
            self.asked = 0

        def change(self, *args: object, **named: object) -> object:
            from domain.errors import Unavailable

            self.asked += 1
            if self.asked == 1:
                assert self.is_back.wait(60)
                raise Unavailable("the database does not answer")
            return log.change(*args, **named)  # type: ignore[arg-type]

    broken, before = Broken(), log.head()
    made = Rejections(broken, LIMITS)  # type: ignore[arg-type]
    thread = threading.Thread(target=made.run)
    thread.start()
    made.note("192.0.2.7", "unknown", calling="T0")
    until(lambda: broken.asked == 1)
    for number in range(1, 100):
        made.note("192.0.2.7", "unknown", calling=f"T{number}")
    broken.is_back.set()
    made.stop()
    thread.join(60)
    assert sum(fact.count for fact in told(log, before)) == 100


def test_what_was_counted_is_told_when_the_archive_stops_between_two_tellings(log: EventLog) -> None:
    made, before = Rejections(log, LIMITS), log.head()
    made.note("192.0.2.8", "unknown")
    wait = made._wait

    def stop_at_the_second_wait() -> None:
        if not told(log, before):
            wait()
            return
        made.note("192.0.2.8", "unknown")
        made.stop()

    made._wait = stop_at_the_second_wait  # type: ignore[method-assign]
    made.run()
    assert sum(fact.count for fact in told(log, before)) == 2
