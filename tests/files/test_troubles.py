"""What is wrong with a storage is told once while it lasts, over all processes and their restarts (STO-4)."""

from __future__ import annotations

import errno
import logging
import os
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from adapters.dicom.index import Indexer
from adapters.files.failpoints import ArmedFailpoints, Rule
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.files.troubles import Known, Notice, Troubles
from domain import storage as verbs
from domain.errors import Refused
from domain.event import Event
from domain.storage import StorageAdded, StorageChanged, StorageFailed, StorageRecovered
from tests.dicom.encoding import CT_CLASS, EXPLICIT, INSTANCE, image
from tests.files.conftest import LIMITS
from tests.files.test_storage_keep import kept


def record(log: list[Event], notice: Notice) -> bool:
    """Append what a notice says to the facts of its storage; whether it says anything new."""
    known, trouble, version = verbs.fold(log), notice.trouble, notice.version
    said = (
        verbs.fail(known, trouble, notice.reason, version) if notice.reason else verbs.recover(known, trouble, version)
    )
    log += said
    return bool(said)


class Told:
    """A log of storages, and processes that follow it."""

    def __init__(self, *roots: Path) -> None:
        self.facts: dict[str, list[Event]] = {}
        for root in roots:
            made = Storage.open(root, root.name, LIMITS)
            made.close()
            self.facts[root.name] = [StorageAdded(root.name, str(made.storage_id), str(root))]

    def start(self) -> StoredFiles:
        files = StoredFiles([], LIMITS, Indexer(LIMITS))
        files.use(self.known())
        return files

    def known(self) -> list[verbs.Storage]:
        return [known for facts in self.facts.values() if (known := verbs.fold(facts))]

    def follow(self, files: StoredFiles) -> None:
        files.use(self.known())
        files.look()
        files.tell(self.record)

    def record(self, notice: Notice) -> bool:
        return record(self.facts[notice.storage], notice)

    def said(self, name: str) -> list[str]:
        return [type(fact).__name__ for fact in self.facts[name][1:]]


@pytest.fixture
def told(root: Path) -> Told:
    return Told(root)


def test_what_a_process_saw_fail_recovers_after_a_restart(told: Told, root: Path) -> None:
    away = root.rename(root.with_name("away"))
    told.follow(told.start())
    assert told.said("storage") == ["StorageFailed"]
    away.rename(root)
    told.follow(told.start())
    assert told.said("storage") == ["StorageFailed", "StorageRecovered"]


def test_a_storage_that_is_found_at_another_path_has_recovered(told: Told, root: Path) -> None:
    files = told.start()
    kept(files, image())
    moved = root.rename(root.with_name("elsewhere"))
    told.follow(files)
    assert told.said("storage") == ["StorageFailed"]
    told.facts["storage"].append(StorageChanged("storage", str(moved), enabled=True))
    told.follow(files)
    assert told.said("storage")[2:] == ["StorageRecovered"]


def test_what_one_process_saw_begin_another_may_see_end(
    told: Told, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "annals.files")
    first, second = told.start(), told.start()
    assert verbs.fold(told.facts["storage"])
    told.facts["storage"].append(StorageFailed("storage", "write", "No space left on device"))
    for files in (first, second, first):
        told.follow(files)
    kept(second, image())
    for files in (first, second, first):
        told.follow(files)
    assert told.said("storage") == ["StorageFailed", "StorageRecovered"]
    fail = ArmedFailpoints({"store.before_sync": Rule(lambda: _raise(errno.ENOSPC))})
    third = StoredFiles([], LIMITS, Indexer(LIMITS), fail)
    for _ in range(3):
        told.follow(third)
        with pytest.raises(Refused):
            kept(third, image(8, 8))
        for files in (third, first, second):
            told.follow(files)
    assert told.said("storage") == ["StorageFailed", "StorageRecovered", "StorageFailed"]
    assert sum("refuses objects" in record.message for record in caplog.records) == 1


def test_STO_1_a_disabled_storage_is_neither_written_nor_asked_for_space_and_missed_when_away(
    told: Told, root: Path
) -> None:
    told.facts["storage"] += [
        StorageFailed("storage", "space", "has less free space"),
        StorageChanged("storage", str(root), enabled=False),
    ]
    known = verbs.fold(told.facts["storage"])
    assert known
    assert known.troubles == frozenset()
    before = sorted(root.rglob("*"))
    files = told.start()
    told.follow(files)
    files.sweep()
    assert told.record(Notice("storage", "space", 1, "seen by another a moment ago")) is False
    assert sorted(root.rglob("*")) == before
    away = root.rename(root.with_name("away"))
    told.follow(files)
    away.rename(root)
    told.follow(files)
    assert [fact.trouble for fact in told.facts["storage"][3:]] == ["folder", "folder"]  # type: ignore[attr-defined]
    assert isinstance(told.facts["storage"][-1], StorageRecovered)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_F10_after_a_failed_write_the_next_storage_is_tried_first_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    now = [1000.0]
    monkeypatch.setattr("adapters.files.storage.time.monotonic", lambda: now[0])
    fail = ArmedFailpoints({"store.before_sync": Rule(lambda: _raise(number), once=True)})
    first = Storage.open(tmp_path / "first", "first", LIMITS, fail)
    second = Storage.open(tmp_path / "second", "second", LIMITS)
    files = StoredFiles([first, second], LIMITS, Indexer(LIMITS), fail)
    with pytest.raises(Refused):
        kept(files, image())
    assert kept(files, image()).storage == "second"
    now[0] += LIMITS.storage_suspect_seconds + 1
    assert kept(files, image(8, 8)).storage == "first"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EPERM, errno.EIO])
