"""What breaks PS3.8 is answered by a rejection, an abort or a close; the next peer never notices (B22 to B28)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dimse.conftest import LIMITS, Door
from tests.dimse.raw_peer import (
    ABORT,
    AC,
    COMMAND,
    CT_IMAGE,
    EXPLICIT,
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
    command,
    context,
    data,
    echo_request,
    item,
    pdu,
    pdv,
    store_request,
    user_items,
)

MIB = 1024 * 1024
TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)


def ends(peer: RawPeer) -> bool:
    """Whether what follows is an A-ABORT of ours, or nothing, and then the end of the connection."""
    while (answer := peer.answer()) is not None:
        if answer[0] != ABORT:
            return False
        assert answer[1][2] in (0, 2)
    return True


def still_serves(door: Door) -> None:
    with RawPeer(door.port) as peer:
        assert peer.established().echo() == 0
        peer.say(pdu(RELEASE_RQ))
        answer = peer.answer()
        assert answer is not None
        assert answer[0] == RELEASE_RP


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="B25-HTTP"),
        pytest.param(TLS_HELLO, id="B22-TLS"),
        pytest.param(pdu(0), id="B25-type-0"),
        pytest.param(pdu(8), id="B25-type-8"),
        pytest.param(pdu(255), id="B25-type-255"),
        pytest.param(pdu(RQ, b"", 0), id="B25-empty"),
        pytest.param(pdu(RQ, b"x" * 10, 2**32 - 1), id="B25-4-GiB"),
        pytest.param(pdu(RQ, b"x" * 10, LIMITS.associate_pdu_max + 1), id="B25-too-long"),
        pytest.param(pdu(RQ, b"\0\1" + bytes(66)), id="B26-no-items"),
        pytest.param(pdu(P_DATA, pdv(1, 3, echo_request())), id="data-first"),
        pytest.param(pdu(RELEASE_RQ), id="release-first"),
        pytest.param(pdu(RELEASE_RP), id="release-answer-first"),
        pytest.param(pdu(AC), id="accept-first"),
        pytest.param(pdu(RJ), id="reject-first"),
        pytest.param(pdu(ABORT), id="abort-first"),
        pytest.param(
            associate_request([context((2 * n + 1) & 0xFF, CT_IMAGE, IMPLICIT) for n in range(400)]), id="B26-400"
        ),
        pytest.param(associate_request([context(2, VERIFICATION, IMPLICIT)]), id="B26-even-id"),
        pytest.param(associate_request([context(1, VERIFICATION, IMPLICIT)] * 2), id="B26-same-id"),
        pytest.param(associate_request(users=user_items(16384, *[item(0x5A, b"")] * 10_000)), id="B26-10000-items"),
        pytest.param(associate_request()[:200] + b"\xff" * 60, id="B26-cut-item"),
    ],
)
def test_what_is_no_association_request_ends_the_connection(door: Door, said: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.say(said)
        assert ends(peer)
    still_serves(door)


@pytest.mark.parametrize(
    ("request_pdu", "expected"),
    [
        pytest.param(associate_request(version=2), (1, 2, 2), id="B26-version"),
        pytest.param(associate_request(version=0), (1, 2, 2), id="B26-version-0"),
        pytest.param(associate_request(application_context="1.2.3"), (1, 1, 2), id="application-context"),
    ],
)
def test_what_is_not_supported_is_rejected_with_its_reason(
    door: Door, request_pdu: bytes, expected: tuple[int, int, int]
) -> None:
    with RawPeer(door.port) as peer:
        peer.say(request_pdu)
        answer = peer.answer()
        assert answer is not None
        assert (answer[0], tuple(answer[1][1:4])) == (RJ, expected)
        assert peer.answer() is None
    still_serves(door)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(pdu(RQ, associate_request()[6:]), id="B28-request-again"),
        pytest.param(pdu(AC), id="accept"),
        pytest.param(pdu(RJ), id="reject"),
        pytest.param(pdu(RELEASE_RP), id="release-answer"),
        pytest.param(pdu(99), id="B25-unknown-type"),
        pytest.param(pdu(P_DATA, b"", 2 * MIB), id="B25-longer-than-announced"),
        pytest.param(pdu(P_DATA, b"", 0), id="B27-no-pdv"),
        pytest.param(pdu(P_DATA, struct.pack(">IBB", 0, 1, 3)), id="B27-pdv-0"),
        pytest.param(pdu(P_DATA, struct.pack(">IBB", 1, 1, 3)), id="B27-pdv-1"),
        pytest.param(pdu(P_DATA, struct.pack(">IBB", 2**32 - 1, 1, 3)), id="B27-pdv-4-GiB"),
        pytest.param(pdu(P_DATA, struct.pack(">IBB", 100, 1, 3) + bytes(4)), id="B27-pdv-past-the-end"),
        pytest.param(pdu(P_DATA, b"\0\0\0"), id="B27-half-a-pdv"),
        pytest.param(data(7, COMMAND | LAST, echo_request()), id="B27-unknown-context"),
        pytest.param(data(1, 0, b"data"), id="B27-data-before-command"),
        pytest.param(data(1, COMMAND, bytes(40_000)) + data(1, COMMAND, bytes(40_000)), id="B27-long-command"),
        pytest.param(data(1, COMMAND, b"x") + data(3, COMMAND, b"y"), id="B27-command-in-two-contexts"),
        pytest.param(data(1, COMMAND | LAST, b""), id="B27-empty-command"),
        pytest.param(data(1, COMMAND | LAST, b"\1\2\3"), id="B27-noise-command"),
        pytest.param(data(1, COMMAND | LAST, command(None, e0110=b"\1\0")), id="B27-no-command-field"),
        pytest.param(data(1, COMMAND | LAST, echo_request()[:-3]), id="B27-cut-command"),
        pytest.param(data(3, COMMAND | LAST, store_request()) + data(3, COMMAND, b"x"), id="B27-command-in-data-set"),
        pytest.param(data(3, COMMAND | LAST, store_request()) + data(1, 0, b"x"), id="B27-data-of-another-context"),
        pytest.param(data(3, COMMAND | LAST, store_request()) + pdu(RELEASE_RQ), id="release-in-data-set"),
        pytest.param(data(1, COMMAND, echo_request()[:8]) + pdu(RELEASE_RQ), id="release-in-command"),
        pytest.param(data(3, COMMAND | LAST, store_request()) + pdu(ABORT), id="abort-in-data-set"),
    ],
)
def test_what_has_no_place_in_an_association_ends_it(door: Door, said: bytes) -> None:
    before = door.objects()
    with RawPeer(door.port) as peer:
        peer.established().say(said)
        assert ends(peer)
    assert door.objects() == before
    still_serves(door)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(
            data(1, COMMAND | LAST, command(0x0FFF, e0120=b"\x09\x00", e0800=b"\1\1")), id="cancel-of-nothing"
        ),
        pytest.param(b"", id="nothing"),
    ],
)
def test_B28_what_means_nothing_is_passed_over(door: Door, said: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.established().say(said)
        assert peer.echo() == 0


@pytest.mark.parametrize("field", [0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0020, 0x0021, 0x0010, 0x7777])
def test_an_operation_that_is_not_offered_is_answered_so_and_the_association_goes_on(door: Door, field: int) -> None:
    with RawPeer(door.port) as peer:
        request = command(field, e0002=VERIFICATION.encode() + b"\0", e0110=b"\5\0", e0800=b"\1\0")
        peer.established().say(data(1, COMMAND | LAST, request) + data(1, LAST, bytes(100)))
        assert peer.status() == 0x0211
        assert peer.echo() == 0


@pytest.mark.parametrize("size", [1, 7, 100, 16_000])
def test_a_message_may_come_in_pieces_of_any_size(door: Door, size: int) -> None:
    encoded = echo_request()
    pieces = [encoded[at : at + size] for at in range(0, len(encoded), size)]
    with RawPeer(door.port) as peer:
        peer.established()
        for number, piece in enumerate(pieces):
            peer.say(data(1, COMMAND | (LAST if number == len(pieces) - 1 else 0), piece))
        assert peer.status() == 0
        several = b"".join(pdv(1, COMMAND | (LAST if n == len(pieces) - 1 else 0), p) for n, p in enumerate(pieces))
        peer.say(pdu(P_DATA, several))
        assert peer.status() == 0


def test_C4_3_contexts_are_accepted_one_by_one_and_unknown_items_ignored(door: Door) -> None:
    contexts = [
        context(1, VERIFICATION, IMPLICIT),
        context(3, CT_IMAGE, "1.2.3.4.5.6", EXPLICIT, IMPLICIT),
        context(5, "1.2.840.10008.5.1.4.34.6.1", IMPLICIT),
        context(7, CT_IMAGE, "9.9.9"),
    ]
    with RawPeer(door.port) as peer:
        peer.say(associate_request(contexts, users=user_items(0, item(0x99, b"what is this"))))
        answer = peer.answer()
        assert answer is not None
        kind, body = answer
        assert kind == AC
        results = {}
        at = 68
        while at < len(body):
            what, length = struct.unpack_from(">BxH", body, at)
            if what == 0x21:
                results[body[at + 4]] = body[at + 6]
            at += 4 + length
        assert results[1] == results[3] == 0
        assert results[5] in (0, 3)
        assert results[7] in (0, 4)
        assert peer.echo() == 0


@given(noise=st.binary(min_size=1, max_size=400), after=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_ends_a_connection_or_is_waited_for_but_never_the_listener(door: Door, noise: bytes, after: bool) -> None:
    with RawPeer(door.port) as peer:
        if after:
            peer.established()
        peer.say(noise)
    still_serves(door)
