"""What the processes need for pixels: where frames lie, and codecs in other syntaxes and for the eye."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from domain.rendering import Rendering


@dataclass(frozen=True, slots=True)
class Stored:
    """A data set in an open file; whoever has it closes ``descriptor``, or gives it to ``reuse``.

    ``lost`` tells that it was compressed with loss on its way, ``own_uid`` its SOP Instance UID where it became an
    instance of its own by that. ``reuse`` is for who has copied all bytes: the file may be written again at once, which
    it may not be while a socket's queue refers to its pages (sendfile).
    """

    descriptor: int
    offset: int
    length: int
    transfer_syntax_uid: str
    lost: bool = False
    own_uid: str = ""
    reuse: Callable[[int], None] = os.close


def close(begun: Future[Stored]) -> None:
    """Close an object that nobody waits for any more."""
    if not begun.cancelled() and begun.exception() is None:
        os.close(begun.result().descriptor)


@dataclass(frozen=True, slots=True)
class Conversion:
    """An object of some stored bytes that is to be had in the first of the syntaxes in ``order`` that it can be had in.

    ``open`` opens it in a thread of the codecs, ``cannot`` is told there in which syntax it cannot be had, and why.
    """

    open: Callable[[], Stored]
    length: int
    order: Sequence[str]
    cannot: Callable[[str, Exception], None]


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of an open file, counted from its first one."""

    offset: int
    length: int


class LocatedFrames(Protocol):
    """Where the frames of an open object lie. ``tag`` is that of the element that holds them."""

    count: int
    tag: int

    def frame(self, number: int) -> Sequence[Span | bytes]:
        """The bytes of a frame, counted from 1, as they are stored. Raises Refused (A702)."""
        ...

    def whole(self) -> Sequence[Span]:
        """All native pixel data without its padding, or the stream of a video. Raises Refused (A702)."""
        ...


FrameLocator = Callable[[Stored], LocatedFrames]
"""Finds frames without reading pixels, in objects that are little endian and not deflated.

Raises NotThere where there is no pixel data, Refused (A702) where its frames cannot be found."""


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """The samples of one frame: little endian, colour by pixel, RGB unless the colours are a palette's or unknown.

    A sample has 8, 16 or 32 bits, signed or not; pixels of one bit come as bytes of 0 and 1.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    photometric_interpretation: str
    frames: int
    samples: bytes


@dataclass(frozen=True, slots=True)
class Shown:
    """What an object is shown as, in an open file; whoever has it closes ``descriptor``.

    ``notes`` tell what its reader should know.
    """

    media_type: str
    descriptor: int
    length: int
    notes: tuple[str, ...] = ()


class Codecs(Protocol):
    """Transfer syntaxes. Pixels are decoded and encoded only in limited child processes.

    All raise :class:`domain.errors.Refused` (A702) where the object is broken, too large or not one that the syntax
    can hold, and :class:`domain.errors.Unavailable` where no child process can work now.
    """

    @property
    def parallel(self) -> int:
        """How many objects are worth being converted at a time."""
        ...

    def converted(self, stored: Stored, wanted: str) -> Stored:
        """The object in another syntax, in a temp file. ``stored`` stays open."""
        ...

    def begin(self, conversion: Conversion) -> Future[Stored]:
        """Convert an object beside the caller, as many at a time as are worth it, small ones some together."""
        ...

    def start(self, prepare: Callable[[], Stored]) -> Future[Stored]:
        """Run ``prepare`` beside the caller, as many at a time as are worth it."""
        ...

    def encoded(self, stored: Stored, wanted: str, number: int) -> Stored:
        """One frame, counted from 1, in another syntax, alone in a temp file; native ones are little endian."""
        ...

    def frame(self, stored: Stored, number: int) -> DecodedFrame:
        """One frame, counted from 1. ``stored`` stays open."""
        ...

    def shown(self, stored: Stored, asked: Rendering, state: Stored | None = None) -> Shown:
        """The object as a person sees it, by a presentation state where one is given. Both stay open.

        Raises NotThere where it has no such frame, NotAcceptable where it is shown in none of the media types,
        InvalidInput where what is asked for does not fit it.
        """
        ...
