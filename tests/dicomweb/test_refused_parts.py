"""What is left of a part that could not be stored: nothing that holds its storage (STO-2)."""

from __future__ import annotations

import errno
import gc
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from adapters.dicom.beginning import FileBeginningReader
from adapters.dicom.index import Indexer
from adapters.files.dismantling import Dismantling
from adapters.files.failpoints import VARIABLE, failpoints
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from api.dicomweb.store_parts import Finishers, InstanceParts, StoreRequest
from domain.event import Actor
from domain.limits import Limits
from processes.receive import Receiver
from tests.archive.stow import part10
from tests.dicom.encoding import minimal

LIMITS = Limits(storage_free_min=1)


@pytest.mark.parametrize("is_whole", [True, False])
def test_STO_2_a_storage_where_writing_a_part_failed_is_let_go_at_once(tmp_path: Path, is_whole: bool) -> None:
    failpoint = failpoints({VARIABLE: f"store.after_write={errno.errorcode[errno.ENOSPC]}"})
    storage = Storage.open(tmp_path / "s", "default", LIMITS, failpoint)
    files = StoredFiles([storage], LIMITS, Indexer(LIMITS), failpoint)
    receiver = cast(Receiver, SimpleNamespace(open=files.receive))
    gc.collect()
    gc.disable()
    try:
        by = StoreRequest(Actor("device", "CT", "192.0.2.7"), "request")
        parts = InstanceParts(receiver, FileBeginningReader(LIMITS), Finishers(LIMITS), by)
        parts.begin({})
        parts.take(memoryview(part10(minimal([(0x00204000, "LT", b"x" * 8192)]))))
        if is_whole:
            parts.end()
            assert [one.failure_reason for one in parts.outcomes()] == [0xA700]
        parts.close()
        del parts
        with Dismantling(tmp_path / "s", str(storage.storage_id)) as folder:
            folder.take_marker_away()
            files.look()
            assert not folder.is_received_into()
    finally:
        gc.enable()
