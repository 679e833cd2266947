"""Conversions beside the codec library called alone: processor time, all processes counted, and throughput."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

from adapters.codecs.transcoder import Transcoder
from adapters.codecs.workers import environment
from bench.library import AT_A_TIME, PICTURES, picture
from bench.objects import CT, Batch, Uids
from bench.programs import children, clock
from bench.table import Row, Target, compared
from domain.limits import Limits
from domain.transcoding import EXPLICIT, HTJ2K_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, RLE
from processes.pixel_ports import Conversion, Stored

_SYNTAXES = {
    "JPEG-LS": JPEG_LS,
    "JPEG 2000 lossless": JPEG_2000_LOSSLESS,
    "JPEG lossless SV1": JPEG_LOSSLESS_SV1,
    "HTJ2K lossless": HTJ2K_LOSSLESS,
    "RLE": RLE,
}
_TARGET, _TARGET_OF_ALL = Target(1.1, True), Target(0.9)
_ROUND_SECONDS = 1.0
"""How long a round takes at least, or twice all pictures: at its ends not all children are busy."""


def measure(folder: Path, quick: bool, uids: Uids, report: Callable[[list[Row]], None]) -> list[Row]:
    """Images of 512 x 512 that look like a CT: in one child, then as many children as cores kept busy."""
    batch = Batch(folder / "images", CT, PICTURES, uids)
    batch.paint(picture)
    stored = [_opened(path) for path in sorted(batch.folder.iterdir())]
    rows: list[Row] = []
    try:
        for row in chain(_in_one_child(stored, 12 if quick else 40), _all_at_once(stored, 4 if quick else 12)):
            rows.append(row)
            report(rows)
    finally:
        for one in stored:
            os.close(one.descriptor)
    batch.remove()
    return rows


def _in_one_child(stored: Sequence[Stored], rounds: int) -> Iterator[Row]:
    with _Alone() as alone, closing(Transcoder(Limits(), 1)) as transcoder:
        others = children(os.getpid())
        for name, syntax in _SYNTAXES.items():

            def through(first: int, wanted: str = syntax) -> None:
                _convert(transcoder, stored[first : first + AT_A_TIME], wanted)

            through(0)
            alone.milliseconds(name, 0)
            (child,) = (pid for pid in children(os.getpid()) if pid not in others)
            ours, theirs = [], []
            for turn in range(rounds):
                first = turn * AT_A_TIME % PICTURES
                theirs.append(alone.milliseconds(name, first))
                before = time.process_time() + clock(child)
                through(first)
                ours.append((time.process_time() + clock(child) - before) * 1000 / AT_A_TIME)
            yield compared(f"{name}, processor time an image", "ms", ours, "the library alone", theirs, _TARGET)


def _all_at_once(stored: Sequence[Stored], rounds: int) -> Iterator[Row]:
    cores = os.cpu_count() or 1
    with ExitStack() as stack:
        alone = [stack.enter_context(_Alone()) for _ in range(cores)]
        transcoder = stack.enter_context(closing(Transcoder(Limits(), cores)))
        for name, syntax in _SYNTAXES.items():
            ours, theirs = [], []
            times = max(2, int(_ROUND_SECONDS / _seconds_alone(alone, name, 1)))
            images = [*stored] * cores * times
            _convert(transcoder, images, syntax)
            for _ in range(rounds):
                theirs.append(len(images) / _seconds_alone(alone, name, times))
                began = time.monotonic()
                _convert(transcoder, images, syntax)
                ours.append(len(images) / (time.monotonic() - began))
            what = f"{name}, {cores} children kept busy"
            yield compared(what, "images/s", ours, f"the library alone in {cores} processes", theirs, _TARGET_OF_ALL)


def _seconds_alone(alone: Sequence[_Alone], name: str, times: int) -> float:
    """How long the library takes for all pictures, so many times in each of some processes."""
    began = time.monotonic()
    for process in alone:
        process.ask(name, [*range(0, PICTURES, AT_A_TIME)] * times)
    for process in alone:
        process.answered(PICTURES // AT_A_TIME * times)
    return time.monotonic() - began


class _Alone:
    """The process that calls the libraries, in the environment of a codec child."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.library"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=Path(__file__).parent.parent,
        )
        self.pid = self._process.pid

    def __enter__(self) -> _Alone:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def milliseconds(self, name: str, first: int) -> float:
        """Processor time a frame, of some frames from one on."""
        before = clock(self.pid)
        self.ask(name, [first])
        self.answered(1)
        return (clock(self.pid) - before) * 1000 / AT_A_TIME

    def ask(self, name: str, firsts: Iterable[int]) -> None:
        """Have it encode some frames from each of these on."""
        assert self._process.stdin
        self._process.stdin.write("".join(f"{first} {name}\n" for first in firsts))
        self._process.stdin.flush()

    def answered(self, times: int) -> None:
        """Wait until it has done that so many times."""
        assert self._process.stdout
        for _ in range(times):
            if not self._process.stdout.readline():
                raise RuntimeError("the library alone: it ended")


def _convert(transcoder: Transcoder, some: Iterable[Stored], syntax: str) -> None:
    """Ask for objects as a C-MOVE does, which gives each file back once it is sent."""
    for begun in [transcoder.begin(_conversion(one, syntax)) for one in some]:
        converted = begun.result()
        converted.reuse(converted.descriptor)


def _conversion(one: Stored, syntax: str) -> Conversion:
    return Conversion(lambda: replace(one, descriptor=os.dup(one.descriptor)), one.length, [syntax], _failed)


def _failed(syntax: str, error: Exception) -> None:
    raise RuntimeError(f"{syntax}: {error}")


def _opened(path: Path) -> Stored:
    header = path.read_bytes()[:1024]
    # After preamble, prefix and the file meta information group.
    offset = 144 + int.from_bytes(header[140:144], "little")
    return Stored(os.open(path, os.O_RDONLY), offset, path.stat().st_size - offset, EXPLICIT)
