"""The power of a whole running archive is cut while four associations send (P1, P2, I1 to I5, F08, F09)."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.durability.disks import FILE_SYSTEMS
from tests.durability.objects import Sent
from tests.durability.whole import Machine, WholeArchive, ends_without_a_process, more_acknowledged, sending

_CUTS = {"ext4": 3, "xfs": 2}
_CUTS_OF_A_SOAK = {"ext4": 13, "xfs": 12}
_ACKNOWLEDGED_A_ROUND = 20
_DELAY_MAX_SECONDS = 0.3
_CHECK_STRUCTURE = """
SELECT count(bt_index_check(i.indexrelid, true, true))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relpersistence <> 't' AND i.indisvalid
"""

pytestmark = [pytest.mark.durability, pytest.mark.timeout(3600)]


@pytest.fixture(params=FILE_SYSTEMS)
def whole(request: pytest.FixtureRequest, images: Path) -> Iterator[Machine]:
    machine = Machine(images, request.param)
    try:
        yield machine
    finally:
        machine.remove()


def checkpoint(archive: WholeArchive) -> None:
    """Let the database write its pages, until it is cut."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(archive.dsn, autocommit=True) as connection:
        while True:
            connection.execute("CHECKPOINT")


def test_F08_F09_what_was_acknowledged_outlives_every_power_cut(
    whole: Machine, seeded: random.Random, soak: bool
) -> None:
    archive = whole.archive
    archive.start()
    everything: list[Sent] = []
    for number in range(1, (_CUTS_OF_A_SOAK if soak else _CUTS)[whole.kind] + 1):
        head = archive.head()
        with sending(archive, number) as senders:
            more_acknowledged(senders, _ACKNOWLEDGED_A_ROUND)
            checkpoints = threading.Thread(target=checkpoint, args=(archive,))
            if number % 2:
                checkpoints.start()
            threading.Event().wait(seeded.uniform(0, _DELAY_MAX_SECONDS))
            whole.cut()
            if number % 2:
                checkpoints.join()
            more_acknowledged(senders, 1)
        acknowledged = [one for sender in senders for one in sender.acknowledged]
        assert archive.broken_promises(acknowledged, head) == []
        everything += acknowledged
    print(f"{whole.kind}: {number} cuts, {len(everything)} acknowledged")
    with psycopg.connect(archive.dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        checked = connection.execute(_CHECK_STRUCTURE).fetchone()
    assert checked is not None
    assert checked[0] > 0
    assert archive.facts_broken(everything) == []
    ends_without_a_process(archive)
    assert [path for path in whole.storage.glob(".incoming/*/*") if path.name != "lease"] == []
