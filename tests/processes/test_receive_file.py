"""Part 10 files received as streams: cut anywhere into pieces, identified by their data sets (B03, B05, P3)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dicom.beginning import BEGINNING_MAX, FileBeginningReader
from adapters.dicom.index import Indexer
from adapters.dicom.part10 import read_file_header
from adapters.dicom.sop_classes import storable_sop_classes
from adapters.files.failpoints import failpoints
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.log.log import EventLog
from annals.compose import FACTS
from domain import instance
from domain.errors import Because, Refused
from domain.event import Actor
from domain.instance import InstanceStored, OnDuplicate
from domain.limits import Limits
from processes.receive import Receiver
from processes.receive_file import IncomingFile
from tests.archive.stow import part10
from tests.conftest import fresh_database
from tests.dicom.encoding import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, element, image, item, minimal

LIMITS = Limits(storage_free_min=1)
BY = Actor("device", "", "127.0.0.1")
READ = FileBeginningReader(LIMITS)


class Room:
    """A receiver with a real log and storage."""

    def __init__(self, dsn: str, root: Path) -> None:
        self.root = root
        self.log = EventLog(dsn, FACTS, LIMITS)
        self.log.open()
        self.files = StoredFiles([Storage.open(root, "default", LIMITS)], LIMITS, Indexer(LIMITS))
        self.receiver = Receiver(
            self.log, self.files, OnDuplicate.REPLACE, failpoints({}), storable_sop_classes(accept_unknown=True)
        )

    def receive(self, pieces: list[bytes]) -> InstanceStored:
        file = IncomingFile(self.receiver, READ)
        try:
            for piece in pieces:
                file.write(piece)
            incoming = file.whole()
            assert file.beginning
            received = self.receiver.finish(incoming, by=BY, warnings=file.beginning.warnings)
        finally:
            file.discard()
        facts = self.log.stream(instance.KIND, received.header.sop_instance_uid)
        known = instance.fold(one.event for one in facts)
        assert known
        return known.stored

    def temp_files(self) -> list[Path]:
        return [path for path in (self.root / ".incoming").glob("*/*") if path.name != "lease"]


@pytest.fixture(scope="module")
def room(postgres_server: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with fresh_database(postgres_server) as dsn:  # type: ignore[arg-type]
        made = Room(dsn, tmp_path_factory.mktemp("files") / "storage")
        yield made
        made.files.close()
        made.log.close()


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_a_file_cut_anywhere_into_pieces_is_kept_whole(room: Room, cuts: list[int]) -> None:
    data = image(64, 64)
    whole = part10(data)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    stored = room.receive([whole[first:last] for first, last in pairwise(places)])
    raw = (room.root / stored.content.path).read_bytes()
    assert raw[read_file_header(raw).size :] == data
    assert room.temp_files() == []


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_the_data_set_says_which_instance_it_is_in_every_encoding(syntax: str) -> None:
    data = minimal(syntax=EXPLICIT if syntax == DEFLATED else syntax)
    if syntax == DEFLATED:
        data = zlib.compress(data, wbits=-zlib.MAX_WBITS)
    beginning = READ(part10(data, "1.2.9", syntax), is_all=True)
    assert beginning
    assert (beginning.sop_instance_uid, beginning.transfer_syntax_uid) == ("1.2.3.4", syntax)


def test_B03_B05_what_was_wrong_with_the_rest_of_the_file_is_recorded(room: Room) -> None:
    stored = room.receive([part10(minimal(instance="1.2.77"), "1.2.9", sop_class="1.2.8", preamble=b"MZ")])
    assert stored.warnings == (
        "the file's preamble looks like a program; it was not kept",
        "MediaStorageSOPInstanceUID: is not that of the data set",
        "MediaStorageSOPClassUID: is not that of the data set",
    )


@pytest.mark.parametrize(
    "whole",
    [
        b"",
        bytes(200),
        minimal(),
        part10(b"")[:150],
        part10(b""),
        part10(minimal()[:20]),
        part10(minimal(), syntax="1.2.x"),
        part10(b"\xff" * 100, syntax=DEFLATED),
        part10(b"")[:132] + element(0x00020102, "OB", bytes(2 * BEGINNING_MAX)) + part10(minimal())[132:],
        part10(element(0x00080001, "UN", bytes(2 * BEGINNING_MAX)) + minimal()),
    ],
    ids=[
        *("empty", "zeros", "no-header", "cut-header", "no-data-set", "cut-data-set", "syntax", "noise"),
        *("endless-header", "late-identity"),
    ],
)
def test_B06_what_does_not_tell_what_it_is_is_refused_before_a_file_is_opened(room: Room, whole: bytes) -> None:
    with pytest.raises(Refused) as refused:
        room.receive([whole[at : at + 300_000] for at in range(0, len(whole), 300_000)])
    assert refused.value.because is Because.CANNOT_UNDERSTAND
    assert room.temp_files() == []


def test_a_sequence_before_the_identity_is_passed_over() -> None:
    language = item(element(0x00080100, "SH", b"en"), undefined=True)
    data = minimal([(0x00080006, "SQ", language)])
    beginning = READ(part10(data), is_all=False)
    assert beginning
    assert beginning.sop_instance_uid == "1.2.3.4"
