"""Files as messages: every byte once and in order, whatever the PDU's length; one is read ahead, none is left open."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dimse.command import C_STORE_RQ, RESPONSE, Command
from adapters.dimse.errors import AssociationEnded, FileCut
from adapters.dimse.file_message import FileMessage, FilePdus
from adapters.dimse.pdv import COMMAND, LAST, split
from adapters.dimse.sub_operations import CANNOT_SEND, SubOperations
from domain.instance import Content
from processes.outbox import Ready
from processes.pixel_ports import Stored
from processes.retrieve import Wanted

CT, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
MIB = 1024 * 1024


def data_sets(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Context id and data set of each message in a stream of P-DATA PDUs."""
    value = b""
    while stream:
        length = int.from_bytes(stream[2:6], "big")
        for context_id, flags, piece in split(memoryview(stream)[6 : 6 + length], range(256)):
            assert not flags & COMMAND
            value += piece
            if flags & LAST:
                yield context_id, value
                value = b""
        stream = stream[6 + length :]
    assert not value


def sent(pdus: FilePdus, context_id: int, fd: int, offset: int, length: int, padding: int) -> bytes:
    message = FileMessage(pdus, context_id, [], fd, offset, length, padding)
    return b"".join(bytes(buffer) for piece in message.pieces() for buffer in piece)


@given(
    size=st.sampled_from([2, 100, 4090, 16378, 262144]),
    parts=st.lists(
        st.tuples(st.sampled_from([1, 3]), st.integers(0, 1000), st.integers(0, 3 * MIB)), min_size=1, max_size=4
    ),
)
def test_every_byte_of_a_file_is_sent_once_in_pdus_of_any_length(size: int, parts: list[tuple[int, int, int]]) -> None:
    pdus = FilePdus(size)
    with tempfile.TemporaryFile() as file:
        whole = bytes(range(251)) * 17_000
        file.write(whole)
        file.flush()
        for context_id, offset, asked in parts:
            length = min(asked, size * 700)
            for padding in {0, length % 2}:
                (got,) = data_sets(sent(pdus, context_id, file.fileno(), offset, length, padding))
                assert got == (context_id, whole[offset : offset + length] + bytes(padding))


def test_F14_a_file_that_ends_too_early_is_known_before_anything_is_sent_or_ends_the_message() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(MIB + MIB // 2))
        file.flush()
        with pytest.raises(OSError, match="ends too early"):
            FileMessage(FilePdus(16378), 1, [], file.fileno(), MIB, MIB)
        message = FileMessage(FilePdus(16378), 1, [], file.fileno(), 0, 3 * MIB)
        with pytest.raises(FileCut):
            list(message.pieces())


class Peer:
    """An association to a peer; says what happened in which order."""

    def __init__(self, said: list[str], lost_at: int = -1) -> None:
        self.said, self.lost_at = said, lost_at

    def begin_file(self, _context_id: int, command: Command, fd: int, offset: int, length: int) -> FileMessage:
        self.said.append(f"read {command.message_id}")
        return FileMessage(FilePdus(16378), 1, [], fd, offset, length)

    def send_file(self, message: FileMessage, _on_progress: Callable[[], None]) -> None:
        self.said.append("send")

    def response_to(self, message_id: int, _meanwhile: Callable[[], None]) -> Command:
        self.said.append(f"answer {message_id}")
        if message_id == self.lost_at:
            raise AssociationEnded("lost")
        return Command(C_STORE_RQ | RESPONSE, message_id_responded_to=message_id, status=0)


def objects(folder: Path, opened: list[int], *, late: int = -1, missing: int = -1) -> Iterator[tuple[Wanted, Ready]]:
    for number in range(1, 5):
        path = folder / str(number)
        path.write_bytes(bytes(100))

        def take(path: Path = path, is_missing: bool = number == missing) -> Stored:
            if is_missing:
                raise FileNotFoundError(2, "gone")
            opened.append(os.open(path, os.O_RDONLY))
            return Stored(opened[-1], 0, 100, SYNTAX)

        begun: Future[Stored] | None = Future() if number == late else None
        yield Wanted(CT, f"1.{number}", "2", "3", Content("d", 100, 0, SYNTAX, "default", "p")), Ready(take, begun)


def operations(peer: Peer) -> SubOperations:
    retriever: Any = SimpleNamespace(note_unreadable=lambda _one, _error: None)
    return SubOperations(peer, {(CT, SYNTAX): 1}, None, retriever, lambda: None)  # type: ignore[arg-type]


def are_closed(descriptors: list[int]) -> bool:
    for descriptor in descriptors:
        with pytest.raises(OSError):
            os.fstat(descriptor)
    return bool(descriptors)


def test_the_next_file_is_read_while_the_peer_digests_the_one_before(tmp_path: Path) -> None:
    said: list[str] = []
    opened: list[int] = []
    got = list(operations(Peer(said)).statuses(objects(tmp_path, opened)))
    assert [(one.sop_instance_uid, status) for one, status in got] == [(f"1.{number}", 0) for number in range(1, 5)]
    assert said[:6] == ["read 1", "send", "read 2", "answer 1", "send", "read 3"]
    assert are_closed(opened)


def test_C3_10_an_object_is_given_back_when_its_bytes_were_sent(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "1").write_bytes(bytes(100))
    file = os.open(tmp_path / "1", os.O_RDONLY)
    ready = Ready(lambda: Stored(file, 0, 100, SYNTAX, reuse=lambda given: said.append(f"back {given}")))
    one = Wanted(CT, "1.1", "2", "3", Content("d", 100, 0, SYNTAX, "default", "p"))
    list(operations(Peer(said)).statuses([(one, ready)]))
    assert said == ["read 1", "send", f"back {file}", "answer 1"]
    os.close(file)


def test_C3_6_what_is_still_being_converted_lets_the_one_before_be_counted(tmp_path: Path) -> None:
    said: list[str] = []
    opened: list[int] = []
    list(operations(Peer(said)).statuses(objects(tmp_path, opened, late=2)))
    assert said[:5] == ["read 1", "send", "answer 1", "read 2", "send"]
    assert are_closed(opened)


def test_C3_7_one_that_is_missing_fails_alone_in_its_place(tmp_path: Path) -> None:
    opened: list[int] = []
    got = list(operations(Peer([])).statuses(objects(tmp_path, opened, missing=3)))
    assert [status for _, status in got] == [0, 0, CANNOT_SEND, 0]
    assert are_closed(opened)


@pytest.mark.parametrize("how", ["cancelled", "lost"])
def test_C3_10_no_file_stays_open_when_a_retrieval_ends_in_the_middle(how: str, tmp_path: Path) -> None:
    opened: list[int] = []
    statuses = operations(Peer([], lost_at=2 if how == "lost" else -1)).statuses(objects(tmp_path, opened))
    assert next(statuses)[1] == 0
    if how == "cancelled":
        statuses.close()
    else:
        with pytest.raises(AssociationEnded):
            list(statuses)
    assert len(opened) >= 2
    assert are_closed(opened)


def test_C3_6_a_large_file_goes_in_pieces_between_which_progress_can_be_told() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(3 * MIB)
        message = FileMessage(FilePdus(16378), 1, [b"command"], file.fileno(), 0, 3 * MIB)
        lengths = [sum(len(buffer) for buffer in piece) for piece in message.pieces()]
    assert max(lengths) <= MIB
    assert len(lengths) >= 3
