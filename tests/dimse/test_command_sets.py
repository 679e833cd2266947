"""Command sets: encoded as pynetdicom reads them, and nothing odd gets past (B27)."""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom import dimse_messages, dimse_primitives

from adapters.dimse.command import NO_DATA_SET, Command, MalformedCommand
from tests.dimse.conftest import LIMITS, Door
from tests.dimse.raw_peer import (
    ABORT,
    COMMAND,
    LAST,
    P_DATA,
    VERIFICATION,
    RawPeer,
    command,
    data,
    echo_request,
    element,
    uid,
)

ECHO, STORE, MOVE = 0x0030, 0x0001, 0x0021
WELL = echo_request()
US = st.integers(0, 0xFFFF)
UID = st.from_regex(r"[1-9][0-9]{0,8}(\.[1-9][0-9]{0,8}){1,5}", fullmatch=True)
AE = st.from_regex(r"[!-Z]{1,16}", fullmatch=True)


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(WELL[12:], id="no-group-length"),
        pytest.param(element(0, 0, b"\xff\xff\xff\x7f") + WELL[12:], id="wrong-group-length"),
        pytest.param(command(ECHO, e0110=b"\1\0", e0800=b"\1\1"), id="no-class"),
        pytest.param(command(ECHO, e0002=uid(VERIFICATION), e0800=b"\1\1"), id="no-message-id"),
        pytest.param(command(ECHO, e0110=b"\1\0", e0800=b"\1\1", e7777=b"what"), id="unknown-element"),
    ],
)
def test_a_command_set_that_is_a_little_odd_is_answered(door: Door, encoded: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.established().say(data(1, COMMAND | LAST, encoded))
        assert peer.status() == 0
        assert peer.echo() == 0


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"", id="empty"),
        pytest.param(WELL[:-1], id="cut"),
        pytest.param(element(0, 0x0100, b"\x30\0") + element(0, 0x0800, b"\1\1\1"), id="odd-length"),
        pytest.param(element(0, 0x0100, b"\x30\0") + struct.pack("<HHI", 0, 0x0800, 2**32 - 1), id="4-GiB-element"),
        pytest.param(element(0, 0x0800, b"\1\1") + element(0, 0x0100, b"\x30\0"), id="out-of-order"),
        pytest.param(element(0, 0x0100, b"\x30\0") * 2 + element(0, 0x0800, b"\1\1"), id="twice"),
        pytest.param(WELL + element(8, 5, b"ISO_IR 100"), id="another-group"),
        pytest.param(command(None, e0110=b"\1\0", e0800=b"\1\1"), id="no-command-field"),
        pytest.param(command(ECHO, e0110=b"\1\0"), id="no-data-set-type"),
        pytest.param(command(ECHO, e0110=b"\1\0", e0800=b""), id="empty-data-set-type"),
        pytest.param(element(0, 0x0100, b"") + element(0, 0x0800, b"\1\1"), id="empty-command-field"),
    ],
)
def test_B27_a_command_set_that_cannot_be_understood_is_an_abort(door: Door, encoded: bytes) -> None:
    with RawPeer(door.port) as peer:
        peer.established().say(data(1, COMMAND | LAST, encoded))
        assert peer.answer() == (ABORT, b"\0\0\2\6")
        assert peer.answer() is None


def test_B27_a_command_set_of_1_MB_is_an_abort(door: Door) -> None:
    with RawPeer(door.port) as peer:
        peer.established()
        peer.say(b"".join(data(1, COMMAND, bytes(16_000)) for _ in range(64)))
        assert peer.answer() == (ABORT, b"\0\0\2\6")


@pytest.mark.parametrize("size", [LIMITS.command_set_max - 2, LIMITS.command_set_max, LIMITS.command_set_max + 2])
def test_D21_the_longest_command_set_is_understood_and_no_longer_one(door: Door, size: int) -> None:
    rest = size - len(command(ECHO, e0110=b"\1\0", e0800=b"\1\1", e7777=b""))
    encoded = command(ECHO, e0110=b"\1\0", e0800=b"\1\1", e7777=bytes(rest))
    assert len(encoded) == size
    with RawPeer(door.port) as peer:
        peer.established().say(data(1, COMMAND, encoded[:40_000]) + data(1, COMMAND | LAST, encoded[40_000:]))
        answer = peer.answer()
        assert answer is not None
        assert answer[0] == (P_DATA if size <= LIMITS.command_set_max else ABORT)


