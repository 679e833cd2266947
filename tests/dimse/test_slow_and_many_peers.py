"""A silent, slow or greedy peer is given up in time, locks nobody out (B22 to B24, B31, F44, P14, C4.4, D19)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest

from tests.dimse.conftest import LIMITS, Door, until
from tests.dimse.raw_peer import (
    ABORT,
    COMMAND,
    LAST,
    P_DATA,
    RJ,
    RQ,
    RawPeer,
    associate_request,
    data,
    echo_request,
    pdu,
    store_request,
)


def echoes(door: Door) -> None:
    with RawPeer(door.port) as peer:
        assert peer.established().echo() == 0


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"\x01", id="one-byte"),
        pytest.param(associate_request()[:5], id="half-a-header"),
        pytest.param(associate_request()[:50], id="half-a-request"),
        pytest.param(pdu(RQ, b"x", 100_000), id="promised-more"),
    ],
)
def test_B23_a_peer_that_stops_before_its_association_is_dropped_and_others_are_served(door: Door, said: bytes) -> None:
    with RawPeer(door.port) as silent:
        silent.say(said)
        echoes(door)
        answer = silent.answer()
        assert answer is None or answer[0] == ABORT


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(data(1, COMMAND, echo_request()[:20])[:9], id="half-a-pdu"),
        pytest.param(data(3, COMMAND | LAST, store_request()), id="no-data-set"),
        pytest.param(data(3, COMMAND | LAST, store_request()) + data(3, 0, bytes(1000)), id="half-a-data-set"),
        pytest.param(struct.pack(">BxI", P_DATA, 100_000) + bytes(10), id="B24-stalled-data"),
        pytest.param(b"", id="idle"),
    ],
)
def test_B24_a_peer_that_stops_in_its_association_is_dropped_and_others_are_served(door: Door, said: bytes) -> None:
    with RawPeer(door.port) as silent:
        silent.established().say(said)
        echoes(door)
        while (answer := silent.answer()) is not None:
            assert answer[0] == ABORT


def test_B24_one_byte_now_and_then_is_too_slow(door: Door) -> None:
    ended = threading.Event()
    with RawPeer(door.port) as slow:
        slow.established()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                for byte in data(1, COMMAND | LAST, echo_request()):
                    slow.socket.send(bytes([byte]))
                    if ended.wait(0.2):
                        return

        sending = threading.Thread(target=trickle)
        sending.start()
        answer = slow.answer()
        ended.set()
        sending.join(60)
        assert answer is None or answer[0] == ABORT
    echoes(door)


def test_B24_a_peer_that_never_reads_is_given_up(door: Door) -> None:
    with RawPeer(door.port) as deaf:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.established()
        deaf.socket.settimeout(60)
        with contextlib.suppress(OSError):
            for _ in range(100_000):
                deaf.socket.sendall(data(1, COMMAND | LAST, echo_request()) * 50)
        echoes(door)


def test_P14_B23_past_the_places_of_unknown_peers_a_peer_is_rejected_for_now(door: Door) -> None:
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(RawPeer(door.port, f"127.0.0.{2 + n % 2}"))
            for n in range(LIMITS.unknown_peer_associations_max)
        ]
        for peer in held:
            peer.established()
        refused = stack.enter_context(RawPeer(door.port))
        answer = refused.answer()
        assert answer is not None
        assert (answer[0], tuple(answer[1][1:4])) == (RJ, (2, 3, 2))
        door.known.add("127.0.0.1")
        try:
            until(lambda: _is_served(door))
        finally:
            door.known.clear()
        assert all(peer.echo() == 0 for peer in held)
    until(lambda: _is_served(door))


def test_P14_B23_one_unknown_address_cannot_take_all_places_of_unknown_peers(door: Door) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(LIMITS.unknown_peer_associations_per_address_max):
            stack.enter_context(RawPeer(door.port, "127.0.0.2")).established()
        assert not _is_served(door, "127.0.0.2")
        assert _is_served(door, "127.0.0.3")
    until(lambda: _is_served(door, "127.0.0.2"))


def _is_served(door: Door, source: str = "127.0.0.1") -> bool:
    with RawPeer(door.port, source) as peer:
        peer.say(associate_request())
        answer = peer.answer()
        return answer is not None and answer[0] != RJ


@pytest.mark.parametrize("how", ["close", "reset", "abort", "half"])
def test_B31_300_peers_that_come_and_go_leave_nothing(door: Door, how: str) -> None:
    for _ in range(300):
        with RawPeer(door.port) as peer:
            if how == "reset":
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif how == "abort":
                peer.established().say(pdu(ABORT))
            elif how == "half":
                peer.say(associate_request()[:40])
    until(lambda: _is_served(door))
