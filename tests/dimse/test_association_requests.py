"""Association requests as odd and hostile peers make them: the answer, and what the log says (B26, B29, C4)."""

from __future__ import annotations

import json
import logging
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC

from adapters.dimse.associate_request import AssociationRequest, MalformedAssociate, Proposal, parse_request
from annals.log_lines import JsonLines
from domain.limits import Limits
from tests.dimse.conftest import Door, until
from tests.dimse.raw_peer import (
    ABORT,
    AC,
    COMMAND,
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    LAST,
    P_DATA,
    RJ,
    VERIFICATION,
    RawPeer,
    associate_request,
    context,
    data,
    echo_request,
    item,
    user_items,
)
from tests.edges import edges

CALLING, CALLED = (1, 1, 3), (1, 1, 7)
ACCEPTED, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 3, 4
LIMITS = Limits()


def results(answer: tuple[int, bytes] | None) -> dict[int, int]:
    """The result of each presentation context of an A-ASSOCIATE-AC, read by pynetdicom."""
    assert answer is not None
    kind, body = answer
    assert kind == AC, answer
    pdu = A_ASSOCIATE_AC()
    pdu.decode(struct.pack(">BxI", AC, len(body)) + body)
    return {one.presentation_context_id: one.result_reason for one in pdu.presentation_context}


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        pytest.param({"calling": b" " * 16}, CALLING, id="spaces"),
        pytest.param({"calling": bytes(16)}, CALLING, id="NULs"),
        pytest.param({"calling": b"A\nB"}, CALLING, id="newline"),
        pytest.param({"calling": b"A\x1b[2JB"}, CALLING, id="escape"),
        pytest.param({"calling": b"A\0B"}, CALLING, id="NUL-inside"),
        pytest.param({"calling": b"A\\B"}, CALLING, id="backslash"),
        pytest.param({"calling": b"\xff\xfe"}, CALLING, id="not-ASCII"),
        pytest.param({"called": b" " * 16}, CALLED, id="called-spaces"),
        pytest.param({"called": b"A\r\nB"}, CALLED, id="called-newline"),
        pytest.param({"called": b"\xc3\xa9"}, CALLED, id="called-not-ASCII"),
    ],
)
def test_B29_what_is_no_AE_title_is_rejected_as_not_recognised(
    door: Door, titles: dict[str, bytes], expected: tuple[int, int, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "annals")
    with RawPeer(door.port) as peer:
        peer.say(associate_request(**titles))  # type: ignore[arg-type]
        answer = peer.answer()
        assert answer is not None
        assert (answer[0], tuple(answer[1][1:4])) == (RJ, expected)
        assert peer.answer() is None
    until(lambda: len(caplog.records) > 0)
    (line,) = [JsonLines().format(record) for record in caplog.records]
    assert "/".join(map(str, expected)) in json.loads(line)["message"]
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("titles", [{"calling": b"  RAW"}, {"calling": b"RAW\0\0"}, {"called": b" a b "}])
def test_C4_5_padding_of_AE_titles_is_trimmed(door: Door, titles: dict[str, bytes]) -> None:
    with RawPeer(door.port) as peer:
        assert peer.established(associate_request(**titles)).echo() == 0  # type: ignore[arg-type]


def test_B26_128_contexts_are_answered_one_by_one(door: Door) -> None:
    proposed = [context(1, VERIFICATION, IMPLICIT)]
    proposed += [context(2 * n + 1, CT_IMAGE, EXPLICIT if n % 2 else "1.2.3.4") for n in range(1, 128)]
    with RawPeer(door.port) as peer:
        peer.say(associate_request(proposed))
        answered = results(peer.answer())
        assert len(answered) == 128
        assert {answered[2 * n + 1] for n in range(1, 128, 2)} == {ACCEPTED}
        assert {answered[2 * n + 1] for n in range(2, 128, 2)} == {NO_TRANSFER_SYNTAX}
        assert peer.echo() == 0


@pytest.mark.parametrize(
    ("abstract", "syntaxes", "expected"),
    [
        pytest.param(CT_IMAGE + "\0", [EXPLICIT + "\0"], ACCEPTED, id="padded"),
        pytest.param("1.2.3.4.5", [IMPLICIT], ACCEPTED, id="private"),
        pytest.param("../../etc/passwd", [IMPLICIT], NO_ABSTRACT_SYNTAX, id="path"),
        pytest.param("", [IMPLICIT], NO_ABSTRACT_SYNTAX, id="empty"),
        pytest.param("1." * 40 + "1", [IMPLICIT], NO_ABSTRACT_SYNTAX, id="long"),
        pytest.param("1.2.\u00e9", [IMPLICIT], NO_ABSTRACT_SYNTAX, id="not-ASCII"),
        pytest.param(CT_IMAGE, ["\u00e9", "x" * 1000, "", IMPLICIT], ACCEPTED, id="one-good-syntax-among-odd"),
        pytest.param(CT_IMAGE, ["\n"], NO_TRANSFER_SYNTAX, id="no-good-syntax"),
        pytest.param(CT_IMAGE, [EXPLICIT] * 500, ACCEPTED, id="500-syntaxes"),
        pytest.param("1.2.840.10008.1.2", [IMPLICIT], NO_ABSTRACT_SYNTAX, id="a-transfer-syntax-as-class"),
        pytest.param("1.2.840.10008.5.1.4.31", [IMPLICIT], NO_ABSTRACT_SYNTAX, id="a-class-not-offered"),
    ],
)
def test_an_odd_context_is_refused_alone(door: Door, abstract: str, syntaxes: list[str], expected: int) -> None:
    with RawPeer(door.port) as peer:
        peer.say(associate_request([context(1, VERIFICATION, IMPLICIT), context(3, abstract, *syntaxes)]))
        assert results(peer.answer()) == {1: ACCEPTED, 3: expected}
        assert peer.echo() == 0


@pytest.mark.parametrize(
    "request_pdu",
    [
        pytest.param(associate_request([context(1, VERIFICATION)]), id="no-transfer-syntax"),
        pytest.param(associate_request([item(0x20, b"\1\0\0\0" + item(0x40, b"1.2"))]), id="no-abstract-syntax"),
        pytest.param(associate_request([item(0x20, b"\1\0")]), id="short-context"),
        pytest.param(associate_request([]), id="no-context"),
        pytest.param(associate_request(users=user_items() * 2), id="two-user-items"),
        pytest.param(associate_request(users=item(0x50, item(0x51, b"\0\0"))), id="short-maximum-length"),
        pytest.param(associate_request(users=item(0x50, item(0x54, b"\0\x40" + b"1.2"))), id="cut-role"),
        pytest.param(associate_request(users=item(0x50, item(0x56, b"\xff"))), id="cut-extended-negotiation"),
        pytest.param(associate_request(users=user_items(0, *[item(0x58, b"")] * 300)), id="300-user-items"),
    ],
)
def test_B26_a_request_that_cannot_be_understood_is_aborted(door: Door, request_pdu: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.say(request_pdu)
        answer = peer.answer()
        assert answer == (ABORT, bytes(4))
        assert peer.answer() is None


@pytest.mark.parametrize(
    "users",
    [
        pytest.param(b"", id="no-user-item"),
        pytest.param(user_items(0), id="unlimited"),
        pytest.param(user_items(0, item(0x55, b"\xff\n" * 30)), id="odd-version-name"),
        pytest.param(user_items(0, item(0x52, b"not a uid")), id="odd-implementation-class"),
        pytest.param(user_items(0, item(0x53, b"\0\1\0\1"), item(0x99, b"?")), id="unknown-items"),
        pytest.param(user_items(0, item(0x58, b"\1\0\xff\xff" + bytes(60_000))), id="60-KB-user-identity"),
        pytest.param(user_items(0, item(0x54, b"\0\x11" + VERIFICATION.encode() + b"\0\0")), id="role-of-nobody"),
    ],
)
def test_C4_3_what_need_not_be_understood_is_passed_over(door: Door, users: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.say(associate_request(users=users))
        assert results(peer.answer())[1] == ACCEPTED
        if users and b"\0\x11" + VERIFICATION.encode() not in users:
            assert peer.echo() == 0


@pytest.mark.parametrize("maximum", [*range(1, 15), 100, 4096, 131_072, 2**32 - 1])
def test_C4_1_no_PDU_is_longer_than_the_peer_takes(door: Door, maximum: int) -> None:
    """A PDV of two bytes is the least that goes: a peer that takes less than 8 gets 8."""
    with RawPeer(door.port) as peer:
        peer.established(associate_request(users=user_items(maximum)))
        peer.say(data(1, COMMAND | LAST, echo_request()))
        encoded, flags = b"", 0
        while not flags & LAST:
            answer = peer.answer()
            assert answer is not None
            kind, body = answer
            assert kind == P_DATA
            assert len(body) <= max(maximum, 8)
            encoded, flags = encoded + body[6:], body[5]
        assert b"\0\0\0\x09\2\0\0\0\0\0" in encoded


uids = st.from_regex(r"[0-9.]{1,64}", fullmatch=True).map(lambda text: text.rstrip("\0 "))


@given(
    calling=st.from_regex(r"[!-Z]{1,16}", fullmatch=True),
    called=st.from_regex(r"[!-Z]{1,16}", fullmatch=True),
    proposals=st.lists(st.tuples(uids, st.lists(uids, min_size=1, max_size=4)), min_size=1, max_size=20),
    maximum=st.integers(0, 2**32 - 1),
)
def test_what_is_asked_is_what_is_read(
    calling: str, called: str, proposals: list[tuple[str, list[str]]], maximum: int
) -> None:
    contexts = [context(2 * n + 1, abstract, *syntaxes) for n, (abstract, syntaxes) in enumerate(proposals)]
    sent = associate_request(
        contexts, calling=calling.encode(), called=called.encode(), users=user_items(maximum, item(0x55, b"V"))
    )
    assert parse_request(sent[6:], "192.0.2.1", LIMITS) == AssociationRequest(
        calling,
        called,
        "192.0.2.1",
        1,
        "1.2.840.10008.3.1.1.1",
        tuple(Proposal(2 * n + 1, abstract, tuple(syntaxes)) for n, (abstract, syntaxes) in enumerate(proposals)),
        maximum,
        "1.2.3.4",
        "V",
        {},
        {},
    )


@st.composite
def broken_requests(draw: st.DrawFn) -> bytes:
    """A good request with some bytes changed, cut out or put in."""
    whole = bytearray(
        associate_request(users=user_items(0, item(0x54, b"\0\0031.2\1\1"), item(0x56, b"\0\0031.2x")))[6:]
    )
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(whole) - 1))
        whole[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
        if not whole:
            break
    return bytes(whole)


@given(body=st.one_of(st.binary(max_size=300), broken_requests()))
@settings(max_examples=400)
def test_B26_any_bytes_are_a_request_or_malformed(body: bytes) -> None:
    try:
        request = parse_request(body, "192.0.2.1", LIMITS)
    except MalformedAssociate:
        return
    assert 0 < len(request.proposals) <= LIMITS.presentation_contexts_max


@edges
def test_D21_B26_a_request_has_so_many_user_items_and_no_more(door: Door, off: int) -> None:
    more = [item(0x58, b"")] * (LIMITS.user_items_max + off - 2)
    with RawPeer(door.port) as peer:
        peer.say(associate_request(users=user_items(0, *more)))
        answer = peer.answer()
        if off <= 0:
            assert results(answer)[1] == ACCEPTED
        else:
            assert answer == (ABORT, bytes(4))


@edges
def test_D21_B26_a_request_has_so_many_contexts_and_no_more(off: int) -> None:
    """At the limit of 128 one more would have to repeat an id."""
    limits = Limits(presentation_contexts_max=5)
    sent = associate_request([context(2 * number + 1, CT_IMAGE, EXPLICIT) for number in range(5 + off)])
    if off <= 0:
        assert len(parse_request(sent[6:], "192.0.2.1", limits).proposals) == 5 + off
        return
    with pytest.raises(MalformedAssociate, match="presentation contexts, or more"):
        parse_request(sent[6:], "192.0.2.1", limits)
