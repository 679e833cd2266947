"""No space for the database's log: refused, nothing lost, and well again by itself when there is space (F12)."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive.conftest import until
from tests.durability.whole import Machine, ends_without_a_process, kill_one, more_acknowledged, sending

_REFUSED_SECONDS = 60.0
_OUT_OF_RESOURCES = 0xA700

pytestmark = [pytest.mark.durability, pytest.mark.timeout(600)]


@pytest.fixture
def whole(images: Path) -> Iterator[Machine]:
    machine = Machine(images, "ext4")
    try:
        yield machine
    finally:
        machine.remove()


def fill(folder: Path) -> Path:
    """Take all the space there is."""
    ballast = folder / "ballast"
    descriptor = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    size = 64 * 1024**2
    end = 0
    while size >= 4096:
        try:
            os.posix_fallocate(descriptor, end, size)
            end += size
        except OSError:
            size //= 2
    os.close(descriptor)
    return ballast


@pytest.mark.parametrize("killed", [False, True], ids=["full", "full and killed"])
def test_F12_a_full_database_disk_refuses_then_recovers_by_itself(
    whole: Machine, killed: bool, seeded: random.Random
) -> None:
    archive = whole.archive
    archive.start()
    with sending(archive) as senders:
        more_acknowledged(senders, 5)
        ballast = fill(whole.disks[1].path)
        until(
            lambda: all(_OUT_OF_RESOURCES in sender.refusals for sender in senders),
            _REFUSED_SECONDS,
            "each sender is refused with A700",
        )
        if killed:
            kill_one(archive, "postmaster", seeded)
            until(lambda: "did not start" in archive.log_lines(), 60, "the database cannot start")
        ballast.unlink()
        more_acknowledged(senders, 5)
    until(archive.ready, 60, "ready again")
    assert archive.broken_promises([one for sender in senders for one in sender.acknowledged]) == []
    assert {status for sender in senders for status in sender.refusals} == {_OUT_OF_RESOURCES}
    ends_without_a_process(archive)
