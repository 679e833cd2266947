"""Conversions as a peer sees them: whether a C-MOVE uses all cores, and what receiving loses to it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.library import picture
from bench.objects import CT, Batch, Uids
from bench.peers import SINK_AE_TITLE, Annals, Sink
from bench.programs import environment, program, until
from bench.receive import send
from bench.retrieve import move
from bench.table import Row, Target, compared
from domain.transcoding import JPEG_2000_LOSSLESS

_IMAGES = 120
_RECEIVED = 60
_BEGUN_SECONDS = 0.5
"""Processor time of the server after which a C-MOVE is past its start and its query."""


def measure(folder: Path, quick: bool, uids: Uids, report: Callable[[Sequence[Row]], None]) -> list[Row]:
    """A study of 120 images of a CT goes to a device that prefers JPEG 2000 lossless; then beside it others come."""
    sink = _Jpeg2000Sink(folder / "sink")
    peer = Annals(folder / "annals", sink.port)
    rows: list[Row] = []
    rounds = 3 if quick else 6
    try:
        sink.start()
        peer.start()
        peer.command("device", "edit", SINK_AE_TITLE, "--preferred-transfer-syntax", JPEG_2000_LOSSLESS)
        study = Batch(folder / "study", CT, _IMAGES, uids)
        study.paint(picture)
        send(peer, [study])
        peer.settle()
        move(peer, study.study_instance_uid)
        used, left = zip(*(_cores(peer, study) for _ in range(rounds)), strict=True)
        what = f"C-MOVE of {_IMAGES} images of 0.5 MB to JPEG 2000 lossless: cores in use"
        rows.append(compared(what, "cores", used, "what others leave", left, Target(0.9)))
        report(rows)
        others = Batch(folder / "others", CT, _RECEIVED, uids)
        alone, beside = [], []
        for _ in range(rounds):
            alone.append(_rate(peer, others))
            with _Moves(peer, study):
                beside.append(_rate(peer, others))
        what = f"Receive {_RECEIVED} images of 0.5 MB, 1 association, beside such a C-MOVE"
        # Half of the cores is what receiving keeps where conversions would take all of them.
        rows.append(compared(what, "objects/s", beside, "alone", alone, Target(0.5)))
        report(rows)
        study.remove()
        others.remove()
    finally:
        peer.stop()
        sink.stop()
    return rows


class _Jpeg2000Sink(Sink):
    """Takes JPEG 2000 lossless and throws it away."""

    def options(self) -> list[str]:
        """Prefer that syntax, else the default one."""
        return [*super().options(), "+xv"]


class _Moves:
    """C-MOVE after C-MOVE while it is entered."""

    def __init__(self, peer: Annals, study: Batch) -> None:
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study.study_instance_uid}"]
        command = [program("movescu"), "-S", "-aem", SINK_AE_TITLE, "-aec", peer.ae_title, *keys, "--repeat", "50"]
        self._peer = peer
        self._command = [*command, "127.0.0.1", str(peer.port)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            self._command, env=environment(nagle=False), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        begun = self._peer.cpu_seconds() + _BEGUN_SECONDS
        until(lambda: self._peer.cpu_seconds() > begun, 60, "conversions are under way")

    def __exit__(self, *_: object) -> None:
        under_way = self._process.poll() is None
        self._process.terminate()
        self._process.wait(30)
        if not under_way:
            raise RuntimeError("the C-MOVE ended while objects were received")


def _rate(peer: Annals, batch: Batch) -> float:
    peer.settle()
    batch.renew()
    os.sync()
    return batch.size / send(peer, [batch])


def _cores(peer: Annals, study: Batch) -> tuple[float, float]:
    """The server's processor seconds for each second of a C-MOVE, and those that nobody else has used."""
    peer.settle()
    before, idle_before = peer.cpu_seconds(), _idle_seconds()
    seconds = move(peer, study.study_instance_uid)
    used, idle = peer.cpu_seconds() - before, _idle_seconds() - idle_before
    return used / seconds, (used + idle) / seconds


def _idle_seconds() -> float:
    """Seconds in which cores had nothing to do, all cores together (proc(5))."""
    idle, waiting = Path("/proc/stat").read_text("ascii").split("\n")[0].split()[4:6]
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")
