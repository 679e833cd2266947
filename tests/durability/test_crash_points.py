"""The store path killed at every system call, its disks' power cut, everything acknowledged still there (P1, P2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import pytest

from adapters.files.storages import StoredFiles
from annals import compose, databases
from domain.errors import Refused
from tests.durability import checker
from tests.durability.disks import FILE_SYSTEMS
from tests.durability.injection import EFFECTS, Calls, Point, injected, traced
from tests.durability.objects import Sent, sent, study_uid
from tests.durability.site import Outcome, Site, Writer
from tests.durability.writer import store

_ERRORS = {
    "openat": "EMFILE",
    "write": "EIO",
    "fsync": "EIO",
    "close": "EIO",
    "mkdirat": "ENOSPC",
    "renameat2": "ENOSPC",
    "renameat": "EIO",
    "unlinkat": "EIO",
    "recvfrom": "ECONNRESET",
}
"""What befalls each call of the thread that receives."""

_MUTANTS = {"no file sync": None, "no folder sync": None, "answer before fact": Point("receiver", "sendto", 1)}
pytestmark = [pytest.mark.durability, pytest.mark.timeout(900)]


class Trial:
    """Rounds over one site: a writer stores five objects, something befalls it, the power goes, all is checked.

    The five: a new one; one whose folder is missing; the first again; one whose file an earlier crash has left without
    its fact; one whose file was left so and is damaged.
    """

    def __init__(self, site: Site, writer: Writer) -> None:
        self.site = site
        self.writer = writer
        self.acknowledged: list[Sent] = []
        self._rounds = count(1)
        self._checked = 0
        site.start()
        databases.prepare(site.server.dsn())
        with site.archive() as (archive, _):
            for reader in archive.readers():
                reader.prepare()

    def prepare(self, mutant: str = "") -> tuple[list[Sent], dict[str, int]]:
        """The objects of a new round and the threads of the writer that waits to store them."""
        study = study_uid(next(self._rounds))
        one, two, four, five = (sent(study, number) for number in (1, 2, 4, 5))
        while any((self.site.storage / _folder(two)).iterdir()):
            two = Sent(two.study, two.instance, two.salt + 1)
        objects = [one, two, one, four, five]
        threads = self.site.order(self.writer, objects, mutant, orphans=[3], damaged=[4], absent=[_folder(two)])
        return objects, threads

    def check(self, objects: list[Sent], outcome: Outcome, *, cut: bool = True) -> list[str]:
        """Cut the power, then what is broken."""
        acknowledged = [objects[number] for number in outcome.stored]
        if cut:
            self.site.cut()
        with self.site.archive() as (archive, files):
            broken = checker.broken_promises(archive, files, acknowledged, self._checked)
            files.sweep()
            broken += [f"{path.name} stays half received" for path in self.site.temp_files()]
            if not broken:
                broken += self._send_again(archive, files, objects)
            self._checked = archive.log.head()
            if not broken:
                self.acknowledged += objects
        return broken

    def check_all(self) -> list[str]:
        """Once more, after a last cut: everything that was ever acknowledged."""
        self.site.cut()
        with self.site.archive() as (archive, files):
            return checker.broken_promises(archive, files, self.acknowledged)

    def _send_again(self, archive: compose.Archive, files: StoredFiles, objects: list[Sent]) -> list[str]:
        """A peer sends again what it has no answer for, and all is well."""
        receiver = archive.receiver(files, {})
        try:
            for one in objects:
                store(receiver, one)
        except Refused as refusal:
            return [f"an object could not be sent again: {refusal}"]
        return checker.broken_promises(archive, files, objects, self._checked)


def _folder(one: Sent) -> str:
    digest = one.digest()
    return f"{digest[:2]}/{digest[2]}"


@pytest.fixture(params=FILE_SYSTEMS)
def trial(request: pytest.FixtureRequest, images: Path) -> Iterator[Trial]:
    site = Site(images, request.param)
    try:
        with Writer() as writer:
            yield Trial(site, writer)
    finally:
        site.remove()


def discovered(trial: Trial, trace: Path) -> Calls:
    """The system calls of one whole round."""
    objects, threads = trial.prepare()
    with traced(threads, trace) as calls:
        outcome = trial.writer.go()
    assert outcome.stored == list(range(len(objects))), outcome
    assert trial.check(objects, outcome) == []
    assert {"openat", "write", "fsync", "renameat2", "mkdirat", "close", "sendto"} <= calls.names
    return calls


def test_P1_P2_F01_to_F07_a_kill_and_a_power_cut_at_every_system_call(trial: Trial, tmp_path: Path) -> None:
    points = discovered(trial, tmp_path / "trace").of(EFFECTS)
    broken: list[str] = []
    survived: list[Point] = []
    for point in points:
        objects, threads = trial.prepare()
        with injected(threads, point):
            outcome = trial.writer.go()
        if outcome.ended != -9:
            survived.append(point)
        broken += [f"{point}: {text}" for text in trial.check(objects, outcome)]
    print(f"{len(points)} crash points, {len(broken)} broken promises, {len(survived)} not reached")
    assert broken == []
    assert len(survived) <= len(points) // 20, survived
    assert trial.check_all() == []


def test_the_checker_sees_a_broken_store_path(trial: Trial) -> None:
    unseen = []
    for mutant, fault in _MUTANTS.items():
        objects, threads = trial.prepare(mutant)
        with injected(threads, fault) if fault else nullcontext():
            outcome = trial.writer.go()
        assert outcome.stored
        if not trial.check(objects, outcome):
            unseen.append(mutant)
    assert unseen == []


# A call that strace lets fail never reaches a file system: one is enough.
@pytest.mark.parametrize("trial", FILE_SYSTEMS[:1], indirect=True)
def test_F10_F11_F13_F22_an_error_at_every_system_call_is_refused_and_leaves_nothing(
    trial: Trial, tmp_path: Path
) -> None:
    calls = discovered(trial, tmp_path / "trace")
    points = [point for point in calls.of(_ERRORS) if point.thread == "receiver"]
    broken: list[str] = []
    refused = 0
    for point in points:
        error = _ERRORS[point.name]
        objects, threads = trial.prepare()
        with injected(threads, point, f"error={error}"):
            outcome = trial.writer.go()
        refused += len(outcome.refused)
        where = f"{point} {error}"
        if not outcome.finished:
            broken.append(f"{where}: the process ended with {outcome.ended}")
        if point.name != "unlinkat" and trial.site.temp_files():
            broken.append(f"{where}: a temp file stays")
        broken += [f"{where}: {text}" for text in trial.check(objects, outcome, cut=False)]
    assert broken == []
    assert refused > len(points) // 4
    assert trial.check_all() == []
