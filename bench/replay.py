"""How fast the catalogue is rebuilt from the log."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from bench.facts import Study, append
from bench.find import catalogue_reader, opened
from bench.peers import Annals
from bench.table import Row, Target

_RATE = re.compile(r"\((\d+)/s\)")


def measure(folder: Path, quick: bool, report: Callable[[Sequence[Row]], None]) -> list[Row]:
    """``annals rebuild catalogue`` over studies of four series of 125 images, and over studies of one image."""
    rows: list[Row] = []
    for what, studies, series, images, target in (
        ("studies of 4 series of 125 images", 40 if quick else 200, 4, 125, Target(15_000)),
        ("studies of one image", 20_000 if quick else 100_000, 1, 1, None),
    ):
        peer = Annals(folder / f"of{images}")
        with opened(peer.data) as archive:
            facts = append(archive.log, map(Study, range(studies)), series=series, images=images)
            catalogue_reader(archive)
        rates = []
        for _ in range(2 if quick else 3):
            said = peer.command("rebuild", "catalogue")
            found = _RATE.search(said)
            if found is None:
                raise RuntimeError(f"annals rebuild said {said!a}")
            rates.append(float(found[1]))
        rows.append(
            Row(f"Rebuild of the catalogue, {facts:,} instances, {what}", "facts/s", median(rates), target=target)
        )
        report(rows)
    return rows
