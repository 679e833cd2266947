"""Files that cannot be read to their end, or were moved meanwhile, while others are sent (F14, F18)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from adapters.dimse.identifier import IdentifierReader
from adapters.dimse.retrieve import RetrieveService
from domain.device import DeviceAdded
from domain.errors import Because, Refused
from domain.instance import Content
from domain.limits import Limits
from processes.outbox import Outbox
from processes.retrieve import Wanted
from tests.dicom.encoding import CT_CLASS, EXPLICIT, element, minimal

CODECS: Any = SimpleNamespace(parallel=1)
SIZE = 1024 * 1024


@dataclass
class Files:
    """Files in a folder, by their paths; one may be shorter than it was when it was opened."""

    folder: Path
    refusing: set[str] = field(default_factory=set)

    def make(self, number: int, *, cut: bool = False, storage: str = "default") -> Wanted:
        uid = f"1.2.3.{number}"
        data = minimal(instance=uid) + element(0x7FE00010, "OW", bytes(SIZE))
        (self.folder / uid).write_bytes(data[: SIZE // 2] if cut else data)
        return Wanted(CT_CLASS, uid, "1.2.4", "1.2.5", Content("d", len(data), 0, EXPLICIT, storage, uid))

    def open(self, content: Content) -> int:
        if content.storage in self.refusing:
            raise Refused(Because.OUT_OF_RESOURCES, "not in use")
        return os.open(self.folder / content.path, os.O_RDONLY)


@dataclass
class Retriever:
    """What the service asks the room behind it."""

    unreadable: list[str] = field(default_factory=list)

    def note_unreadable(self, wanted: Wanted, _error: Exception) -> None:
        self.unreadable.append(wanted.sop_instance_uid)

    def place_now(self, _wanted: Wanted) -> None:
        return None


@pytest.fixture
def received() -> Iterator[tuple[int, list[str]]]:
    """A destination: its port, and the instances that it received whole."""
    got: list[str] = []
    ae = ApplicationEntity("DESTINATION")
    ae.add_supported_context(CT_CLASS, EXPLICIT)

    def store(event: evt.Event) -> int:
        got.append(event.request.AffectedSOPInstanceUID)
        return 0

    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server
    yield server.socket.getsockname()[1], got
    server.shutdown()


def test_F14_a_file_that_cannot_be_read_to_its_end_fails_alone_in_a_move_and_is_recorded(
    received: tuple[int, list[str]], tmp_path: Path
) -> None:
    port, got = received
    files, retriever, limits = Files(tmp_path), Retriever(), Limits()
    wanted = [files.make(number, cut=number in (2, 3, 5)) for number in range(1, 7)]
    service = RetrieveService(
        retriever,  # type: ignore[arg-type]
        lambda _: None,
        files,  # type: ignore[arg-type]
        CODECS,
        "ANNALS",
        limits,
        IdentifierReader(limits),
    )
    device = DeviceAdded("DESTINATION", "127.0.0.1", port)
    statuses = {
        one.sop_instance_uid[-1]: status
        for one, status in service._to(device, wanted, None, _Quiet())  # type: ignore[arg-type]
    }
    assert statuses == {"1": 0, "2": 0xA702, "3": 0xA702, "4": 0, "5": 0xA702, "6": 0}
    assert got == ["1.2.3.1", "1.2.3.4", "1.2.3.6"]
    assert retriever.unreadable == ["1.2.3.2", "1.2.3.3", "1.2.3.5"]


class _Quiet:
    is_lost = False

    def __call__(self) -> None:
        return None


@pytest.mark.parametrize("take_away", ["file", "storage"])
def test_STO_5_what_was_moved_while_a_retrieval_went_on_is_sent_from_where_it_is(
    tmp_path: Path, take_away: str
) -> None:
    files = Files(tmp_path)
    one = files.make(1)
    moved = replace(one.content, storage="second", path="moved")
    (tmp_path / "moved").write_bytes((tmp_path / one.content.path).read_bytes())
    gone: dict[str, Callable[[], object]] = {
        "file": (tmp_path / one.content.path).unlink,
        "storage": lambda: files.refusing.add("default"),
    }
    gone[take_away]()
    places: list[Content | None] = [moved, None]
    outbox = Outbox(files, CODECS, lambda _: [EXPLICIT], lambda begun: begun.result(), lambda _: places.pop(0))  # type: ignore[arg-type]
    ((_, ready),) = outbox.ready([one])
    stored = ready()
    assert os.pread(stored.descriptor, 10, 0) == (tmp_path / "moved").read_bytes()[:10]
    os.close(stored.descriptor)
    with pytest.raises((FileNotFoundError, Refused)):
        ready()
