"""How fast objects are received: DCMTK's storescu against each server in turn, the same files in each round."""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.objects import CT, HUGE, SMALL, Batch, Shape, Uids
from bench.peers import Annals, Peer
from bench.programs import environment, program
from bench.table import Row, Target, compared

_MIB = 2**20
_TARGETS = {
    (CT, 1, True, "Orthanc, SQLite"): Target(8),
    (CT, 1, False, "Orthanc, SQLite"): Target(1.5),
    (CT, 4, False, "Orthanc, SQLite"): Target(1.2),
    (CT, 1, False, "Orthanc, PostgreSQL"): Target(2),
    (CT, 4, False, "Orthanc, PostgreSQL"): Target(2),
}


@dataclass(frozen=True, slots=True)
class Load:
    """Associations at once, and whether the client leaves Nagle's algorithm on, as DCMTK does where nothing is set."""

    shape: Shape
    associations: int
    nagle: bool
    objects: int

    def __str__(self) -> str:
        plural = "s" if self.associations > 1 else ""
        how = "as it comes" if self.nagle else "TCP_NODELAY=1"
        return f"{self.shape.name}, {self.associations} association{plural}, {how}"


def loads(nagle: bool, quick: bool) -> Iterator[Load]:
    """What is sent. With Nagle on a peer may take some twenty a second, so fewer objects."""
    for shape, many, few in ((CT, 400, 60), (SMALL, 800, 40)):
        for associations in (1, 4) if quick else (1, 4, 8):
            objects = (few * min(associations, 4)) if nagle else many
            yield Load(shape, associations, nagle, objects // (2 if quick else 1))


def measure(
    peers: Sequence[Peer],
    folder: Path,
    uids: Uids,
    report: Callable[[Sequence[Row]], None],
    *,
    nagle: bool,
    quick: bool,
) -> list[Row]:
    """One set of rows a load; the first peer is ours. The order turns with every round."""
    rows: list[Row] = []
    for number, load in enumerate(loads(nagle, quick)):
        taking = [peer for peer in peers if peer.at_once or (load.associations == 1 and load.shape is CT)]
        ours, *others = taking
        size = load.objects // load.associations
        batches = [
            Batch(folder / f"load{number}-{association}", load.shape, size, uids)
            for association in range(load.associations)
        ]
        rates: dict[str, list[float]] = {peer.name: [] for peer in taking}
        spent: dict[str, list[float]] = {peer.name: [] for peer in taking}
        for turn in range(3 if quick else 5):
            for batch in batches:
                batch.renew()
            for peer in (*taking[turn % len(taking) :], *taking[: turn % len(taking)]):
                os.sync()
                before = peer.cpu_seconds()
                rates[peer.name].append(_rate(peer, batches, load, fails=peer is not ours))
                spent[peer.name].append((peer.cpu_seconds() - before) * 1000 / (size * load.associations))
                peer.settle()
        rows += [
            compared(
                str(load),
                "objects/s",
                rates[ours.name],
                peer.name,
                rates[peer.name],
                _TARGETS.get((load.shape, load.associations, load.nagle, peer.name)),
            )
            for peer in others
        ]
        rows += [
            compared(f"{load}: the server's CPU", "ms/object", spent[ours.name], peer.name, spent[peer.name])
            for peer in others
        ]
        report(rows)
        for batch in batches:
            batch.remove()
    return rows


def _rate(peer: Peer, batches: Sequence[Batch], load: Load, *, fails: bool) -> float:
    """Objects a second; not a number where a peer (never ours) refused some."""
    try:
        seconds = send(peer, batches, load.nagle)
    except RuntimeError:
        if not fails:
            raise
        return math.nan
    return sum(batch.size for batch in batches) / seconds


def send(peer: Peer, batches: Sequence[Batch], nagle: bool = False) -> float:
    """Send each batch over an association of its own, all at once; the seconds until the last one has ended."""
    began = time.monotonic()
    clients = [
        subprocess.Popen(
            [program("storescu"), "-aec", peer.ae_title, "127.0.0.1", str(peer.port), "+sd", str(batch.folder)],
            env=environment(nagle=nagle),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for batch in batches
    ]
    said = [client.communicate()[0] for client in clients]
    seconds = time.monotonic() - began
    for client, lines in zip(clients, said, strict=True):
        if client.returncode:
            raise RuntimeError(f"storescu to {peer.name}: {lines.decode(errors='replace')[-400:]}")
    return seconds


def measure_huge(peers: Sequence[Peer], folder: Path, uids: Uids) -> list[Row]:
    """One multi-frame object of 2 GB: seconds, and by how much the receiving process has grown at its peak."""
    batch = Batch(folder / "huge", HUGE, 1, uids)
    seconds: dict[str, float] = {}
    grown: dict[str, float] = {}
    for peer in peers:
        os.sync()
        pids = peer.receivers() if isinstance(peer, Annals) else peer.processes()
        before = {pid: memory(pid, "VmRSS") for pid in pids}
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")
        seconds[peer.name] = send(peer, [batch])
        grown[peer.name] = max(memory(pid, "VmHWM") - size for pid, size in before.items()) / _MIB
    batch.remove()
    ours, *others = peers
    size = batch.bytes / 1e6
    alone = Row("2 GB multi-frame: growth of the receiving process", "MiB", grown[ours.name], target=Target(64, True))
    return [
        alone,
        *(
            Row("2 GB multi-frame: growth", "MiB", grown[ours.name], one.name, grown[one.name])
            for one in others
            if not one.forks
        ),
        *(
            compared("2 GB multi-frame", "MB/s", [size / seconds[ours.name]], one.name, [size / seconds[one.name]])
            for one in others
        ),
    ]


def memory(pid: int, what: str) -> int:
    """A line of a process's status (``VmRSS``, ``VmHWM``), in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").split("\n"):
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    return 0
