"""The acceptor's side of PS3.8 Table 9-10, PDU by PDU: what is answered in each state, and how it ends (B25, B28)."""

from __future__ import annotations

import time

import pytest

from tests.dimse.conftest import LIMITS, Door, until
from tests.dimse.raw_peer import (
    ABORT,
    AC,
    COMMAND,
    IMPLICIT,
    LAST,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    RQ,
    VERIFICATION,
    RawPeer,
    associate_request,
    context,
    data,
    echo_request,
    item,
    pdu,
    pdv,
    store_request,
)
from tests.edges import edges

USER, PROVIDER = 0, 2
UNSPECIFIED, UNRECOGNISED, UNEXPECTED, INVALID_PARAMETER = 0, 1, 2, 6
ECHO = pdv(1, COMMAND | LAST, echo_request())


def aborted(peer: RawPeer) -> tuple[int, int]:
    """Source and reason of the A-ABORT that comes next and is the last."""
    answer = peer.answer()
    assert answer is not None, "closed without an A-ABORT"
    kind, body = answer
    assert kind == ABORT
    assert len(body) == 4
    assert peer.answer() is None
    return body[2], body[3]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(pdu(AC), id="Evt3-accept"),
        pytest.param(pdu(RJ), id="Evt4-reject"),
        pytest.param(pdu(P_DATA, ECHO), id="Evt10-data"),
        pytest.param(pdu(RELEASE_RQ), id="Evt12-release"),
        pytest.param(pdu(RELEASE_RP), id="Evt13-released"),
        pytest.param(pdu(0), id="Evt19-type-0"),
        pytest.param(pdu(8), id="Evt19-type-8"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n", id="Evt19-HTTP"),
        pytest.param(bytes.fromhex("1603010200010001fc0303") + bytes(500), id="Evt19-TLS"),
        pytest.param(pdu(RQ, b"x" * 10, LIMITS.associate_pdu_max + 1), id="Evt19-too-long"),
        pytest.param(pdu(RQ, b""), id="Evt19-empty-request"),
        pytest.param(associate_request([context(2, VERIFICATION, IMPLICIT)]), id="Evt19-even-context"),
    ],
)
def test_Sta2_AA1_what_is_no_request_is_aborted(door: Door, said: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.say(said)
        assert aborted(peer) == (USER, UNSPECIFIED)


@edges
def test_D21_B25_a_request_has_so_many_bytes_and_no_more(door: Door, off: int) -> None:
    """Items that nobody knows fill it: they are ignored (PS3.8 9.3.1)."""
    request = associate_request()[6:]
    room = LIMITS.associate_pdu_max + off - len(request)
    filling = item(0x99, bytes(60_000)) * (room // 60_004)
    said = pdu(RQ, request + filling + item(0x99, bytes(room - len(filling) - 4)))
    with RawPeer(door.port) as peer:
        if off <= 0:
            assert peer.established(said).echo() == 0
        else:
            peer.say(said)
            assert aborted(peer) == (USER, UNSPECIFIED)


def test_Sta2_AA2_an_abort_is_a_close(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.say(pdu(ABORT))
        assert peer.answer() is None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param(pdu(RQ, associate_request()[6:]), UNEXPECTED, id="Evt6-request"),
        pytest.param(pdu(AC), UNEXPECTED, id="Evt3-accept"),
        pytest.param(pdu(RJ), UNEXPECTED, id="Evt4-reject"),
        pytest.param(pdu(RELEASE_RP), UNEXPECTED, id="Evt13-released"),
        pytest.param(pdu(0), UNRECOGNISED, id="Evt19-type-0"),
        pytest.param(pdu(8), UNRECOGNISED, id="Evt19-type-8"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", UNRECOGNISED, id="Evt19-HTTP"),
        pytest.param(pdu(P_DATA, bytes(5)), INVALID_PARAMETER, id="Evt19-noise"),
        pytest.param(pdu(P_DATA, b""), INVALID_PARAMETER, id="Evt19-no-PDV"),
        pytest.param(pdu(P_DATA, b"x", 2**32 - 1), INVALID_PARAMETER, id="Evt19-4-GiB"),
    ],
)
@pytest.mark.parametrize("before", [b"", pdu(P_DATA, ECHO), data(1, COMMAND, echo_request()[:20])])
def test_Sta6_AA8_what_has_no_place_is_aborted_with_its_reason(
    door: Door, said: bytes, reason: int, before: bytes
) -> None:
    with RawPeer(door.port) as peer:
        peer.established().say(before + said)
        if before == pdu(P_DATA, ECHO):
            assert peer.status() == 0
        assert aborted(peer) == (PROVIDER, reason)


def test_an_abort_is_heard_though_the_peer_has_sent_more(door: Door) -> None:
    """What lies unread when we close would take our last words back; they are heard in every one of 30 tries."""
    for _ in range(30):
        with RawPeer(door.port) as peer:
            peer.established().say(pdu(AC) + bytes(60_000))
            assert aborted(peer) == (PROVIDER, UNEXPECTED)


def test_Sta6_AA3_an_abort_is_a_close(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established().say(pdu(ABORT))
        assert peer.answer() is None


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        pytest.param(data(1, COMMAND, echo_request()[:20]), UNEXPECTED, id="command"),
        pytest.param(data(3, COMMAND | LAST, store_request()), UNEXPECTED, id="before-the-data-set"),
        pytest.param(data(3, COMMAND | LAST, store_request()) + data(3, 0, b"abcd"), UNEXPECTED, id="data-set"),
    ],
)
def test_Sta6_a_release_in_the_middle_of_a_message_is_aborted(door: Door, before: bytes, reason: int) -> None:
    with RawPeer(door.port) as peer:
        peer.established().say(before + pdu(RELEASE_RQ))
        assert aborted(peer) == (PROVIDER, reason)


def test_Sta8_Sta13_AR4_a_release_is_answered_and_closed(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established().say(pdu(RELEASE_RQ))
        assert peer.answer() == (RELEASE_RP, bytes(4))
        assert peer.answer() is None


@pytest.mark.parametrize("after", [pdu(RQ, associate_request()[6:]), pdu(P_DATA, ECHO), pdu(ABORT), b"x"])
def test_Sta13_AA6_after_a_rejection_nothing_is_served(door: Door, after: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.say(associate_request(version=2) + after)
        answer = peer.answer()
        assert answer is not None
        assert answer[0] == RJ
        assert peer.answer() is None


@pytest.mark.parametrize(
    "refused",
    [pytest.param(associate_request(version=2), id="rejected"), pytest.param(pdu(AC), id="aborted")],
)
def test_Sta13_ARTIM_a_refused_peer_that_goes_on_sending_does_not_keep_its_place(door: Door, refused: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.say(refused)
        assert peer.answer() is not None
        held = time.monotonic() + 60

        def let_go() -> bool:
            assert time.monotonic() < held, "the place is still held"
            try:
                peer.socket.sendall(b"x")
            except OSError:
                return True
            return False

        until(let_go)
