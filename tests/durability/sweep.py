"""Long work that is killed at system calls, its disks' power cut after every second kill, and taken up each time."""

from __future__ import annotations

import random
from itertools import groupby
from pathlib import Path
from typing import Protocol

from tests.durability.injection import Point, injected, traced
from tests.durability.site import Writer

_TRIALS = 5
_SYNCS_ON_END = 10


class Interruptible(Protocol):
    """Work that a writer does as often as it is asked."""

    writer: Writer

    def begin(self) -> dict[str, int]:
        """A writer that waits to do it; its threads."""
        ...

    def check(self, *, cut: bool) -> list[str]:
        """What is broken, after the power was cut or not, and after the work was done to its end."""
        ...


def broken_by_kills(
    work: Interruptible, trace: Path, chance: random.Random, *, points_min: int, all_of_them: bool
) -> list[str]:
    """Do the work undisturbed, then again and again with a kill at one of its system calls; what is broken then."""
    threads = work.begin()
    with traced(threads, trace) as calls:
        assert work.writer.go().finished
    assert work.check(cut=False) == []
    points = _without_mere_syncs(calls.with_effect())
    assert len(points) >= points_min
    broken: list[str] = []
    reached = 0
    tried = points if all_of_them else chance.sample(points, _TRIALS)
    for number, point in enumerate(tried):
        threads = work.begin()
        with injected(threads, point):
            outcome = work.writer.go()
        reached += outcome.ended == -9
        broken += [f"{point}: {text}" for text in work.check(cut=bool(number % 2))]
    print(f"{len(points)} points, {len(tried)} tried, {reached} reached")
    assert reached > len(tried) // 2
    return broken


def _without_mere_syncs(points: list[Point]) -> list[Point]:
    """Of many syncs on end the first and the last: between them, hundreds of folders stay as they are on the disk."""
    runs = [list(run) for _, run in groupby(points, key=lambda point: (point.thread, point.name))]
    return [
        point
        for run in runs
        for point in (run if run[0].name != "fsync" or len(run) < _SYNCS_ON_END else (run[0], run[-1]))
    ]
