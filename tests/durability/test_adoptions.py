"""Adopting a storage killed at any system call, and its disks without power: each file is known once (F49, STO-5)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from annals import compose, databases
from domain import instance, storage
from domain.instance import InstanceStored
from domain.storage import StorageAdded
from tests.archive.conftest import until
from tests.durability.disks import FILE_SYSTEMS
from tests.durability.objects import SYNTAX, Sent, sent, study_uid
from tests.durability.site import Site, Writer
from tests.durability.sweep import broken_by_kills
from tests.durability.writer import adopt

pytestmark = [pytest.mark.durability, pytest.mark.timeout(900)]
FILES = 3


class Adoption:
    """A storage that was removed, with files in it that no fact knows: other ones in each round."""

    def __init__(self, site: Site, writer: Writer) -> None:
        self.site = site
        self.writer = writer
        self.round = 0
        self.lying: list[Sent] = []
        site.start()
        databases.prepare(site.server.dsn())
        with site.archive() as (archive, _):
            compose.catch_up(archive)

    def begin(self) -> dict[str, int]:
        """A writer that waits to adopt; its threads."""
        self.round += 1
        self.lying = [sent(study_uid(self.round, 7), number) for number in range(FILES)]
        return self.site.order(self.writer, self.lying, orphans=list(range(FILES)), adopt=True)

    def check(self, *, cut: bool) -> list[str]:
        """After an interruption: every file is whole. Then adopted to the end: each is an instance, once."""
        if cut:
            self.site.cut()
        broken = [f"{path} is not there" for path in self._paths() if not path.exists()]
        with self.site.archive() as (archive, _):
            compose.catch_up(archive)

            def is_known() -> bool:
                # A file that was touched a moment ago is passed over.
                adopt(archive, self.site.storage)
                compose.catch_up(archive)
                return all(archive.log.stream(instance.KIND, one.instance) for one in self.lying)

            until(is_known, 60, "everything is adopted")
        with self.site.archive() as (archive, files):
            for one in self.lying:
                facts = [recorded.event for recorded in archive.log.stream(instance.KIND, one.instance)]
                known = instance.fold(facts)
                place = known.place_of(one.digest(), SYNTAX) if known else None
                if place is None or not files.is_whole(place):
                    broken.append(f"{one.instance} is not whole")
                if [type(fact) for fact in facts] != [InstanceStored]:
                    broken.append(f"{one.instance} has {facts}")
            added = archive.log.stream(storage.KIND, compose.DEFAULT_STORAGE)
            if sum(isinstance(recorded.event, StorageAdded) for recorded in added) != 1 + self.round:
                broken.append(f"the storage came back more than once: {added}")
        there = [path for pattern in ("??/?/*", ".orphans/*") for path in self.site.storage.glob(pattern)]
        if len(there) != FILES * self.round:
            broken.append(f"{len(there)} files are there")
        return broken

    def _paths(self) -> Iterator[Path]:
        for digest in (one.digest() for one in self.lying):
            yield self.site.storage / digest[:2] / digest[2] / f"{digest}.dcm"


@pytest.fixture(params=FILE_SYSTEMS)
def adoption(request: pytest.FixtureRequest, images: Path) -> Iterator[Adoption]:
    site = Site(images, request.param)
    try:
        with Writer() as writer:
            yield Adoption(site, writer)
    finally:
        site.remove()


def test_F49_STO_5_an_adoption_that_is_killed_or_loses_its_power_is_taken_up_and_ends_the_same(
    adoption: Adoption, tmp_path: Path, seeded: random.Random, soak: bool
) -> None:
    assert broken_by_kills(adoption, tmp_path / "trace", seeded, points_min=50, all_of_them=soak) == []
