"""Messages of an association: each in its context, none without end (B20, B24, B25, B28)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.dimse.agreed import Context, Parties
from adapters.dimse.association import Association
from adapters.dimse.errors import AssociationEnded
from adapters.dimse.wire import Wire
from domain.errors import Because, Refused
from domain.limits import KIB, Limits
from tests.dimse.conftest import LIMITS, Door
from tests.dimse.raw_peer import (
    ABORT,
    COMMAND,
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    LAST,
    P_DATA,
    RELEASE_RQ,
    STUDY_FIND,
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
    uid,
    user_items,
)
from tests.edges import edges

UNRECOGNISED_OPERATION, CLASS_NOT_SUPPORTED = 0x0211, 0x0122
STORE, GET, FIND, MOVE, ECHO = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030
STUDY_MOVE, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
CONTEXTS = {VERIFICATION: 1, CT_IMAGE: 3, STUDY_FIND: 5, STUDY_MOVE: 7, STUDY_GET: 9}
ALL = associate_request([context(number, abstract, EXPLICIT, IMPLICIT) for abstract, number in CONTEXTS.items()])


def request(field: int, sop_class: str) -> bytes:
    return command(field, e0002=uid(sop_class), e0110=b"\1\0", e0700=b"\0\0", e0800=b"\1\0", e1000=b"1.2.3\0")


@pytest.mark.parametrize("abstract", CONTEXTS)
@pytest.mark.parametrize("field", [STORE, GET, FIND, MOVE])
def test_an_operation_belongs_to_its_contexts_service(door: Door, field: int, abstract: str) -> None:
    agreed = {CT_IMAGE: STORE, STUDY_FIND: FIND, STUDY_MOVE: MOVE, STUDY_GET: GET}.get(abstract)
    if field == agreed:
        return
    with RawPeer(door.port) as peer:
        peer.established(ALL)
        peer.say(data(CONTEXTS[abstract], COMMAND | LAST, request(field, abstract)))
        peer.say(data(CONTEXTS[abstract], LAST, bytes(100)))
        assert peer.status() == UNRECOGNISED_OPERATION
        assert peer.echo() == 0


@pytest.mark.parametrize("abstract", CONTEXTS)
def test_an_echo_is_answered_in_every_context(door: Door, abstract: str) -> None:
    with RawPeer(door.port) as peer:
        peer.established(ALL).say(data(CONTEXTS[abstract], COMMAND | LAST, echo_request()))
        assert peer.status() == 0


def test_an_object_of_another_class_than_its_contexts_is_refused(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established(ALL)
        peer.say(data(3, COMMAND | LAST, store_request("1.2.840.10008.5.1.4.1.1.4")) + data(3, LAST, bytes(100)))
        assert peer.status() == CLASS_NOT_SUPPORTED
        assert peer.echo() == 0


def test_who_gave_up_the_SCU_role_may_not_store(door: Door) -> None:
    role = item(0x54, struct.pack(">H", len(CT_IMAGE)) + CT_IMAGE.encode() + b"\0\1")
    with RawPeer(door.port) as peer:
        peer.established(associate_request(users=user_items(0, role)))
        peer.say(data(3, COMMAND | LAST, store_request()) + data(3, LAST, bytes(100)))
        assert peer.status() == UNRECOGNISED_OPERATION
        assert peer.echo() == 0


@pytest.mark.parametrize("field", [0x8001, 0x8010, 0x8020, 0x8021, 0x8030, 0x8100, 0x8FFF, 0xFFFF])
def test_B28_an_answer_that_nobody_asked_for_is_an_abort(door: Door, field: int) -> None:
    with RawPeer(door.port) as peer:
        answer = command(field, e0002=uid(VERIFICATION), e0120=b"\1\0", e0800=b"\1\1", e0900=b"\0\0")
        peer.established().say(data(1, COMMAND | LAST, answer))
        assert peer.answer() == (ABORT, b"\0\0\2\2")
        assert peer.answer() is None


def test_B24_a_message_that_trickles_in_small_PDUs_is_given_up(door: Door) -> None:
    """Each PDU is whole and in time, yet the object would take for ever."""
    ended = threading.Event()
    with RawPeer(door.port) as slow:
        slow.established().say(data(3, COMMAND | LAST, store_request()))

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(LIMITS.dimse_timeout_seconds / 4):
                    slow.socket.sendall(data(3, 0, b"x"))

        sending = threading.Thread(target=trickle)
        sending.start()
        answer = slow.answer()
        ended.set()
        sending.join(60)
        assert answer == (ABORT, b"\0\0\2\0")


def test_B24_a_command_that_trickles_in_small_PDUs_is_given_up(door: Door) -> None:
    ended = threading.Event()
    with RawPeer(door.port) as slow:
        slow.established()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(LIMITS.dimse_timeout_seconds / 4):
                    slow.socket.sendall(data(1, COMMAND, b"\0\0"))

        sending = threading.Thread(target=trickle)
        sending.start()
        answer = slow.answer()
        ended.set()
        sending.join(60)
        assert answer == (ABORT, b"\0\0\2\0")


def test_B20_a_refused_data_set_that_does_not_end_is_given_up(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established().say(data(3, COMMAND | LAST, store_request(instance="no uid")))
        with contextlib.suppress(OSError):
            for _ in range(LIMITS.object_size_max // 16_000 * 3):
                peer.socket.sendall(data(3, 0, bytes(16_000)))
        assert peer.status() == 0x0117
        assert peer.answer() == (ABORT, b"\0\0\2\0")


@edges
def test_D21_B20_of_a_refused_data_set_as_much_is_passed_over_as_an_object_may_have_and_no_more(
    door: Door, off: int
) -> None:
    left = LIMITS.object_size_max + off
    with RawPeer(door.port) as peer:
        peer.established().say(data(3, COMMAND | LAST, store_request(instance="no uid")))
        while left > 0:
            peer.say(data(3, LAST if left <= 16_000 else 0, bytes(min(left, 16_000))))
            left -= 16_000
        assert peer.status() == 0x0117
        if off <= 0:
            assert peer.echo() == 0
        else:
            assert peer.answer() == (ABORT, b"\0\0\2\0")


@contextlib.contextmanager
def fed(said: bytes) -> Iterator[Association]:
    """An established association whose peer has said this and closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server = listening.accept()[0]
    client.sendall(said)
    client.shutdown(socket.SHUT_WR)
    limits = Limits(artim_timeout_seconds=0.01, pdu_max=64 * KIB, object_size_max=64 * KIB)
    wire = Wire(server, limits)
    wire.established()
    contexts = {number: Context(number, abstract, IMPLICIT, False, True) for abstract, number in CONTEXTS.items()}
    try:
        yield Association(wire, Parties("RAW", "ANNALS", "127.0.0.1"), contexts, 16384, limits)
    finally:
        wire.close()
        client.close()


