"""Whatever is done to the storages, in any order and crashed anywhere: no version shares or loses a file (NET-6)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from adapters.dicom.index import Indexer
from adapters.dicom.sop_classes import storable_sop_classes
from adapters.files.adopting import LyingObject
from adapters.files.failpoints import off
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.files.upkeep import Upkeep
from annals import compose
from annals.compose import Archive
from annals.settings import load
from domain import instance, storage
from domain.event import Actor
from domain.instance import OnDuplicate
from processes.move_storage import Clocks, Move, Outcome
from processes.ports import FoundFile
from processes.receive import Receiver
from processes.reconcile import Difference, Reconciliation
from processes.scrub import Pace, scrub
from projections.catalogue.kept import kept_of
from tests.conftest import fresh_database
from tests.dicom.encoding import CT_CLASS, EXPLICIT, minimal

BY = Actor("device", "CT", "192.0.2.7")
NAMES = ("default", "second")
PLACES = (
    "receive.kept",
    "receive.recorded",
    "receive.repeated",
    "move.copied",
    "move.recorded",
    "move.before_removal",
    "move.removed",
)
SYNTAXES = (EXPLICIT, "1.2.840.10008.1.2.4.50")
"""Both say the same of a data set without pixel data, and its bytes are the same."""
Version = tuple[int, str]
"""A content (its number), and the transfer syntax that it came in."""
FOR_EVER = time.time() + 10**9


class Crash(BaseException):
    """The process is gone."""


class Fragile:
    """Failpoints of which one ends the process at its next pass."""

    def __init__(self) -> None:
        self.at = ""

    def __call__(self, name: str) -> None:
        if name == self.at:
            self.at = ""
            raise Crash


class Versions(RuleBasedStateMachine):
    """The model: of each instance, the version that is served, and the earlier ones."""

    archive: Archive
    numbers = iter(range(1, 1_000_000))

    @initialize()
    def begin(self) -> None:
        self.uids = [f"1.2.3.{next(self.numbers)}" for _ in range(2)]
        self.current: dict[str, Version] = {}
        self.earlier: dict[str, set[Version]] = {uid: set() for uid in self.uids}
        self.writable = "default"
        self.fragile = Fragile()
        self._start()

    def _start(self) -> None:
        """A process as after a start."""
        compose.catch_up(self.archive)
        limits = self.archive.limits
        self.files = StoredFiles([], limits, Indexer(limits), self.fragile)
        self.files.use([replace(one, enabled=one.name == self.writable) for one in self.archive.known_storages()])

    def _upkeep(self, name: str) -> Upkeep:
        known = next(one for one in self.archive.known_storages() if one.name == name)
        return Upkeep(Storage.known(known, self.archive.limits))

    @rule(
        which=st.integers(0, 1),
        number=st.integers(0, 1),
        syntax=st.sampled_from(SYNTAXES),
        overwrite=st.booleans(),
        crash=st.sampled_from(("", *PLACES[:3])),
    )
    def store(self, which: int, number: int, syntax: str, overwrite: bool, crash: str) -> None:
        uid = self.uids[which]
        self.fragile.at = crash
        policy = OnDuplicate.REPLACE if overwrite else OnDuplicate.IGNORE
        receiver = Receiver(
            self.archive.log, self.files, policy, self.fragile, storable_sop_classes(accept_unknown=True)
        )
        incoming = receiver.open(CT_CLASS, uid, syntax, "CT")
        try:
            incoming.write(_data_set(uid, number))
            receiver.finish(incoming, by=BY)
        except Crash:
            self._start()
        finally:
            self.fragile.at = ""
            incoming.discard()
        if crash == "receive.kept":
            return
        known = self.current.get(uid)
        if known is None:
            self.current[uid] = (number, syntax)
        elif overwrite and known[0] != number:
            self.earlier[uid] = (self.earlier[uid] | {known}) - {(number, syntax)}
            self.current[uid] = (number, syntax)

    @rule(to=st.sampled_from(NAMES))
    def write_to(self, to: str) -> None:
        self.writable = to
        self._start()

    @rule(to=st.sampled_from(NAMES), crash=st.sampled_from(("", *PLACES[3:])))
    def move(self, to: str, crash: str) -> None:
        source = NAMES[1 - NAMES.index(to)]
        self.writable = to
        self._start()
        self.fragile.at = crash
        moving = Move(
            self.archive.catalogue,
            self.archive.log,
            self._upkeep(source),
            self._upkeep(to),
            self.files.is_whole,
            by=BY,
            grace_seconds=1e-9,
            clocks=Clocks(time.monotonic, lambda: FOR_EVER, lambda _: None),
            failpoint=self.fragile,
        )
        try:
            outcomes = [one.outcome for one in moving.run()]
        except Crash:
            self._start()
            return
        finally:
            self.fragile.at = ""
        assert Outcome.FAILED not in outcomes
        self._settle()
        assert all(
            (place := self._place(uid, version)) is not None and place.storage == to
            for uid, version in self._versions()
        )

    @rule(name=st.sampled_from(NAMES), adopt=st.booleans())
    def reconcile(self, name: str, adopt: bool) -> None:
        opened = Storage.known(
            next(one for one in self.archive.known_storages() if one.name == name), self.archive.limits
        )
        receiver = self.archive.receiver(self.files, {})

        def take_in(file: FoundFile) -> str:
            assert file.content
            receiver.finish(LyingObject(opened, file.content, Indexer(self.archive.limits)), by=BY)
            number = _number(file.sop_instance_uid, file.content.digest)
            self.current[file.sop_instance_uid] = (number, file.content.transfer_syntax_uid)
            # The folders are those of all examples: it may be what an earlier one left.
            self.earlier.setdefault(file.sop_instance_uid, set())
            return "adopted"

        done = Reconciliation(
            self.archive.catalogue,
            self.archive.log,
            self._upkeep(name),
            self.files.is_whole,
            by=BY,
            older_than=FOR_EVER,
            mend=True,
            adopt=take_in if adopt else None,
        ).run()
        assert all(one.done for one in done)
        self._settle()

    @rule(name=st.sampled_from(NAMES))
    def scrub(self, name: str) -> None:
        pace = Pace(1e12, time.monotonic, lambda _: None)
        found = scrub(self.archive.catalogue, self.archive.log, self._upkeep(name), after="", by=BY, pace=pace)
        assert [one.fault for one in found if one.fault] == []

    @rule(name=st.sampled_from(NAMES))
    def remove_and_adopt(self, name: str) -> None:
        known = next(one for one in self.archive.known_storages() if one.name == name)
        change = self.archive.log.change
        change(storage.KIND, name, storage.remove, name, fold=storage.fold, by=BY)
        added = storage.StorageAdded(name, known.storage_id, known.path)
        change(storage.KIND, name, storage.add, added, fold=storage.fold, by=BY)
        self._start()

    @invariant()
    def every_version_has_a_whole_file_of_its_own(self) -> None:
        if not hasattr(self, "current"):
            return
        places = {}
        for uid, version in self._versions():
            place = self._place(uid, version)
            assert place is not None, f"{uid} version {version} has no place"
            assert place.transfer_syntax_uid == version[1]
            with open(self.files.open(place), "rb") as stored:
                assert stored.read() == _data_set(uid, version[0])
            places[place.storage, place.path] = (uid, version)
        assert len(places) == len(list(self._versions()))
        for uid, version in self.current.items():
            known = self._known(uid)
            assert known
            assert known.stored.content == self._place(uid, version)

    def _settle(self) -> None:
        """The catalogue knows of each instance the place of its served version, and of no other."""
        compose.catch_up(self.archive)
        with self.archive.catalogue.current() as connection:
            kept = kept_of(connection, list(self.current))
        assert kept == {uid: self._place(uid, version) for uid, version in self.current.items()}

    def _versions(self) -> Iterator[tuple[str, Version]]:
        for uid, version in self.current.items():
            yield from ((uid, one) for one in {version, *self.earlier[uid]})

    def _known(self, uid: str) -> instance.Instance | None:
        return instance.fold(recorded.event for recorded in self.archive.log.stream(instance.KIND, uid))

    def _place(self, uid: str, version: Version) -> instance.Content | None:
        known = self._known(uid)
        return known.place_of(_digest(uid, version[0]), version[1]) if known else None


def _data_set(uid: str, number: int) -> bytes:
    return minimal([(0x00204000, "LT", b"version%02d " % number)], instance=uid)


def _digest(uid: str, number: int) -> str:
    return hashlib.sha256(_data_set(uid, number)).hexdigest()


def _number(uid: str, digest: str) -> int:
    return next(number for number in range(2) if _digest(uid, number) == digest)


@pytest.fixture
def archive(postgres_server: Any, tmp_path: Path) -> Iterator[Archive]:
    """An archive with two storages."""
    read, _ = load(None, {"ANNALS_LIMITS__STORAGE_FREE_MIN": "1"}, data=tmp_path)
    with fresh_database(postgres_server) as dsn, compose.archive(read, dsn, connections=3) as made:
        made.make_first_storage()
        root = tmp_path / "second"
        second = Storage.open(root, "second", made.limits)
        second.close()
        added = storage.StorageAdded("second", str(second.storage_id), str(root))
        made.log.change(storage.KIND, "second", storage.add, added, fold=storage.fold, by=BY)
        compose.catch_up(made)
        yield made


def test_NET_6_STO_5_in_any_order_no_version_shares_or_loses_a_file(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Versions, "archive", archive, raising=False)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Versions,
        settings=settings(
            max_examples=8,
            stateful_step_count=15,
            suppress_health_check=list(HealthCheck),
        ),
    )


def _receive(archive: Archive, number: int, policy: OnDuplicate, into: str) -> None:
    limits = archive.limits
    files = StoredFiles([], limits, Indexer(limits))
    files.use([replace(one, enabled=one.name == into) for one in archive.known_storages()])
    receiver = Receiver(archive.log, files, policy, off, storable_sop_classes(accept_unknown=True))
    incoming = receiver.open(CT_CLASS, "1.2.3", EXPLICIT, "CT")
    incoming.write(_data_set("1.2.3", number))
    receiver.finish(incoming, by=BY)
    incoming.discard()
    compose.catch_up(archive)


def _upkeeps(archive: Archive) -> list[Upkeep]:
    return [Upkeep(Storage.known(one, archive.limits)) for one in archive.known_storages()]


def _paths(upkeeps: list[Upkeep]) -> list[tuple[str, str]]:
    return [(upkeep.name, file.path) for upkeep in upkeeps for file in upkeep.found()]


def _reconciled(archive: Archive, upkeep: Upkeep) -> list[Difference]:
    whole, log = archive.files({}).is_whole, archive.log
    return list(Reconciliation(archive.catalogue, log, upkeep, whole, by=BY, older_than=FOR_EVER, mend=True).run())


def test_NET_6_STO_5_a_duplicate_that_was_ignored_stays_known_when_another_one_replaces(archive: Archive) -> None:
    for number, policy in enumerate((OnDuplicate.IGNORE, OnDuplicate.IGNORE, OnDuplicate.REPLACE)):
        _receive(archive, number, policy, "default")
    default, _ = _upkeeps(archive)
    assert _reconciled(archive, default) == []
    assert len(_paths([default])) == 3


def test_NET_6_STO_5_the_copy_that_a_version_left_elsewhere_when_it_came_again_goes_and_nothing_else(
    archive: Archive,
) -> None:
    for number, into in ((0, "default"), (1, "default"), (0, "second")):
        _receive(archive, number, OnDuplicate.REPLACE, into)
    upkeeps = _upkeeps(archive)
    before = _paths(upkeeps)
    assert len(before) == 3
    (done,) = (one for upkeep in upkeeps for one in _reconciled(archive, upkeep))
    assert done == Difference("file that no fact knows", "1.2.3", done.path, "removed: the same lies whole in second")
    assert _digest("1.2.3", 0) in done.path
    assert _paths(upkeeps) == [one for one in before if one != ("default", done.path)]
