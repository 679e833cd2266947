"""How fast a study is given back: DCMTK's getscu, and movescu to a storescp that throws away what comes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.objects import CT, Batch, Uids
from bench.peers import SINK_AE_TITLE, Peer
from bench.programs import environment, program
from bench.receive import send
from bench.table import Row, Target, compared

_IMAGES = 120
_TARGETS = {"Orthanc, SQLite": Target(1.5), "Orthanc, PostgreSQL": Target(1.5)}


def measure(
    peers: Sequence[Peer], folder: Path, quick: bool, uids: Uids, report: Callable[[Sequence[Row]], None]
) -> list[Row]:
    """C-GET and C-MOVE of one study of 120 images of 0.5 MB, in MB/s; the first peer is ours."""
    batch = Batch(folder / "study", CT, _IMAGES, uids)
    for peer in peers:
        send(peer, [batch])
    rows: list[Row] = []
    ours, *others = peers
    for what, ask in (("C-GET", _get), ("C-MOVE", move)):
        rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
        for turn in range(-1, 3 if quick else 7):
            for peer in (*peers[turn % len(peers) :], *peers[: turn % len(peers)]):
                seconds = ask(peer, batch.study_instance_uid)
                if turn >= 0:
                    rates[peer.name].append(batch.bytes / 1e6 / seconds)
        rows += [
            compared(
                f"{what} of {_IMAGES} images of 0.5 MB",
                "MB/s",
                rates[ours.name],
                peer.name,
                rates[peer.name],
                _TARGETS.get(peer.name),
            )
            for peer in others
        ]
        report(rows)
    batch.remove()
    return rows


def _get(peer: Peer, study: str) -> float:
    return _ask(peer, study, [program("getscu"), "-v", "-S", "--ignore"], "Received C-STORE Request")


def move(peer: Peer, study: str) -> float:
    """Have a study of 120 images sent to the sink; seconds until the last response."""
    return _ask(peer, study, [program("movescu"), "-d", "-S", "-aem", SINK_AE_TITLE], "")


def _ask(peer: Peer, study: str, command: Sequence[str], counted: str) -> float:
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "-aec", peer.ae_title, *keys, "127.0.0.1", str(peer.port)],
        env=environment(nagle=False),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = time.monotonic() - began
    said = done.stdout + done.stderr
    got = said.count(counted) if counted else _completed(said)
    if done.returncode or got != _IMAGES:
        raise RuntimeError(f"{command[0]} of {peer.name}: {got} of {_IMAGES} images: {said[-600:]}")
    return seconds


def _completed(said: str) -> int:
    """How many sub-operations the last C-MOVE response names as completed."""
    counts = [line.rpartition(":")[2].strip() for line in said.split("\n") if "Completed Suboperations" in line]
    return int(counts[-1]) if counts and counts[-1].isdigit() else 0