def test_STO_1_F10_an_object_that_the_first_storage_cannot_even_begin_goes_into_the_next(
    tmp_path: Path, number: int
) -> None:
    fail = ArmedFailpoints({"store.before_create": Rule(lambda: _raise(number), once=True)})
    first = Storage.open(tmp_path / "first", "first", LIMITS, fail)
    second = Storage.open(tmp_path / "second", "second", LIMITS)
    files = StoredFiles([first, second], LIMITS, Indexer(LIMITS), fail)
    assert kept(files, image()).storage == "second"
    assert first.troubles.now == {"temp file"}


def test_NET_8_where_the_size_is_known_a_storage_that_cannot_take_it_is_passed_over(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "first", "first", LIMITS)
    files = StoredFiles([storage], LIMITS, Indexer(LIMITS))
    files.check_space(1000)
    with pytest.raises(Refused, match="free space"):
        files.check_space(1 << 60)
    files.check_space()


def test_NET_8_STO_1_several_objects_may_go_into_several_storages_but_two_on_one_partition_share_its_space(
    mounted: Callable[..., Path],
) -> None:
    limits = replace(LIMITS, storage_free_min=0)
    disks = [mounted("size=8m", name) for name in ("a", "b")]
    first, beside, other = (
        Storage.open(disk / name, name, limits)
        for disk, name in ((disks[0], "first"), (disks[0], "beside"), (disks[1], "other"))
    )
    size = 12 << 20
    StoredFiles([first, beside, other], limits, Indexer(limits)).check_space(size, is_one=False)
    for storages, wanted, is_one in (([first, other], size, True), ([first, other], 17 << 20, False)):
        with pytest.raises(Refused, match="free space"):
            StoredFiles(storages, limits, Indexer(limits)).check_space(wanted, is_one=is_one)
    with pytest.raises(Refused, match="free space"):
        StoredFiles([first, beside], limits, Indexer(limits)).check_space(size, is_one=False)


def test_what_is_being_received_into_a_folder_that_is_not_used_any_more_is_refused(told: Told, root: Path) -> None:
    files = told.start()
    under_way = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
    under_way.write(image())
    copy = root.with_name("copy")
    os.mkdir(copy)
    (copy / ".annals-storage").write_bytes((root / ".annals-storage").read_bytes())
    files.use([replace(told.known()[0], path=str(copy))])
    with pytest.raises(Refused, match="taken away"):
        under_way.keep()
    assert list(root.glob("??/?/*.dcm")) == []


class Looking:
    """A process that looks at a disk: what it knew when it began, and what it saw."""

    def __init__(self) -> None:
        self.troubles = Troubles("storage")
        self.known: Known = {}
        self.saw = ""

    def see(self, reason: str) -> None:
        self.known, self.saw = self.troubles.known, reason

    def note(self) -> None:
        if self.saw:
            self.troubles.began("space", self.saw, self.known)
        else:
            self.troubles.ended("space", known=self.known)


@pytest.mark.parametrize("hundred", range(10))
def test_STO_4_a_trouble_is_told_once_however_the_processes_see_it_begin_and_end(hundred: int) -> None:
    """The disk fails and works in turn; each process sees, notes, tells and reads at any time between."""
    logging.getLogger("annals.files").setLevel(logging.CRITICAL)
    try:
        for seed in range(100 * hundred, 100 * hundred + 100):
            told_once(random.Random(seed))
    finally:
        logging.getLogger("annals.files").setLevel(logging.NOTSET)


def told_once(chance: random.Random) -> None:
    log: list[Event] = [StorageAdded("storage", "id", "/srv/x")]
    processes = [Looking(), Looking(), Looking()]

    def take(one: Looking, step: str, reason: str) -> None:
        match step:
            case "see":
                one.see(reason)
            case "note":
                one.note()
            case "tell":
                one.troubles.tell(partial(record, log))
            case _:
                known = verbs.fold(log[: -1 if step == "behind" and len(log) > 1 else None])
                assert known
                one.troubles.agree(known.troubles, known.trouble_versions)

    for turn in range(8):
        reason = f"trouble {turn}" if turn % 2 else ""
        for _ in range(chance.randrange(60)):
            take(chance.choice(processes), chance.choice(("see", "note", "tell", "agree", "behind")), reason)
        if turn < 4:
            continue
        # At rest: everybody reads, looks, tells, and reads again.
        for step in ("agree", "see", "note", "tell", "agree", "see", "note", "tell", "agree"):
            for one in processes:
                take(one, step, reason)
        reasons = [fact.reason for fact in log if isinstance(fact, StorageFailed)]
        assert len(set(reasons)) == len(reasons)
        assert sum(isinstance(fact, StorageRecovered) for fact in log) == len(reasons) - bool(reason)
        assert not reason or reasons[-1] == reason
        assert [one.troubles.now for one in processes] == [frozenset(("space",) if reason else ())] * 3
        for one in processes:
            one.see(reason)


def test_STO_4_what_was_tried_before_something_failed_does_not_say_that_it_is_over() -> None:
    troubles = Troubles("storage")
    before = troubles.known
    troubles.began("space", "is read-only", before)
    troubles.ended("space", known=before)
    assert troubles.now == {"space"}
    troubles.ended("space", known=troubles.known)
    assert troubles.now == frozenset()
    told: list[Notice] = []
    troubles.tell(lambda notice: told.append(notice) is None)  # type: ignore[func-returns-value]
    assert told == [Notice("storage", "space", 0, "is read-only"), Notice("storage", "space", 1)]


def _raise(number: int) -> None:
    raise OSError(number, os.strerror(number))
