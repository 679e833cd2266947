"""Where the bytes of a data set are written to: a file, deflated or not, or pieces that are kept."""

from __future__ import annotations

import os
import zlib
from typing import Protocol

_GATHERED = 1024 * 1024
_PIECES_MAX = 512
"""The kernel takes 1024 at once."""


class Sink(Protocol):
    """Where bytes are written."""

    def write(self, data: bytes, /) -> object:
        """Write all of it."""
        ...


class File:
    """Gathers pieces, so that each element is not a system call; what was in the file before is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gathered: list[bytes] = []
        self._waiting = 0
        self.size = 0

    def write(self, data: bytes) -> None:
        """Write it now or with what follows."""
        self._gathered.append(data)
        self._waiting += len(data)
        if self._waiting >= _GATHERED or len(self._gathered) == _PIECES_MAX:
            self._pass_on()

    def finish(self) -> None:
        """Write what is left, and cut the file to its ``size``."""
        self._pass_on()
        os.ftruncate(self._descriptor, self.size)

    def _pass_on(self) -> None:
        pieces: list[bytes] = self._gathered
        written = os.pwritev(self._descriptor, pieces, self.size) if pieces else 0
        if written < self._waiting:
            whole = b"".join(pieces)
            while written < len(whole):
                written += os.pwrite(self._descriptor, memoryview(whole)[written:], self.size + written)
        self.size += self._waiting
        self._gathered, self._waiting = [], 0


class Deflated:
    """What is written to it is deflated, without a zlib header, of even length (PS3.5 A.5)."""

    def __init__(self, out: File) -> None:
        self._out = out
        self._deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._written = 0

    def write(self, data: bytes) -> None:
        """Deflate it."""
        self._pass_on(self._deflater.compress(data))

    def finish(self) -> None:
        """Write what is left."""
        self._pass_on(self._deflater.flush())
        self._pass_on(b"\0" * (self._written % 2))
        self._out.finish()

    def _pass_on(self, data: bytes) -> None:
        self._written += len(data)
        self._out.write(data)


class Pieces(list[bytes]):
    """Keeps what is written to it."""

    write = list.append
