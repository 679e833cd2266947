"""The import against servers of other makers: DCMTK's storescp, and pynetdicom where the server must fail."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless
from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dsutils import split_dataset

from adapters.dicom.foreign_file import ForeignFile
from annals.importing.send import Sender, Server, Unreachable
from domain.limits import KIB, MIB, Limits
from tests.archive import samples
from tests.archive.conftest import until
from tests.dicom.encoding import CT_CLASS, EXPLICIT, minimal
from tests.importing.command_runs import Importing, images
from tests.ports import free_port

NOT_OF_STORESCP = ("1.2.840.10008.1.2.4.57",)
"""Syntaxes that storescp accepts with no option."""


class Storescp:
    """A running storescp and what it has received."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.got = folder / "got"
        self.lines = folder / "storescp.log"
        self.got.mkdir()

    def listening(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def data_sets(self) -> set[str]:
        """The digests of the data sets as they came."""
        found = set()
        for path in self.got.iterdir():
            _, offset = split_dataset(path)
            found.add(hashlib.sha256(path.read_bytes()[offset:]).hexdigest())
        return found

    def associations(self) -> int:
        return self.lines.read_text("utf-8", "replace").count("Association Acknowledged")


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[Storescp]:
    made = Storescp(folder)
    with (
        made.lines.open("wb") as lines,
        subprocess.Popen(
            ["storescp", "-v", *options, "-od", str(made.got), str(made.port)], stdout=lines, stderr=lines
        ) as running,
    ):
        try:
            until(made.listening, 60, "storescp listens")
            yield made
        finally:
            running.terminate()


def test_every_syntax_arrives_byte_for_byte_over_one_association(importing: Importing, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    sent = []
    for sample in samples.converted(folder):
        if sample.transfer_syntax_uid in NOT_OF_STORESCP:
            sample.path.unlink()
        else:
            sent.append(sample)
    with storescp(tmp_path, "+xa", "+B") as server:
        done = importing.run(server.port, folder)
        assert done.returncode == 0, done.stderr
        assert server.data_sets() == {samples.digest(sample) for sample in sent}
        assert server.associations() == 1


def test_B06_files_without_preamble_or_header_arrive_byte_for_byte(importing: Importing, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    wanted = set()
    for number, sample in enumerate(samples.converted(folder)):
        if number < 3:
            (folder / f"bare{number}").write_bytes(sample.data_set())
            wanted.add(samples.digest(sample))
        elif number == 3:
            (folder / "deflated without preamble").write_bytes(sample.path.read_bytes()[132:])
            wanted.add(samples.digest(sample))
        sample.path.unlink()
    assert len(list(folder.iterdir())) == 4
    with storescp(tmp_path, "+xa", "+B") as server:
        done = importing.run(server.port, folder)
        assert done.returncode == 0, done.stderr
        assert server.data_sets() == wanted


def test_a_server_of_one_syntax_gets_native_objects_converted_and_refuses_the_rest(
    importing: Importing, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    native = [
        sample.transfer_syntax_uid[:19] in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
        or sample.transfer_syntax_uid == "1.2.840.10008.1.2.1.99"
        for sample in samples.converted(folder)
    ]
    with storescp(tmp_path, "+xi") as server:
        done = importing.run(server.port, folder)
        assert done.returncode == 1
        assert f"sent: {sum(native)}\n" in done.stdout
        assert len(list(server.got.iterdir())) == sum(native)
    refused = importing.report("not-sent")
    assert len(refused) == len(native) - sum(native)
    assert all("the server does not accept 1.2.840.10008.5.1.4.1.1.2 in " in line for line in refused)


def test_a_server_that_aborts_every_file_is_tried_twice_for_each(importing: Importing, tmp_path: Path) -> None:
    images(tmp_path / "files", 3)
    with storescp(tmp_path, "--abort-after") as server:
        done = importing.run(server.port, tmp_path / "files")
        assert done.returncode == 1, done.stderr
        assert "not sent: 3" in done.stdout
        assert server.associations() == 6
    lines = importing.report("not-sent")
    assert len(lines) == 3
    assert all("the association ended twice: " in line for line in lines)


def test_a_server_that_rejects_associations_is_not_reached(importing: Importing, tmp_path: Path) -> None:
    images(tmp_path / "files", 2)
    with storescp(tmp_path, "--refuse") as server:
        done = importing.run(server.port, tmp_path / "files")
    assert done.returncode == 3
    assert "rejected" in done.stderr


@contextmanager
def peer(store: Callable[[evt.Event], Any]) -> Iterator[Sender]:
    """A pynetdicom server that answers C-STORE with ``store``, and a sender to it."""
    ae = ApplicationEntity("PEER")
    ae.add_supported_context(CT_CLASS, EXPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server
    port = server.server_address[1]
    sender = Sender(Server("127.0.0.1", port, "PEER", "SENDER"), Limits(), pause=lambda _: None)
    try:
        yield sender
        sender.close()
    finally:
        server.shutdown()


@contextmanager
def object_in_a_file(folder: Path, extra: int = 0) -> Iterator[tuple[int, ForeignFile]]:
    data = minimal([(0x00091010, "OB", bytes(extra))]) if extra else minimal()
    path = folder / "object"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor, ForeignFile(CT_CLASS, "1.2.3.4", EXPLICIT, 0, len(data))
    finally:
        os.close(descriptor)


def answered(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment
    return answer


@pytest.mark.parametrize(
    ("status", "says"),
    [(0x0000, ""), (0xB000, ""), (0xB006, ""), (0xA700, "A700: full"), (0xC123, "C123: full"), (0x0122, "0122: full")],
)
def test_success_and_warnings_are_sent_and_every_other_status_is_told(tmp_path: Path, status: int, says: str) -> None:
    with peer(lambda _: answered(status, "full")) as sender, object_in_a_file(tmp_path) as (descriptor, file):
        said = sender.send(descriptor, file, [])
    assert said == (f"the server answered {says}" if says else "")


def test_a_file_whose_association_is_aborted_is_sent_again_on_a_new_one(tmp_path: Path) -> None:
    received = []

    def abort_first(event: evt.Event) -> int:
        received.append(event.request.AffectedSOPInstanceUID)
        if len(received) == 1:
            event.assoc.abort()
        return 0x0000

    with peer(abort_first) as sender, object_in_a_file(tmp_path) as (descriptor, file):
        assert [sender.send(descriptor, file, []) for _ in range(3)] == ["", "", ""]
        assert sender.associations == 2
    assert len(received) == 4


def test_F14_a_file_that_fails_in_the_middle_is_told_and_the_next_one_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preadv, broken = os.preadv, True

    def fail_past_a_mebibyte(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if broken and offset > MIB // 2:
            raise OSError(5, "Input/output error")
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", fail_past_a_mebibyte)
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", False)
    with peer(lambda _: 0x0000) as sender, object_in_a_file(tmp_path, 4 * MIB) as (descriptor, file):
        assert "cannot be read to its end" in sender.send(descriptor, file, [])
        broken = False
        assert sender.send(descriptor, file, []) == ""


def test_F14_a_file_that_cannot_be_read_at_all_costs_no_association(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(lambda _: 0x0000) as sender, object_in_a_file(tmp_path, 4 * KIB) as (descriptor, file):
        with monkeypatch.context() as patched:
            patched.setattr(os, "preadv", _input_output_error)
            assert sender.send(descriptor, file, []) == "cannot be read: Input/output error"
        assert sender.send(descriptor, file, []) == ""
        assert sender.associations == 1


def _input_output_error(*_: object) -> int:
    raise OSError(5, "Input/output error")


def test_what_cannot_be_converted_is_told(tmp_path: Path) -> None:
    with peer(lambda _: 0x0000) as sender, object_in_a_file(tmp_path) as (descriptor, file):
        big_endian = ForeignFile(CT_CLASS, "1.2.3.4", "1.2.840.10008.1.2.1.99", file.offset, file.length)
        assert "cannot be converted" in sender.send(descriptor, big_endian, [])
        unknown = ForeignFile(CT_CLASS, "1.2.3.4", RLELossless, file.offset, file.length)
        assert "does not accept" in sender.send(descriptor, unknown, [])
        assert sender.send(descriptor, file, []) == ""


def test_more_kinds_than_contexts_are_sent_over_several_associations(tmp_path: Path) -> None:
    kinds = [(f"1.2.840.10008.5.1.4.1.1.{number}", EXPLICIT) for number in range(1000, 1300)]
    with peer(lambda _: 0x0000) as sender, object_in_a_file(tmp_path) as (descriptor, file):
        files = [ForeignFile(sop_class, "1.2.3.4", syntax, 0, file.length) for sop_class, syntax in kinds]
        said = [sender.send(descriptor, one, files[at:]) for at, one in enumerate(files)]
        assert all("does not accept" in words for words in said)
        assert sender.associations == 3
        assert sender.send(descriptor, file, []) == ""


def test_a_server_that_is_gone_is_waited_for_with_growing_pauses(tmp_path: Path) -> None:
    pauses: list[float] = []
    ae = ApplicationEntity("PEER")
    ae.add_supported_context(CT_CLASS, EXPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
    assert server
    sender = Sender(Server("127.0.0.1", server.server_address[1], "PEER", "SENDER"), Limits(), pause=pauses.append)
    with object_in_a_file(tmp_path) as (descriptor, file):
        assert sender.send(descriptor, file, []) == ""
        server.shutdown()
        ae.shutdown()
        with pytest.raises(Unreachable, match=r"PEER at 127\.0\.0\.1"):
            sender.send(descriptor, file, [])
    assert pauses == sorted(pauses)
    assert len(pauses) == 3


def test_B21d_a_server_that_takes_so_many_a_minute_is_waited_for_and_one_that_stays_full_only_once(
    tmp_path: Path,
) -> None:
    pauses: list[float] = []
    statuses = [0xA700, 0xA700, 0x0000, 0x0000, *[0xA700] * 6, 0x0000, 0xA700]
    with (
        peer(lambda _: answered(statuses.pop(0), "come again")) as sender,
        object_in_a_file(tmp_path) as (descriptor, file),
    ):
        sender._pause = pauses.append
        assert [sender.send(descriptor, file, []) for _ in range(2)] == ["", ""]
        assert sum(pauses) < 60, "for as long as it takes"
        assert sender.send(descriptor, file, []) == "the server answered A700: come again"
        assert sum(pauses[2:]) > 60, "a minute and some"
        said = [sender.send(descriptor, file, []) for _ in range(3)]
        assert said == ["the server answered A700: come again", "", "the server answered A700: come again"]
        assert len(pauses) == 6, "no more, after it was in vain"
        assert sender.associations == 1
    assert statuses == []
