"""How fast DICOMweb gives back: series over one and four connections, a large object's first frame, metadata."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bench.objects import CT, MULTI_FRAME_WORD, SMALL, Batch, Shape, Uids
from bench.peers import Annals, OrthancDicomWeb
from bench.programs import until
from bench.receive import send
from bench.table import Row, Target, compared
from bench.taking import digests, take, whole

_IMAGES = 120
_TIMES = 6
"""How often a connection asks for the series in one turn: once takes less than a tenth of a second."""

_CONNECTIONS = (1, 4)
_FRAMES = Shape("1000 frames", MULTI_FRAME_WORD, "OT", 256, 256, 1000)
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_METADATA_OF = 1_000
_JSON = "application/dicom+json"
_OCTETS = 'multipart/related; type="application/octet-stream"'
_PIECE = 1024 * 1024

Server = Annals | OrthancDicomWeb


def measure(folder: Path, quick: bool, uids: Uids, report: Callable[[Sequence[Row]], None]) -> list[Row]:
    """Each request to both servers in turn; a row tells ours, theirs and the ratio."""
    rows: list[Row] = []
    rounds = 4 if quick else 9
    with ExitStack() as stack:
        clients = stack.enter_context(ProcessPoolExecutor(_CONNECTIONS[-1], get_context("spawn")))
        ours, theirs = Annals(folder / "annals"), OrthancDicomWeb(folder / "orthanc")
        for peer in (ours, theirs):
            stack.callback(peer.stop)
            peer.start()
        series = Batch(folder / "series", CT, _IMAGES, uids, series_size=_IMAGES)
        large = Batch(folder / "large", _FRAMES, 1, uids)
        for peer in (ours, theirs):
            send(peer, [series, large])
        for connections, target in zip(_CONNECTIONS, (Target(1.0), Target(1.5)), strict=True):
            path = f"/studies/{series.study_instance_uid}/series/{_series_uid(ours, series)}"
            mb = series.bytes * connections * _TIMES / 1e6
            lengths = {peer.name: _whole(peer, path, series) for peer in (ours, theirs)}
            ask = partial(_taken, clients, path=path, connections=connections, lengths=lengths)
            rates = _rounds((ours, theirs), rounds, ask)
            what = (
                f"WADO-RS of a series of {_IMAGES} images of 0.5 MB, {connections} connection{'s' * (connections > 1)}"
            )
            of_ours, of_theirs = ([mb / seconds for seconds in rates[peer.name]] for peer in (ours, theirs))
            rows.append(compared(what, "MB/s", of_ours, theirs.name, of_theirs, target))
            report(rows)
        path = _instance_path(ours, large)
        seconds = _rounds((ours, theirs), rounds, partial(_seconds, path=f"{path}/frames/1", accept=_OCTETS))
        rates = {name: [1 / one for one in found] for name, found in seconds.items()}
        what = f"first frame of {_FRAMES.frames} of 128 KB, one request a connection"
        rows.append(compared(what, "/s", rates[ours.name], theirs.name, rates[theirs.name], Target(5.0)))
        report(rows)
        rows.extend(_metadata(folder, rounds, uids, ours, theirs))
        report(rows)
    return rows


def _metadata(folder: Path, rounds: int, uids: Uids, ours: Annals, theirs: OrthancDicomWeb) -> list[Row]:
    """Whole answers a second for a large series, as it is and compressed, once ours is prepared."""
    series = Batch(folder / "many", SMALL, _METADATA_OF, uids, series_size=_METADATA_OF)
    for peer in (ours, theirs):
        send(peer, [series])
    until(lambda: "metadata: 0 series due" in ours.command("derived", "list"), 60, "the metadata is prepared")
    path = f"/studies/{series.study_instance_uid}/series/{_series_uid(ours, series)}/metadata"
    rows = []
    for coding in ("identity", "gzip"):
        seconds = _rounds((ours, theirs), rounds, partial(_seconds, path=path, accept=_JSON, coding=coding))
        rates = {name: [1 / one for one in found] for name, found in seconds.items()}
        what = f"metadata of a series of {_METADATA_OF} images, {coding}"
        rows.append(compared(what, "/s", rates[ours.name], theirs.name, rates[theirs.name], Target(5.0)))
    return rows


def _seconds(peer: Server, path: str, accept: str, coding: str = "identity") -> float:
    began = time.monotonic()
    _get(peer, path, accept, coding)
    return time.monotonic() - began


def _rounds(peers: Sequence[Server], rounds: int, ask: Callable[[Server], float]) -> dict[str, list[float]]:
    """The seconds of each round by peer, the first round not counted, the order turned each time."""
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(-1, rounds):
        for peer in (*peers[turn % len(peers) :], *peers[: turn % len(peers)]):
            took = ask(peer)
            if turn >= 0:
                seconds[peer.name].append(took)
    return seconds


def _whole(peer: Server, path: str, series: Batch) -> int:
    """The length of the answer that holds the series. Raises RuntimeError where it holds anything else."""
    found, length = whole(peer.dicomweb_port, f"/dicom-web{path}", _AS_STORED)
    if found != digests(file.read_bytes() for file in series.folder.iterdir()):
        raise RuntimeError(f"{peer.name} gives back other data sets than it was sent")
    return length


def _taken(clients: Executor, peer: Server, path: str, connections: int, lengths: Mapping[str, int]) -> float:
    """Take the series over several connections at once, each so often; the seconds until all is whole."""
    began = time.monotonic()
    asked = (peer.dicomweb_port, f"/dicom-web{path}", _AS_STORED, _TIMES, lengths[peer.name])
    for taken in [clients.submit(take, *asked) for _ in range(connections)]:
        taken.result()
    return time.monotonic() - began


def _get(peer: Server, path: str, accept: str, coding: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", peer.dicomweb_port, timeout=600)
    connection.request("GET", f"/dicom-web{path}", headers={"Accept": accept, "Accept-Encoding": coding})
    answer = connection.getresponse()
    taken = bytearray(_PIECE)
    while answer.readinto(taken):
        pass
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{peer.name} answered {answer.status}")


def _found(peer: Server, path: str) -> dict[str, dict[str, list[str]]]:
    connection = http.client.HTTPConnection("127.0.0.1", peer.dicomweb_port, timeout=60)
    connection.request("GET", f"/dicom-web{path}", headers={"Accept": "application/dicom+json"})
    (one,) = json.loads(connection.getresponse().read())
    connection.close()
    found: dict[str, dict[str, list[str]]] = one
    return found


def _series_uid(peer: Server, batch: Batch) -> str:
    return _found(peer, f"/studies/{batch.study_instance_uid}/series")["0020000E"]["Value"][0]


def _instance_path(peer: Server, batch: Batch) -> str:
    study, series = batch.study_instance_uid, _series_uid(peer, batch)
    instance = _found(peer, f"/studies/{study}/series/{series}/instances")["00080018"]["Value"][0]
    return f"/studies/{study}/series/{series}/instances/{instance}"
