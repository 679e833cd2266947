"""The scrub finds whatever is wrong with a file, at its pace, tells it once, and goes on where it was (STO-5, D7)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from annals import compose
from annals.compose import Archive
from annals.roles.scrubbing import Scrubbing
from annals.settings import load
from domain import storage
from domain.event import Actor, Event
from domain.instance import InstanceUnreadable
from domain.storage import StorageScrubbed
from processes.scrub import Pace
from tests.conftest import fresh_database
from tests.dicom.encoding import CT_CLASS, EXPLICIT, element, minimal

BY = Actor("device", "CT", "192.0.2.7")
COUNT = 12


@contextmanager
def archive_in(folder: Path, dsn: str, **limits: str) -> Iterator[Archive]:
    environment = {"ANNALS_LIMITS__STORAGE_FREE_MIN": "1", "ANNALS_LIMITS__SCRUB_START_SECONDS": "0.001"}
    environment |= {f"ANNALS_LIMITS__{name.upper()}": value for name, value in limits.items()}
    settings, _ = load(None, environment, data=folder)
    folder.mkdir(exist_ok=True)
    with compose.archive(settings, dsn, connections=3) as archive:
        archive.make_first_storage()
        compose.catch_up(archive)
        yield archive


@pytest.fixture
def dsn_of_store(postgres_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[str]:
    """A database and a storage with some instances."""
    with fresh_database(postgres_server) as dsn:
        with archive_in(tmp_path / "data", dsn) as archive:
            files = archive.files({})
            receiver = archive.receiver(files, {})
            for number in range(COUNT):
                incoming = receiver.open(CT_CLASS, f"1.2.3.{100 + number}", EXPLICIT, "CT")
                incoming.write(minimal(instance=f"1.2.3.{100 + number}") + element(0x7FE00010, "OW", bytes(20_000)))
                receiver.finish(incoming, by=BY)
                incoming.discard()
            compose.catch_up(archive)
            files.close()
        yield dsn


def facts(archive: Archive, kind: type[Event]) -> list[Event]:
    return [recorded.event for recorded in archive.log.read(0, 10_000) if isinstance(recorded.event, kind)]


def scrub_until(archive: Archive, condition: Callable[[], bool]) -> None:
    """Run the background scrub until something holds; its readers run beside it."""
    ended = threading.Event()
    thread = threading.Thread(target=Scrubbing(archive, ended).run, daemon=True)
    thread.start()
    deadline = threading.Event()
    timer = threading.Timer(60, deadline.set)
    timer.start()
    while not condition():
        assert not deadline.is_set()
        compose.catch_up(archive)
    timer.cancel()
    ended.set()
    thread.join(60)
    assert not thread.is_alive()


def damage(root: Path) -> set[str]:
    """One file gone, one cut by a byte, one with one bit flipped; their paths."""
    gone, cut, flipped = sorted(root.glob("??/?/*.dcm"))[:3]
    paths = {str(path.relative_to(root)) for path in (gone, cut, flipped)}
    gone.unlink()
    os.truncate(cut, cut.stat().st_size - 1)
    raw = bytearray(flipped.read_bytes())
    raw[-7] ^= 0x10
    flipped.write_bytes(raw)
    return paths


def test_F18_STO_5_all_that_is_missing_cut_or_flipped_is_found_and_each_is_a_fact_once(
    dsn_of_store: str, tmp_path: Path
) -> None:
    # Faster than it would be by default, so that several passes go by.
    with archive_in(tmp_path / "data", dsn_of_store, scrub_days="0.000001") as archive:
        damaged = damage(tmp_path / "data" / "storage")

        def passes() -> int:
            return sum(not fact.after for fact in facts(archive, StorageScrubbed))  # type: ignore[attr-defined]

        scrub_until(archive, lambda: passes() >= 2)
        unreadable = facts(archive, InstanceUnreadable)
        assert sorted(fact.path for fact in unreadable) == sorted(damaged)  # type: ignore[attr-defined]
        first = next(fact for fact in facts(archive, StorageScrubbed) if not fact.after)  # type: ignore[attr-defined]
        assert (first.instances, first.unreadable) == (COUNT, 3)  # type: ignore[attr-defined]


def test_STO_5_after_a_restart_the_scrub_goes_on_where_it_was(dsn_of_store: str, tmp_path: Path) -> None:
    # About one object in twenty thousand seconds: each start reads one, and its wait is not waited for.
    for number in range(1, 4):
        with archive_in(tmp_path / "data", dsn_of_store, scrub_days="3") as archive:
            scrub_until(archive, lambda: len(facts(archive, StorageScrubbed)) == number)  # noqa: B023
            done = facts(archive, StorageScrubbed)[-1]
            assert (done.after, done.instances) == (f"1.2.3.{99 + number}", 1)  # type: ignore[attr-defined]


def test_two_scrubs_of_one_storage_do_not_lead_each_other_astray() -> None:
    known = storage.Storage("default", "id", "/srv/x", enabled=True, scrubbed="1.2.5")
    done = StorageScrubbed("default", "1.2.9", 4, 0, 100)
    assert storage.scrub(known, "1.2.5", done) == [done]
    assert storage.scrub(known, "1.2.4", done) == storage.scrub(None, "", done) == []


def test_the_pace_keeps_to_its_rate_and_makes_up_for_no_rest() -> None:
    now, waited = [0.0], [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds
        waited[0] += seconds

    pace = Pace(100.0, lambda: now[0], wait)
    for _ in range(11):
        pace.read(50)
    assert waited[0] == pytest.approx(5.0)
    now[0] += 1_000
    for _ in range(11):
        pace.read(50)
    assert waited[0] == pytest.approx(10.0)
