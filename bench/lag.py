"""How far the catalogue is behind the log while everything that can come comes."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg

from bench.objects import CT, SMALL, Batch, Uids
from bench.peers import Annals
from bench.programs import until
from bench.receive import send
from bench.table import Row, Target, percentile

_BOTH = """
SELECT coalesce((SELECT max(notification_id) FROM log.event), 0),
    (SELECT position FROM reading.projection WHERE name = 'catalogue' AND active)
"""
_EVERY_SECONDS = 0.004


def measure(folder: Path, quick: bool, uids: Uids, report: Callable[[Sequence[Row]], None]) -> list[Row]:
    """Four associations of 0.5 MB objects, then eight of small ones: milliseconds from a commit until it is read."""
    peer = Annals(folder / "annals")
    peer.start()
    rows: list[Row] = []
    try:
        for shape, associations, objects in ((CT, 4, 1_600), (SMALL, 8, 4_000)):
            size = objects // associations // (4 if quick else 1)
            batches = [Batch(folder / f"{shape.modality}{one}", shape, size, uids) for one in range(associations)]
            watch = _Watch(peer.dsn)
            send(peer, batches[:1])
            for batch in batches:
                batch.renew()
            watch.start()
            rate = size * associations / send(peer, batches)
            lags = watch.stop()
            what = f"Lag of the catalogue, {associations} associations of {shape.name} objects at {rate:.0f}/s"
            rows += [
                Row(f"{what}: p50", "ms", percentile(lags, 0.5)),
                Row(f"{what}: p99", "ms", percentile(lags, 0.99), target=Target(500, True)),
            ]
            report(rows)
            for batch in batches:
                batch.remove()
    finally:
        peer.stop()
    return rows


class _Watch:
    """Looks at the log's head and the catalogue's position every few milliseconds."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._seen: list[tuple[float, int, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> list[float]:
        """Wait until all is read; milliseconds from each new head until the catalogue had read it."""
        until(self._has_all_read, 60, "the catalogue has read all")
        self._ended.set()
        self._thread.join()
        positions = [position for _, _, position in self._seen]
        lags, known = [], self._seen[0][1]
        for at, head, _ in self._seen:
            if head > known:
                known = head
                lags.append((self._seen[bisect_left(positions, head)][0] - at) * 1000)
        return lags

    def _has_all_read(self) -> bool:
        _, head, position = self._seen[-1] if self._seen else (0, 1, 0)
        return head == position

    def _look(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._ended.wait(_EVERY_SECONDS):
                row = connection.execute(_BOTH).fetchone()
                assert row
                self._seen.append((time.monotonic(), *row))
