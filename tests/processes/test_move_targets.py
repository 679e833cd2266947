"""Moving ends where its target is removed meanwhile, and loses nothing (STO-5)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from adapters.files.storage import Storage
from adapters.files.upkeep import Upkeep
from annals import compose
from annals.settings import load
from domain import instance, storage
from domain.errors import Refused
from domain.event import Actor
from processes.move_storage import Clocks, Move, Outcome
from tests.dicom.encoding import CT_CLASS, EXPLICIT, minimal

BY = Actor("user", "t")
UIDS = [f"1.2.3.{number}" for number in range(3)]


@pytest.mark.parametrize("end", ["leaving", "removed"])
def test_STO_5_nothing_more_is_moved_into_a_storage_that_is_removed_meanwhile(
    dsn: str, tmp_path: Path, end: str
) -> None:
    read, _ = load(None, {"ANNALS_LIMITS__STORAGE_FREE_MIN": "1"}, data=tmp_path)
    with compose.archive(read, dsn, connections=3) as archive:

        def change(name: str, verb: object, *what: object) -> None:
            archive.log.change(storage.KIND, name, verb, *what, fold=storage.fold, by=BY)  # type: ignore[arg-type]

        archive.make_first_storage()
        compose.catch_up(archive)
        files = archive.files({})
        receiver = archive.receiver(files, {})
        for uid in UIDS:
            incoming = receiver.open(CT_CLASS, uid, EXPLICIT, "CT")
            incoming.write(minimal(instance=uid))
            receiver.finish(incoming, by=BY)
            incoming.discard()
        second = Storage.open(tmp_path / "second", "second", archive.limits)
        change(
            "second",
            storage.add,
            storage.StorageAdded("second", str(second.storage_id), str(tmp_path / "second")),
        )
        compose.catch_up(archive)

        def at(name: str) -> None:
            if name == "move.recorded":
                change("second", storage.change, "second", "", False)
                if end == "leaving":
                    change("second", storage.withdraw, "second", "", "")
                if end == "removed":
                    change("second", storage.remove, "second")

        source = next(one for one in archive.known_storages() if one.name == "default")
        moving = Move(
            archive.catalogue,
            archive.log,
            Upkeep(Storage.known(source, archive.limits)),
            Upkeep(second),
            files.is_whole,
            by=BY,
            grace_seconds=3600.0,
            clocks=Clocks(time.monotonic, time.time, lambda _: None),
            failpoint=at,
        ).run()
        assert next(moving).outcome is Outcome.MOVED
        with pytest.raises(Refused, match="second"):
            next(moving)
        places = {}
        for uid in UIDS:
            known = instance.fold(recorded.event for recorded in archive.log.stream(instance.KIND, uid))
            assert known
            places[uid] = known.stored.content
        assert [places[uid].storage for uid in UIDS] == ["second", "default", "default"]
        assert [files.is_whole(places[uid]) for uid in UIDS[1:]] == [True, True]
        files.close()
        second.close()