@given(encoded=st.binary(max_size=200))
@settings(max_examples=400)
def test_B27_any_bytes_are_a_command_or_malformed(encoded: bytes) -> None:
    with contextlib.suppress(MalformedCommand):
        assert isinstance(Command.decode(encoded).field, int)


@given(
    elements=st.dictionaries(
        st.sampled_from([0, 2, 3, 0x100, 0x110, 0x120, 0x600, 0x700, 0x800, 0x900, 0x901, 0x902, 0x1000, 0x1030]),
        st.binary(max_size=8),
    )
)
@settings(max_examples=400)
def test_B27_any_elements_are_a_command_that_can_be_answered_or_malformed(elements: dict[int, bytes]) -> None:
    encoded = b"".join(element(0, number, value) for number, value in sorted(elements.items()))
    with contextlib.suppress(MalformedCommand):
        answer = Command.decode(encoded).response(0xC000, error_comment="why")
        assert Command.decode(answer.encode()).status == 0xC000


def pynetdicom_command_set(message: Any, primitive: Any) -> Dataset:
    message.primitive_to_message(primitive)
    whole: Dataset = message.command_set
    return whole


def read_by_pydicom(encoded: bytes) -> Dataset:
    return read_dataset(io.BytesIO(encoded), is_implicit_VR=True, is_little_endian=True)


@given(sop_class=UID, instance=UID, message_id=US, priority=st.integers(0, 2), originator=st.tuples(AE, US))
def test_a_store_request_is_encoded_as_by_pynetdicom(
    sop_class: str, instance: str, message_id: int, priority: int, originator: tuple[str, int]
) -> None:
    theirs = dimse_primitives.C_STORE()
    theirs.MessageID, theirs.Priority = message_id, priority
    theirs.AffectedSOPClassUID, theirs.AffectedSOPInstanceUID = sop_class, instance
    theirs.MoveOriginatorApplicationEntityTitle, theirs.MoveOriginatorMessageID = originator
    theirs.DataSet = io.BytesIO(b"x")
    ours = Command(
        STORE,
        message_id=message_id,
        affected_sop_class_uid=sop_class,
        affected_sop_instance_uid=instance,
        priority=priority,
        has_data_set=True,
        move_originator_ae_title=originator[0],
        move_originator_message_id=originator[1],
    )
    expected = pynetdicom_command_set(dimse_messages.C_STORE_RQ(), theirs)
    got = read_by_pydicom(ours.encode())
    assert {element.tag: element.value for element in got if element.tag.elem not in (0, 0x0800)} == {
        element.tag: element.value for element in expected if element.tag.elem not in (0, 0x0800)
    }
    assert got.CommandDataSetType != NO_DATA_SET
    assert got.CommandGroupLength == len(ours.encode()) - 12
    assert Command.decode(ours.encode()) == ours


@given(
    message_id=US,
    sop_class=UID,
    status=st.sampled_from([0x0000, 0xFF00, 0xB000, 0xA702, 0xFE00]),
    counts=st.tuples(US, US, US, US),
)
def test_a_move_response_is_encoded_as_by_pynetdicom(
    message_id: int, sop_class: str, status: int, counts: tuple[int, int, int, int]
) -> None:
    theirs = dimse_primitives.C_MOVE()
    theirs.MessageIDBeingRespondedTo, theirs.AffectedSOPClassUID, theirs.Status = message_id, sop_class, status
    theirs.NumberOfRemainingSuboperations, theirs.NumberOfCompletedSuboperations = counts[:2]
    theirs.NumberOfFailedSuboperations, theirs.NumberOfWarningSuboperations = counts[2:]
    ours = Command(MOVE, message_id=message_id, affected_sop_class_uid=sop_class).response(
        status, remaining=counts[0], completed=counts[1], failed=counts[2], warning=counts[3]
    )
    expected = pynetdicom_command_set(dimse_messages.C_MOVE_RSP(), theirs)
    got = read_by_pydicom(ours.encode())
    assert {element.tag: element.value for element in got if element.tag.elem} == {
        element.tag: element.value for element in expected if element.tag.elem
    }
