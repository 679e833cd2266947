"""``kill -9`` of any process of an archive while instances come, or of all while it starts (P1, P2, P15, F47)."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive.conftest import until
from tests.durability.whole import WholeArchive, ends_without_a_process, kill_one, more_acknowledged, sending

_ROUNDS, _ROUNDS_OF_A_SOAK = 10, 100
_KINDS = ("supervisor", "dimse", "dicomweb", "reader", "web", "postmaster", "postgres")
_ACKNOWLEDGED_A_ROUND = 5
_SENT_BEFORE_MAX = 10
_STUDIES_EVERY = 10
_STARTS_KILLED, _STARTS_KILLED_IN_A_SOAK = 3, 20
_START_SECONDS = 2.0

pytestmark = [pytest.mark.durability, pytest.mark.timeout(3600)]


@pytest.fixture
def whole() -> Iterator[WholeArchive]:
    folder = Path(tempfile.mkdtemp(prefix="annals-kills-"))
    folder.chmod(0o755)
    archive = WholeArchive(folder, folder / "data")
    try:
        yield archive
    finally:
        archive.kill()
        print("\n".join(archive.unforeseen()))
        shutil.rmtree(folder)


def test_P1_P2_what_was_acknowledged_outlives_every_kill(
    whole: WholeArchive, seeded: random.Random, soak: bool
) -> None:
    rounds = _ROUNDS_OF_A_SOAK if soak else _ROUNDS
    kinds = [_KINDS[number % len(_KINDS)] for number in range(rounds)]
    seeded.shuffle(kinds)
    whole.start()
    with sending(whole) as senders:
        for number, kind in enumerate(kinds, 1):
            more_acknowledged(senders, seeded.randint(1, _SENT_BEFORE_MAX))
            kill_one(whole, kind, seeded)
            if kind == "supervisor":
                assert whole.process
                whole.process.wait()
                whole.start()
            more_acknowledged(senders, _ACKNOWLEDGED_A_ROUND)
            if number % _STUDIES_EVERY == 0:
                for sender in senders:
                    sender.next_study()
    acknowledged = [one for sender in senders for one in sender.acknowledged]
    until(whole.ready, 60, "ready again after the last kill")
    print(f"{rounds} kills, {len(acknowledged)} acknowledged, {sum(len(s.refusals) for s in senders)} refused")
    assert whole.unforeseen() == []
    assert whole.broken_promises(acknowledged) == []
    ends_without_a_process(whole)
    assert [path for path in (whole.data / "storage").glob(".incoming/*/*") if path.name != "lease"] == []


def test_F47_killed_again_and_again_while_it_starts_it_starts_in_the_end(
    whole: WholeArchive, seeded: random.Random, soak: bool
) -> None:
    whole.start()
    with sending(whole) as senders:
        more_acknowledged(senders, _ACKNOWLEDGED_A_ROUND)
        whole.kill()
    for _ in range(_STARTS_KILLED_IN_A_SOAK if soak else _STARTS_KILLED):
        whole.begin()
        # A moment within what a start takes, until its readiness.
        threading.Event().wait(seeded.uniform(0, _START_SECONDS))
        whole.kill()
    whole.start()
    assert whole.unforeseen() == []
    assert whole.broken_promises([one for sender in senders for one in sender.acknowledged]) == []
    ends_without_a_process(whole)
