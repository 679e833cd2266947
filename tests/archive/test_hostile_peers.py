"""The whole archive under attack: DCMTK is served meanwhile, and afterwards all is as before (P14, B22 to B31, F44)."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain.limits import Limits
from tests.archive.conftest import Archive, running_archive, until
from tests.dicom.encoding import element, minimal, text
from tests.dimse.raw_peer import (
    ABORT,
    COMMAND,
    EXPLICIT,
    LAST,
    P_DATA,
    RELEASE_RQ,
    RJ,
    RQ,
    RawPeer,
    associate_request,
    command,
    context,
    data,
    echo_request,
    pdu,
    store_request,
    uid,
)
from tests.durability import machine

ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"
ECHO_SECONDS = 5.0
MIB = 1024 * 1024
SETTINGS = {
    "ANNALS_WORKER__ENABLED": "false",
    "ANNALS_DIMSE__PROCESSES": "2",
    "ANNALS_LIMITS__PDU_HEADER_TIMEOUT_SECONDS": "2",
    "ANNALS_LIMITS__PDU_TIMEOUT_SECONDS": "2",
    "ANNALS_LIMITS__PDU_RATE_MIN": "1048576",
    "ANNALS_LIMITS__ASSOCIATION_IDLE_TIMEOUT_SECONDS": "4",
    "ANNALS_LIMITS__DIMSE_TIMEOUT_SECONDS": "3",
    "ANNALS_LIMITS__SEND_TIMEOUT_SECONDS": "2",
    "ANNALS_LIMITS__OBJECT_SIZE_MAX": str(4 * MIB),
}
PATIENT = "SECRET^PATIENT"
TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)
STUDY_FIND, STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"


@dataclass(frozen=True)
class Footing:
    """What the receiver processes hold."""

    threads: int
    descriptors: int
    resident: int


def footing(archive: Archive) -> Footing:
    pids = archive.processes("dimse")
    assert len(pids) == 2
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return Footing(
        sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids),
        sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
        pages * resource.getpagesize(),
    )


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with running_archive(SETTINGS) as running:
        running.annals("device", "add", "STATION", "127.0.0.1", "11112")
        for _ in range(20):
            echo(running)
        yield running


def echo(archive: Archive) -> float:
    started = time.monotonic()
    said = archive.dcmtk("echoscu", "-to", "20", "-ta", "20")
    assert said.returncode == 0, said.stdout + said.stderr
    return time.monotonic() - started


def served(archive: Archive) -> None:
    assert median_echo(archive) < ECHO_SECONDS


def median_echo(archive: Archive) -> float:
    """How long an echo takes, on a machine that may be busy for one or two of them."""
    return sorted(echo(archive) for _ in range(5))[2]


def as_before(archive: Archive, before: Footing) -> None:
    """All threads and descriptors are given back, no temp file is left, and memory has not grown."""

    def given_back() -> bool:
        now = footing(archive)
        # The connection pools of the processes grow and shrink by themselves, within their bounds.
        return now.threads <= before.threads + 2 and now.descriptors <= before.descriptors + 8

    until(given_back, 90, "threads and descriptors are given back")
    assert not [path for path in archive.data.glob("storage/.incoming/*/*") if path.name != "lease"]
    assert footing(archive).resident - before.resident < 64 * MIB


def lines_since(archive: Archive, at: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in archive.log_lines()[at:].splitlines()]


def data_set() -> bytes:
    return minimal([(0x00100010, "PN", text(PATIENT))]) + element(0x7FE00010, "OW", bytes(100_000))


STORING = data(3, COMMAND | LAST, store_request(instance="1.2.3.4"))
PROMISED = pdu(P_DATA, b"x", MIB)


@pytest.mark.parametrize(
    ("established", "said"),
    [
        pytest.param(False, b"", id="B23-silent"),
        pytest.param(False, associate_request()[:16], id="B23-partial"),
        pytest.param(False, TLS_HELLO, id="B22-TLS"),
        pytest.param(False, b"GET / HTTP/1.1\r\n\r\n", id="B25-HTTP"),
        pytest.param(False, pdu(RQ, bytes(1000), 2**32 - 1), id="B25-4-GiB"),
        pytest.param(False, pdu(RQ, bytes(100_000), 128 * 1024), id="B25-the-largest-request-not-finished"),
        pytest.param(True, b"", id="B24-idle"),
        pytest.param(True, PROMISED, id="B24-stalled-in-a-PDU"),
        pytest.param(True, STORING, id="B24-no-data-set"),
        pytest.param(True, STORING + data(3, 0, data_set()[:16_000]), id="B24-half-a-data-set"),
        pytest.param(True, STORING + data(3, 0, data_set()[:8_000]) + pdu(RELEASE_RQ), id="release-in-a-data-set"),
        pytest.param(True, STORING + data(3, 0, data_set()[:8_000]) + pdu(ABORT), id="abort-in-a-data-set"),
        pytest.param(True, data(1, COMMAND | LAST, echo_request()[:-1]), id="B27-broken-command"),
    ],
)
def test_P14_forty_such_peers_lock_nobody_out_and_leave_nothing(
    archive: Archive, established: bool, said: bytes
) -> None:
    before, at = footing(archive), len(archive.log_lines())
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            peer = stack.enter_context(RawPeer(archive.port, ATTACKER))
            if established:
                peer.say(associate_request(calling=b"ATTACK"))
            peer.say(said)
        served(archive)
        with RawPeer(archive.port, OTHER) as unknown:
            until(lambda: _served_to(archive, OTHER), 60, "an unknown peer at another address is served")
            unknown.say(b"")
    as_before(archive, before)
    assert PATIENT not in archive.log_lines()[at:]
    errors = [line for line in lines_since(archive, at) if line["level"] not in ("INFO", "WARNING")]
    assert errors == [], json.dumps(errors)


def _served_to(archive: Archive, source: str) -> bool:
    with RawPeer(archive.port, source) as peer:
        peer.say(associate_request())
        answer = peer.answer()
        return answer is not None and answer[0] != RJ and peer.echo() == 0


@pytest.mark.parametrize("said", [b"", associate_request()[:16], associate_request()])
def test_P14_500_connections_at_once_lock_nobody_out(archive: Archive, said: bytes) -> None:
    before = footing(archive)
    with contextlib.ExitStack() as stack:
        for number in range(500):
            try:
                peer = stack.enter_context(RawPeer(archive.port, f"127.0.1.{number % 20 + 1}"))
            except OSError:
                continue
            peer.say(said)
        served(archive)
    as_before(archive, before)


def test_P14_a_flood_of_connections_without_end_locks_nobody_out(archive: Archive) -> None:
    before = footing(archive)
    ended = threading.Event()

    def flood(source: str) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), RawPeer(archive.port, source) as peer:
                peer.say(associate_request()[:40])

    flooding = [threading.Thread(target=flood, args=(f"127.0.2.{n}",)) for n in range(1, 5)]
    for thread in flooding:
        thread.start()
    try:
        served(archive)
    finally:
        ended.set()
        for thread in flooding:
            thread.join(60)
    as_before(archive, before)


def test_B24_peers_of_one_byte_a_while_lock_nobody_out(archive: Archive) -> None:
    before = footing(archive)
    ended = threading.Event()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(archive.port, ATTACKER)) for _ in range(20)]

        def trickle() -> None:
            for byte in associate_request():
                for peer in peers:
                    peer.say(bytes([byte]))
                if ended.wait(0.5):
                    return

        trickling = threading.Thread(target=trickle)
        trickling.start()
        served(archive)
        until(lambda: footing(archive).threads <= before.threads + 4, 60, "slow peers are dropped")
        ended.set()
        trickling.join(60)
    as_before(archive, before)


def test_P14_a_peer_past_its_places_is_told_that_it_may_try_again(archive: Archive) -> None:
    before = footing(archive)
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            peer = stack.enter_context(RawPeer(archive.port, ATTACKER))
            peer.say(associate_request() + bytes(60_000))
            answer = peer.answer()
            assert answer is not None
            if answer[0] == RJ:
                break
        assert (answer[0], tuple(answer[1][1:4])) == (RJ, (2, 3, 2))
        echo(archive)
    as_before(archive, before)


@pytest.mark.parametrize(
    ("sop_class", "encoded", "expected"),
    [
        pytest.param(STUDY_FIND, b"", 0xA900, id="find-empty"),
        pytest.param(STUDY_FIND, b"noise" * 100, 0xC000, id="find-noise"),
        pytest.param(STUDY_FIND, element(0x00080052, "CS", b"GALAXY"), 0xA900, id="find-level"),
        pytest.param(STUDY_FIND, bytes(5 * MIB), 0xC000, id="find-5-MB"),
        pytest.param(STUDY_FIND, element(0x00080052, "CS", b"STUDY ", length=2**15), 0xC000, id="find-past-the-end"),
        pytest.param(STUDY_MOVE, b"", 0xA801, id="move-to-nobody"),
        pytest.param(STUDY_MOVE, b"noise" * 100, 0xC000, id="move-noise"),
        pytest.param(STUDY_MOVE, bytes(5 * MIB), 0xC000, id="move-5-MB"),
    ],
)
def test_a_broken_identifier_is_refused_and_the_association_goes_on(
    archive: Archive, sop_class: str, encoded: bytes, expected: int
) -> None:
    field = {STUDY_FIND: 0x0020, STUDY_MOVE: 0x0021}[sop_class]
    at = len(archive.log_lines())
    with RawPeer(archive.port) as peer:
        peer.established(
            associate_request([context(1, "1.2.840.10008.1.1", EXPLICIT), context(3, sop_class, EXPLICIT)])
        )
        asked = command(field, e0002=uid(sop_class), e0110=b"\1\0", e0600=b"NOBODY", e0700=b"\0\0", e0800=b"\1\0")
        peer.say(data(3, COMMAND | LAST, asked))
        pieces = [encoded[start : start + 100_000] for start in range(0, len(encoded), 100_000)] or [b""]
        for number, piece in enumerate(pieces, 1):
            peer.say(data(3, LAST if number == len(pieces) else 0, piece))
        assert peer.status() == expected
        assert peer.echo() == 0
        peer.say(pdu(RELEASE_RQ))
        assert peer.answer() is not None
    assert all(line["level"] != "ERROR" for line in lines_since(archive, at))


@pytest.mark.parametrize(
    "destination", [b"NO\0BODY ", b"'; DROP TABLE device--", b"x" * 30_000, b"\xff\xfe", b"A\nB ", b"127.0.0.1 "]
)
def test_B32_a_destination_that_is_no_device_is_A801(archive: Archive, destination: bytes) -> None:
    at = len(archive.log_lines())
    with RawPeer(archive.port) as peer:
        peer.established(associate_request([context(3, STUDY_MOVE, EXPLICIT)]))
        asked = command(0x0021, e0002=uid(STUDY_MOVE), e0110=b"\1\0", e0600=destination, e0700=b"\0\0", e0800=b"\1\0")
        identifier = element(0x00080052, "CS", b"STUDY ") + element(0x0020000D, "UI", b"1.2\0")
        peer.say(data(3, COMMAND | LAST, asked) + data(3, LAST, identifier))
        assert peer.status() == 0xA801
        peer.say(pdu(RELEASE_RQ))
        assert peer.answer() is not None
    (line,) = [line for line in lines_since(archive, at) if line["part"] == "annals.dimse.retrieve"]
    assert "A801" in str(line["message"])


@contextlib.contextmanager
def limited(pids: list[int], which: int, most: Callable[[int], int]) -> Iterator[None]:
    """The processes have no more of a resource than this."""
    former = {pid: resource.prlimit(pid, which) for pid in pids}
    for pid in pids:
        resource.prlimit(pid, which, (most(pid), former[pid][1]))
    try:
        yield
    finally:
        for pid in pids:
            resource.prlimit(pid, which, former[pid])


def test_F44_without_descriptors_connections_are_refused_and_established_ones_live(archive: Archive) -> None:
    before = footing(archive)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(RawPeer(archive.port)).established() for _ in range(4)]
        pids = archive.processes("dimse")
        with limited(pids, resource.RLIMIT_NOFILE, lambda pid: max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1):
            for _ in range(60):
                with contextlib.suppress(OSError):
                    stack.enter_context(RawPeer(archive.port)).say(associate_request())
            assert all(peer.echo() == 0 for peer in held)
            until(lambda: "no file descriptor is free" in archive.log_lines(), 60, "the want is logged")
            assert all(peer.echo() == 0 for peer in held)
    assert archive.processes("dimse") == pids
    served(archive)
    as_before(archive, before)


def test_F44_without_threads_connections_are_refused_and_established_ones_live(archive: Archive) -> None:
    before = footing(archive)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(RawPeer(archive.port)).established() for _ in range(4)]
        pids = archive.processes("dimse")

        def address_space(pid: int) -> int:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize() + 3 * MIB

        with limited(pids, resource.RLIMIT_AS, address_space):
            for _ in range(30):
                with contextlib.suppress(OSError):
                    stack.enter_context(RawPeer(archive.port)).say(associate_request())
            assert all(peer.echo() == 0 for peer in held)
            until(lambda: "no thread for a connection" in archive.log_lines(), 60, "the want is logged")
    assert archive.processes("dimse") == pids
    served(archive)
    as_before(archive, before)


def test_B31_connect_and_abort_over_and_over_leaves_nothing(archive: Archive) -> None:
    for _ in range(200):
        with RawPeer(archive.port) as peer:
            peer.established().say(pdu(ABORT))
    before = footing(archive)
    for number in range(1000):
        with RawPeer(archive.port) as peer:
            if number % 2:
                peer.say(associate_request() + pdu(ABORT))
    as_before(archive, before)
    assert footing(archive).resident - before.resident < 8 * MIB


def test_B20_an_object_past_the_limit_is_refused_and_leaves_nothing(archive: Archive) -> None:
    before = footing(archive)
    with RawPeer(archive.port) as peer:
        peer.established().say(data(3, COMMAND | LAST, store_request(instance="1.2.3.4")))
        whole = minimal() + element(0x7FE00010, "OW", bytes(6 * MIB))
        pieces = [whole[start : start + 100_000] for start in range(0, len(whole), 100_000)]
        for number, piece in enumerate(pieces, 1):
            peer.say(data(3, LAST if number == len(pieces) else 0, piece))
        assert peer.status() == 0xA700
        assert peer.echo() == 0
    as_before(archive, before)


def test_F21_a_frozen_database_does_not_hold_up_an_echo(archive: Archive) -> None:
    postmaster = int(next(archive.data.glob("**/postmaster.pid")).read_text().split()[0])
    with machine.frozen([postmaster]), machine.frozen(machine.children(postmaster)):
        # Each would wait for the database's time limit if the door asked it who the peer is.
        assert median_echo(archive) < Limits().database_timeout_seconds
    until(archive.ready, 60, "the archive is ready again")


def test_P15_an_idle_association_hears_that_the_archive_stops(make_archive: Callable[..., Archive]) -> None:
    stopping = make_archive(SETTINGS).with_database().start()
    with RawPeer(stopping.port) as peer:
        peer.established()
        ending = threading.Thread(target=stopping.stop)
        ending.start()
        assert peer.answer() == (ABORT, b"\0\0\2\0")
        ending.join(60)
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", stopping.port)):
        raise AssertionError("still listening")
