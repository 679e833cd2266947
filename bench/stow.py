"""How fast instances are stored over HTTP: the same multipart requests to each server in turn, and one of 2 GB."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.objects import CT, HUGE, Batch, Uids
from bench.peers import Annals, OrthancDicomWeb
from bench.programs import children, command_line
from bench.receive import memory
from bench.table import Row, Target, compared
from bench.together import together

IMAGES = 120
_BOUNDARY = "bench-boundary"
_TYPE = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
_HEAD = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
_END = f"--{_BOUNDARY}--\r\n".encode()
_PIECE = 256 * 1024
_MIB = 2**20
_LOADS = ((1, IMAGES), (4, IMAGES // 4), (1, 1))
"""Requests at once, and images in each."""


def measure(folder: Path, quick: bool, uids: Uids, report: Callable[[Sequence[Row]], None]) -> list[Row]:
    """Images a second by STOW-RS, the server's processor time, and what one object of 2 GB costs in memory."""
    rows: list[Row] = []
    with ExitStack() as stack:
        ours, theirs = Annals(folder / "annals"), OrthancDicomWeb(folder / "orthanc")
        for peer in (ours, theirs):
            stack.callback(peer.stop)
            peer.start()
        for number, (requests, images) in enumerate(_LOADS):
            batches = [Batch(folder / f"load{number}-{at}", CT, max(images, 30), uids) for at in range(requests)]
            rates: dict[str, list[float]] = {ours.name: [], theirs.name: []}
            spent: dict[str, list[float]] = {ours.name: [], theirs.name: []}
            for turn in range(2 if quick else 5):
                for batch in batches:
                    batch.renew()
                for server in ((ours, theirs), (theirs, ours))[turn % 2]:
                    os.sync()
                    before = server.cpu_seconds()
                    seconds = _store_all(server.dicomweb_port, batches, images)
                    count = sum(batch.size for batch in batches)
                    rates[server.name].append(count / seconds)
                    spent[server.name].append((server.cpu_seconds() - before) * 1000 / count)
                    server.settle()
            load = (
                f"{requests} connection{'s' * (requests > 1)}, {images} image{'s' * (images > 1)} of 0.5 MB a request"
            )
            target = Target(1.5) if (requests, images) == (1, IMAGES) else None
            rows += [
                compared(load, "images/s", rates[ours.name], theirs.name, rates[theirs.name], target),
                compared(f"{load}: the server's CPU", "ms/image", spent[ours.name], theirs.name, spent[theirs.name]),
            ]
            report(rows)
            for batch in batches:
                batch.remove()
        rows.append(_huge(ours, folder, uids))
    return rows


def _huge(ours: Annals, folder: Path, uids: Uids) -> Row:
    """By how much the process that takes one part of 2 GB grows at its peak."""
    batch = Batch(folder / "huge", HUGE, 1, uids)
    assert ours.process
    pids = [pid for pid in children(ours.process.pid) if b"\0dicomweb\0" in command_line(pid) + b"\0"]
    before = {pid: memory(pid, "VmRSS") for pid in pids}
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")
    _store_all(ours.dicomweb_port, [batch], 1)
    grown = max(memory(pid, "VmHWM") - size for pid, size in before.items()) / _MIB
    batch.remove()
    return Row("one part of 2 GB: growth of the receiving process", "MiB", grown, target=Target(64, at_most=True))


def _store_all(port: int, batches: Sequence[Batch], images: int) -> float:
    """Store each batch over a connection of its own, all at once; the seconds until the last is answered."""
    return together([partial(_store, port, batch, images) for batch in batches])


def _store(port: int, batch: Batch, images: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    files = sorted(batch.folder.iterdir())
    for first in range(0, len(files), images):
        some = files[first : first + images]
        length = sum(len(_HEAD) + file.stat().st_size + 2 for file in some) + len(_END)
        fields = {"Content-Type": _TYPE, "Content-Length": str(length), "Accept": "application/dicom+json"}
        connection.request("POST", "/dicom-web/studies", _body(some), fields)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"STOW-RS was answered {answer.status}: {said[:300]!r}")
    connection.close()


def _body(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        yield _HEAD
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                yield piece
        yield b"\r\n"
    yield _END
