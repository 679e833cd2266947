"""Broken data sets are refused with their status and leave nothing; the association goes on (B01 to B12, B20, B21)."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.dicom.part10 import read_file_header
from domain.association import AssociationAborted
from domain.instance import InstanceStored
from domain.quarantine import InstanceQuarantined
from tests.dicom.broken import BROKEN, CANNOT_UNDERSTAND, WHOLE, deflate_bomb
from tests.dicom.encoding import CT_CLASS, INSTANCE, description, minimal
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
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
CONTEXTS = [
    context(1, VERIFICATION, IMPLICIT),
    context(3, CT_IMAGE, EXPLICIT),
    context(5, CT_IMAGE, DEFLATED),
    context(7, MR_CLASS, EXPLICIT),
]
SUCCESS, NOT_AS_DESCRIBED, MISMATCH, INVALID_UID = 0x0000, 0xB007, 0xA900, 0x0117
NOT_OF_THE_CONTEXT = 0x0122
PIECE = 16_000


def stored(
    peer: RawPeer, data_set: bytes, *, sop_class: str = CT_CLASS, instance: str = INSTANCE, number: int = 3
) -> int:
    peer.say(data(number, COMMAND | LAST, store_request(sop_class, instance)))
    pieces = [data_set[at : at + PIECE] for at in range(0, len(data_set), PIECE)] or [b""]
    for at, piece in enumerate(pieces):
        peer.say(data(number, LAST if at == len(pieces) - 1 else 0, piece))
    return peer.status()


@pytest.mark.parametrize(("data_set", "status"), BROKEN)
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
        ({"sop_class": MR_CLASS}, NOT_OF_THE_CONTEXT),
        ({"sop_class": MR_CLASS, "number": 7}, MISMATCH),
        ({"instance": ""}, INVALID_UID),
        ({"instance": "../../etc/passwd"}, INVALID_UID),
        ({"instance": "/etc/passwd"}, INVALID_UID),
        ({"instance": "C:\\x"}, INVALID_UID),
        ({"instance": "1.2.\n3"}, INVALID_UID),
        ({"instance": "1." * 33 + "1"}, INVALID_UID),
        ({"instance": "abc"}, INVALID_UID),
    ],
)
def test_B01_B02_B03_C2_3_what_the_request_names_must_be_a_uid_and_that_of_the_data_set(
    door: Door, named: dict[str, Any], status: int
) -> None:
    before, head = door.objects(), door.log.head()
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        assert stored(peer, WHOLE, **named) == status
        assert peer.echo() == SUCCESS
    assert door.objects() == before
    assert [one.event.NAME for one in door.log.read(head, 10)] == ["InstanceQuarantined"] * (status == MISMATCH)


def test_C2_2_an_object_that_is_not_what_the_request_names_is_kept_aside(door: Door) -> None:
    head = door.log.head()
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        assert stored(peer, WHOLE, instance=INSTANCE + "8") == MISMATCH
    (recorded,) = door.log.read(head, 10)
    fact = recorded.event
    assert isinstance(fact, InstanceQuarantined)
    assert (fact.sop_instance_uid, fact.sop_class_uid) == (INSTANCE + "8", CT_CLASS)
    assert (fact.storage, fact.size) == ("default", len(WHOLE))
    assert "SOPInstanceUID" in fact.refusal
    raw = (door.root / fact.path).read_bytes()
    assert raw[read_file_header(raw).size :] == WHOLE
    assert recorded.envelope.by.kind == "device"
    assert door.temp_files() == []


@pytest.mark.parametrize(("length", "status"), [(32, SUCCESS), (30, NOT_AS_DESCRIBED), (36, NOT_AS_DESCRIBED)])
def test_B08_C2_3_pixels_that_are_not_as_described_are_stored_with_a_warning(
    door: Door, length: int, status: int
) -> None:
    before, head = door.objects(), door.log.head()
    uid = f"{INSTANCE}.{length}"
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        data_set = minimal([*description(4, 4), (0x7FE00010, "OW", bytes(length))], instance=uid)
        assert stored(peer, data_set, instance=uid) == status
        assert peer.echo() == SUCCESS
    assert door.objects() == before + 1
    (recorded,) = door.log.read(head, 1)
    assert isinstance(recorded.event, InstanceStored)
    assert bool(recorded.event.warnings) == (status != SUCCESS)


def test_B12_a_deflate_bomb_is_refused(door: Door) -> None:
    # It is made before, since a busy machine takes longer for it than an association may be idle.
    bomb = deflate_bomb()
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        assert stored(peer, bomb, number=5) == CANNOT_UNDERSTAND
        assert peer.echo() == SUCCESS


def test_a_store_without_a_data_set_is_refused(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS)).say(data(3, COMMAND | LAST, store_request(data_set=False)))
        assert peer.status() == CANNOT_UNDERSTAND
        assert peer.echo() == SUCCESS


def test_B21a_C2_4_D10_the_same_object_again_is_success_and_no_second_fact(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS))
        assert stored(peer, WHOLE) == SUCCESS
        before, head = door.objects(), door.log.head()
        assert stored(peer, WHOLE) == SUCCESS
        assert (door.objects(), door.log.head()) == (before, head)


def test_C2_9_an_abort_in_the_middle_keeps_what_was_finished_and_is_a_fact(door: Door) -> None:
    before = door.log.head()

    def aborted() -> list[AssociationAborted]:
        return [one.event for one in door.log.read(before, 100) if isinstance(one.event, AssociationAborted)]

    with RawPeer(door.port) as peer:
        peer.established(associate_request(CONTEXTS, calling=b"ABORTER"))
        assert stored(peer, WHOLE) == SUCCESS
        peer.say(data(3, COMMAND | LAST, store_request()) + data(3, 0, WHOLE[:100]))
    until(lambda: bool(aborted()))
    (fact,) = aborted()
    assert (fact.calling_ae_title, fact.instances_stored, fact.half_received) == ("ABORTER", 1, 1)
