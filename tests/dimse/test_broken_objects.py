"""Broken data sets are refused with their status and leave nothing; the association goes on (B01 to B12, B20, B21)."""

from __future__ import annotations

import struct
import zlib

import pytest

from tests.dicom.encoding import CT_CLASS, INSTANCE, minimal
from tests.dicom.encoding import element as encoded
from tests.dimse.conftest import Door, until
from tests.dimse.raw_peer import (
    COMMAND,
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    LAST,
    VERIFICATION,
    RawPeer,
    associate_request,
    context,
    data,
    store_request,
)

DEFLATED = "1.2.840.10008.1.2.1.99"
CONTEXTS = [context(1, VERIFICATION, IMPLICIT), context(3, CT_IMAGE, EXPLICIT), context(5, CT_IMAGE, DEFLATED)]
SUCCESS, RESOURCES, CANNOT_UNDERSTAND, MISMATCH, INVALID_UID = 0x0000, 0xA700, 0xC000, 0xA900, 0x0117
PIECE = 16_000


def stored(
    peer: RawPeer, data_set: bytes, *, sop_class: str = CT_CLASS, instance: str = INSTANCE, number: int = 3
) -> int:
    peer.say(data(number, COMMAND | LAST, store_request(sop_class, instance)))
    pieces = [data_set[at : at + PIECE] for at in range(0, len(data_set), PIECE)] or [b""]
    for at, piece in enumerate(pieces):
        peer.say(data(number, LAST if at == len(pieces) - 1 else 0, piece))
    return peer.status()


def nested(depth: int) -> bytes:
    opened = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return minimal() + opened * depth + closed * depth


WHOLE = minimal() + encoded(0x7FE00010, "OW", bytes(512))


@pytest.mark.parametrize(
    ("data_set", "status"),
    [
        pytest.param(b"", CANNOT_UNDERSTAND, id="empty"),
        pytest.param(b"noise that is no data set at all", CANNOT_UNDERSTAND, id="noise"),
        pytest.param(WHOLE[:-1], CANNOT_UNDERSTAND, id="B07-cut"),
        pytest.param(WHOLE[:40], CANNOT_UNDERSTAND, id="B07-cut-early"),
        pytest.param(WHOLE + b"\x10\x00\x10\x00PN\xff\xff", CANNOT_UNDERSTAND, id="B09-length-past-the-end"),
        pytest.param(
            minimal() + struct.pack("<HH2sHI", 0x0029, 0x1010, b"OB", 0, 2**32 - 2), CANNOT_UNDERSTAND, id="B09"
        ),
        pytest.param(nested(65), CANNOT_UNDERSTAND, id="B10-65-deep"),
        pytest.param(nested(20_000), CANNOT_UNDERSTAND, id="B10-20000-deep"),
        pytest.param(WHOLE + bytes(2 * 1024 * 1024), RESOURCES, id="B20-too-large"),
    ],
)
def test_a_broken_data_set_is_refused_and_the_association_goes_on(door: Door, data_set: bytes, status: int) -> None:
    before, head = door.objects(), door.log.head()
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        assert stored(peer, data_set) == status
        assert peer.echo() == SUCCESS
    assert door.objects() == before
    assert door.log.head() == head


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ({"instance": INSTANCE + "9"}, MISMATCH),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, MISMATCH),
        ({"instance": ""}, INVALID_UID),
        ({"instance": "../../etc/passwd"}, INVALID_UID),
        ({"instance": "/etc/passwd"}, INVALID_UID),
        ({"instance": "C:\\x"}, INVALID_UID),
        ({"instance": "1.2.\n3"}, INVALID_UID),
        ({"instance": "1." * 33 + "1"}, INVALID_UID),
        ({"instance": "abc"}, INVALID_UID),
    ],
)
def test_B01_B02_B03_what_the_request_names_must_be_a_uid_and_that_of_the_data_set(
    door: Door, named: dict[str, str], status: int
) -> None:
    before, head = door.objects(), door.log.head()
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        assert stored(peer, WHOLE, **named) == status  # type: ignore[arg-type]
        assert peer.echo() == SUCCESS
    assert (door.objects(), door.log.head()) == (before, head)


def test_B12_a_deflate_bomb_is_refused(door: Door) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data_set = bomb.compress(minimal() + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 256 * 1024 * 1024))
    for _ in range(256):
        data_set += bomb.compress(bytes(1024 * 1024))
    data_set += bomb.flush()
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        assert stored(peer, data_set, number=5) == CANNOT_UNDERSTAND
        assert peer.echo() == SUCCESS


def test_a_store_without_a_data_set_is_refused(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS)).say(data(3, COMMAND | LAST, store_request(data_set=False)))
        assert peer.status() == CANNOT_UNDERSTAND
        assert peer.echo() == SUCCESS


def test_B21a_C2_4_the_same_object_again_is_success_and_no_second_fact(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        assert stored(peer, WHOLE) == SUCCESS
        before, head = door.objects(), door.log.head()
        assert stored(peer, WHOLE) == SUCCESS
        assert (door.objects(), door.log.head()) == (before, head)


def test_C2_9_an_abort_in_the_middle_keeps_what_was_finished_and_is_a_fact(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS, calling=b"ABORTER"))
        assert stored(peer, WHOLE) == SUCCESS
        peer.say(data(3, COMMAND | LAST, store_request()) + data(3, 0, WHOLE[:100]))
    until(lambda: bool(door.log.stream("peer", "ABORTER")))
    (fact,) = door.log.stream("peer", "ABORTER")
    assert (fact.event.instances_stored, fact.event.half_received) == (1, 1)  # type: ignore[attr-defined]
