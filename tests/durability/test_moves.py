"""A move of a storage killed at any system call, its disks' power cut, and run again: nothing lost, nothing twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from annals import compose, databases
from annals.compose import Archive
from annals.storage_upkeep import moving
from domain import instance, storage
from processes.move_storage import Outcome
from tests.durability.disks import FILE_SYSTEMS
from tests.durability.objects import SYNTAX, Sent, sent, study_uid
from tests.durability.site import Site, Writer
from tests.durability.sweep import broken_by_kills
from tests.durability.writer import BY, store

pytestmark = [pytest.mark.durability, pytest.mark.timeout(900)]


class Removal:
    """Two storages on one disk; everything goes to and fro between them. One instance has an earlier version."""

    def __init__(self, site: Site, writer: Writer) -> None:
        self.site = site
        self.writer = writer
        self.places = ("default", "second")
        study = study_uid(1)
        self.sent = [sent(study, 1), sent(study, 2), Sent(study, f"{study}.1.2", 1)]
        self.second = site.storage.with_name("second")
        site.start()
        databases.prepare(site.server.dsn())
        with site.archive() as (archive, files):
            compose.catch_up(archive)
            made = Storage.open(self.second, "second", archive.limits)
            made.close()
            added = storage.StorageAdded("second", str(made.storage_id), str(self.second), False)
            archive.log.change(storage.KIND, "second", storage.add, added, fold=storage.fold, by=BY)
            for one in self.sent:
                store(archive.receiver(files, {}), one)
            compose.catch_up(archive)

    def begin(self) -> dict[str, int]:
        """A writer that waits to move everything; its threads."""
        return self.site.order(self.writer, [], move=list(self.places))

    def check(self, *, cut: bool) -> list[str]:
        """After an interruption: all is whole where the log says. Then moved to its end: all is there, once."""
        if cut:
            self.site.cut()
        with self.site.archive() as (archive, files):
            compose.catch_up(archive)
            broken = self._not_whole(archive, files)
            known = {one.name: one for one in archive.known_storages()}
            for one in moving(archive, *(known[name] for name in self.places), BY, {}).run():
                if one.outcome not in (Outcome.MOVED, Outcome.REMOVED):
                    broken.append(f"{one.path}: {one.outcome} {one.fault}")
            compose.catch_up(archive)
            broken += self._not_whole(archive, files)
            broken += self._not_at(archive, self.places[1])
            files.sweep()
        self.places = (self.places[1], self.places[0])
        return broken

    def _not_whole(self, archive: Archive, files: StoredFiles) -> list[str]:
        return [
            f"{one.instance} version {one.salt} is not whole in {place and place.storage}"
            for one in self.sent
            if (place := self._place(archive, one)) is None or not files.is_whole(place)
        ]

    def _not_at(self, archive: Archive, name: str) -> list[str]:
        roots = {"default": self.site.storage, "second": self.second}
        there = {str(path.relative_to(roots[name])) for path in roots[name].glob("??/?/*")}
        places = [self._place(archive, one) for one in self.sent]
        broken = [f"{place} is not in {name}" for place in places if place is None or place.storage != name]
        if there != {place.path for place in places if place}:
            broken.append(f"{sorted(there)} are in {name}")
        left = [path for root in roots.values() for path in (*root.glob(".orphans/*"), *root.glob("??/?/*"))]
        if len(left) != len(self.sent):
            broken.append(f"files are twice, or aside: {left}")
        with archive.catalogue.current() as connection:
            rows = connection.execute("SELECT DISTINCT storage FROM instance").fetchall()
        if rows != [(name,)]:
            broken.append(f"the catalogue says {rows}")
        return broken

    def _place(self, archive: Archive, one: Sent) -> instance.Content | None:
        known = instance.fold(recorded.event for recorded in archive.log.stream(instance.KIND, one.instance))
        return known.place_of(one.digest(), SYNTAX) if known else None


@pytest.fixture(params=FILE_SYSTEMS)
def removal(request: pytest.FixtureRequest, images: Path) -> Iterator[Removal]:
    site = Site(images, request.param)
    try:
        with Writer() as writer:
            yield Removal(site, writer)
    finally:
        site.remove()


def test_STO_5_a_move_that_is_killed_or_loses_its_power_is_taken_up_and_nothing_is_lost_or_twice(
    removal: Removal, tmp_path: Path, seeded: random.Random, soak: bool
) -> None:
    assert broken_by_kills(removal, tmp_path / "trace", seeded, points_min=80, all_of_them=soak) == []
