"""How long a start takes, until ``/health/ready`` says that a store would succeed."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from bench.peers import Annals
from bench.table import Row, Target


def measure(folder: Path, quick: bool) -> list[Row]:
    """Cold with a new data folder, then warm in the same one."""
    cold, warm = [], []
    for number in range(1 if quick else 3):
        peer = Annals(folder / f"annals{number}")
        cold.append(_started(peer))
        warm.append(_started(peer))
    return [
        Row("Cold start with a new data folder", "s", median(cold), target=Target(20, True)),
        Row("Warm start", "s", median(warm), target=Target(5, True)),
    ]


def _started(peer: Annals) -> float:
    began = time.monotonic()
    peer.start()
    seconds = time.monotonic() - began
    peer.stop()
    return seconds
