"""How much a conversion costs beside the codec library called alone: processor time, all processes counted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from adapters.codecs.transcoder import Transcoder
from adapters.codecs.workers import environment
from bench.library import AT_A_TIME, PICTURES, picture
from bench.objects import CT, Batch, Uids
from bench.programs import children, clock
from bench.table import Row, Target, compared
from domain.limits import Limits
from domain.transcoding import EXPLICIT, HTJ2K_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, RLE
from processes.pixel_ports import Stored

_SYNTAXES = {
    "JPEG-LS": JPEG_LS,
    "JPEG 2000 lossless": JPEG_2000_LOSSLESS,
    "JPEG lossless SV1": JPEG_LOSSLESS_SV1,
    "HTJ2K lossless": HTJ2K_LOSSLESS,
    "RLE": RLE,
}
_TARGET = Target(1.1, True)


def measure(folder: Path, quick: bool, uids: Uids, report: Callable[[list[Row]], None]) -> list[Row]:
    """Images of 512 x 512 that look like a CT, one after the other in one child, in turn with the library alone."""
    batch = Batch(folder / "images", CT, PICTURES, uids)
    batch.paint(picture)
    stored = [_opened(path) for path in sorted(batch.folder.iterdir())]
    rows: list[Row] = []
    transcoder = Transcoder(Limits(), 1)
    try:
        with _Alone() as alone:
            for name, syntax in _SYNTAXES.items():

                def through(first: int, wanted: str = syntax) -> None:
                    for one in stored[first : first + AT_A_TIME]:
                        os.close(transcoder.converted(one, wanted).descriptor)

                through(0)
                alone.milliseconds(name, 0)
                (child,) = (pid for pid in children(os.getpid()) if pid != alone.pid)
                ours, theirs = [], []
                for turn in range(12 if quick else 40):
                    first = turn * AT_A_TIME % PICTURES
                    theirs.append(alone.milliseconds(name, first))
                    before = time.process_time() + clock(child)
                    through(first)
                    ours.append((time.process_time() + clock(child) - before) * 1000 / AT_A_TIME)
                what = f"{name}, processor time an image"
                rows.append(compared(what, "ms", ours, "the library alone", theirs, _TARGET))
                report(rows)
    finally:
        for one in stored:
            os.close(one.descriptor)
        transcoder.close()
    batch.remove()
    return rows


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
        assert self._process.stdin
        assert self._process.stdout
        before = clock(self.pid)
        self._process.stdin.write(f"{first} {name}\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise RuntimeError(f"{name} alone: it ended")
        return (clock(self.pid) - before) * 1000 / AT_A_TIME


def _opened(path: Path) -> Stored:
    header = path.read_bytes()[:1024]
    # After preamble, prefix and the file meta information group.
    offset = 144 + int.from_bytes(header[140:144], "little")
    return Stored(os.open(path, os.O_RDONLY), offset, path.stat().st_size - offset, EXPLICIT)
