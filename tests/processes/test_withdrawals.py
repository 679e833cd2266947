"""A storage is removed in steps, so that nobody who searches waits for all of it (STO-2, P6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.files.attachment import MARKER
from annals import compose
from annals.compose import Archive
from annals.settings import load
from annals.storage_commands import take_back
from annals.storage_removal import record, use_no_more
from domain import instance, storage
from domain.errors import InvalidInput, Unavailable
from domain.event import Actor
from domain.instance import Content, InstanceStored
from domain.storage import StorageAdded, StorageRemoved, StorageWithdrawn
from projections.catalogue import withdrawn
from projections.catalogue.kept import kept_in
from tests.conftest import fresh_database
from tests.edges import edges

BY = Actor("user", "t")
STEP = 3


@pytest.fixture
def archive(postgres_server: object, tmp_path: Path) -> Iterator[Archive]:
    read, _ = load(None, {"ANNALS_LIMITS__WITHDRAWAL_STEP": str(STEP)}, data=tmp_path)
    with (
        fresh_database(postgres_server) as dsn,  # type: ignore[arg-type]
        compose.archive(read, dsn, connections=3) as made,
    ):
        made.make_first_storage()
        change(made, storage.change, "default", "", False)
        yield made


def change(archive: Archive, verb: object, *said: object) -> None:
    archive.log.change(storage.KIND, "default", verb, *said, fold=storage.fold, by=BY)  # type: ignore[arg-type]
    compose.catch_up(archive)


def keep(archive: Archive, studies: int, of_each: int = 1) -> None:
    """Instances of studies whose UIDs are 1.10, 1.11 and so on."""
    for number in range(studies):
        for one in range(of_each):
            study = f"1.{10 + number}"
            uid = f"{study}.1.{one}"
            stored = InstanceStored(
                uid, "1.2.3", f"{study}.1", study, Content("d", 1, 0, "1.2", "default", uid), "", ""
            )
            archive.log.change(instance.KIND, uid, lambda _, stored=stored: [stored], fold=instance.fold, by=BY)  # type: ignore[misc]
    compose.catch_up(archive)


def found(archive: Archive) -> list[str]:
    with archive.catalogue.current() as connection:
        return [uid for uid, _ in kept_in(connection, "default", "", 100)]


def steps(archive: Archive) -> list[tuple[str, str]]:
    facts = [one.event for one in archive.log.stream(storage.KIND, "default")]
    return [(one.after, one.until) for one in facts if isinstance(one, StorageWithdrawn)]


@edges
def test_D21_a_step_ends_with_the_study_that_brings_it_to_so_many_instances(archive: Archive, off: int) -> None:
    keep(archive, STEP + off)
    with archive.catalogue.current() as connection:
        assert withdrawn.step(connection, "default", "", STEP) == ("" if off < 0 else "1.12")
        assert withdrawn.step(connection, "default", "1.12", STEP) == ""
    record(archive, "default", files=False)
    assert steps(archive) == ([("", "")] if off < 0 else [("", "1.12"), ("1.12", "")])
    assert found(archive) == []


def test_STO_2_a_study_goes_whole_in_one_step(archive: Archive) -> None:
    keep(archive, 2, of_each=STEP + 1)
    record(archive, "default", files=False)
    assert steps(archive) == [("", "1.10"), ("1.10", "1.11"), ("1.11", "")]
    assert found(archive) == []
    assert archive.catalogue.parked() == 0


def test_STO_2_a_removal_that_was_cut_short_goes_on_or_is_taken_back(archive: Archive) -> None:
    keep(archive, 4)
    change(archive, storage.withdraw, "default", "", "1.12")
    assert found(archive) == ["1.13.1.0"]
    (known,) = archive.known_storages()
    assert (known.leaving, known.removed) == (True, False)
    with pytest.raises(InvalidInput, match="is being removed"):
        change(archive, storage.change, "default", "", True)
    take_back(archive, archive.settings.storage_root.absolute(), BY)
    compose.catch_up(archive)
    assert len(found(archive)) == 4
    change(archive, storage.change, "default", "", False)
    change(archive, storage.withdraw, "default", "", "1.11")
    record(archive, "default", files=True)
    assert found(archive) == []
    assert isinstance(archive.log.stream(storage.KIND, "default")[-1].event, StorageRemoved)
    (known,) = archive.known_storages()
    assert (known.leaving, known.removed, known.emptied) == (False, True, True)
    assert known == storage.fold(one.event for one in archive.log.stream(storage.KIND, "default"))


def test_STO_2_what_came_in_behind_the_steps_goes_with_the_next(archive: Archive) -> None:
    keep(archive, 1)
    record(archive, "default", files=True)
    keep(archive, 2)
    assert found(archive) == ["1.10.1.0", "1.11.1.0"]
    record(archive, "default", files=True)
    assert found(archive) == []


def test_STO_2_a_folder_whose_marker_cannot_be_given_back_is_refused_and_stays_removed(archive: Archive) -> None:
    (known,) = archive.known_storages()
    use_no_more(archive, known, force=False)
    root = Path(known.path)
    (root / MARKER).mkdir()
    with pytest.raises(Unavailable, match="Is a directory"):
        take_back(archive, root, BY)
    compose.catch_up(archive)
    assert [one.removed for one in archive.known_storages()] == [True]
    (root / MARKER).rmdir()
    take_back(archive, root, BY)
    compose.catch_up(archive)
    assert [one.removed for one in archive.known_storages()] == [False]


def test_STO_2_an_archive_that_was_moved_starts_also_where_its_first_storage_is_removed(archive: Archive) -> None:
    """The marker has kept its name, as in a folder that was removed while its disk was read-only."""
    record(archive, "default", files=False)
    elsewhere = archive.settings.data / "elsewhere"
    archive.settings.storage_root.rename(elsewhere)
    moved, _ = load(None, {"ANNALS_STORAGE__PATH": str(elsewhere)}, data=archive.settings.data)
    replace(archive, settings=moved).make_first_storage()
    assert [one.removed for one in archive.known_storages()] == [True]


def test_STO_2_nothing_of_a_storage_that_is_written_is_withdrawn(archive: Archive) -> None:
    change(archive, storage.change, "default", "", True)
    with pytest.raises(InvalidInput, match="disable"):
        change(archive, storage.withdraw, "default", "", "")
    added = StorageAdded("default", "id", "/srv")
    with pytest.raises(InvalidInput, match="not a storage"):
        storage.withdraw(None, added.name, "", "")