pieces = st.one_of(
    st.binary(max_size=60),
    st.builds(pdu, st.integers(0, 9), st.binary(max_size=40), st.none()),
    st.builds(data, st.sampled_from([1, 3, 4, 5]), st.integers(0, 4), st.binary(max_size=40)),
    st.builds(lambda a, b: pdu(P_DATA, pdv(3, 2, a) + pdv(3, 3, b)), st.binary(max_size=20), st.binary(max_size=20)),
    st.sampled_from(
        [
            data(1, COMMAND | LAST, echo_request()),
            data(3, COMMAND | LAST, store_request()),
            data(3, 0, bytes(100)),
            data(3, LAST, bytes(7)),
            pdu(RELEASE_RQ),
            pdu(ABORT),
        ]
    ),
)


@given(said=st.lists(pieces, max_size=8))
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_peer_says_is_messages_a_release_or_the_end(said: list[bytes]) -> None:
    with fed(b"".join(said)) as association:
        try:
            while (message := association.next_command()) is not None:
                assert message[0] in association.contexts
                with contextlib.suppress(Refused):
                    association.read_small_data_set(50)
        except AssociationEnded:
            pass
        assert association.wire.socket.fileno() == -1


@edges
def test_D21_B25_a_PDU_is_as_long_as_was_announced_with_some_room_for_headers_and_no_longer(
    door: Door, off: int
) -> None:
    size = LIMITS.pdu_max + 4 * KIB + off
    with RawPeer(door.port) as peer:
        peer.established(ALL).say(data(5, COMMAND | LAST, request(FIND, STUDY_FIND)))
        peer.say(pdu(P_DATA, pdv(5, LAST, bytes(size - 6))))
        if off <= 0:
            assert peer.status() == 0
        else:
            assert peer.answer() == (ABORT, b"\0\0\2\6")


@edges
def test_D21_an_identifier_has_so_many_bytes_and_no_more(off: int) -> None:
    sent = data(5, COMMAND | LAST, request(FIND, STUDY_FIND)) + data(5, 0, bytes(60)) + data(5, LAST, bytes(40 + off))
    with fed(sent) as association:
        assert association.next_command()
        if off <= 0:
            assert len(association.read_small_data_set(100)) == 100 + off
            return
        with pytest.raises(Refused) as refused:
            association.read_small_data_set(100)
        assert refused.value.because is Because.CANNOT_UNDERSTAND


def test_F46_an_operation_that_waits_for_its_peer_goes_on_when_the_server_is_stopping_and_nothing_follows_it() -> None:
    answer = command(STORE | 0x8000, e0002=uid(CT_IMAGE), e0120=b"\1\0", e0800=b"\1\1", e0900=b"\0\0")
    with fed(data(3, COMMAND | LAST, answer) + data(1, COMMAND | LAST, echo_request())) as association:
        association.drain()
        assert association.response_to(1).status == 0
        with pytest.raises(AssociationEnded, match="the server is stopping"):
            association.next_command()
