"""The frames of one instance as parts of an answer: as they lie in its file, or decoded and encoded by the codecs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from api.dicomweb.outgoing import opened, result_of
from api.dicomweb.rooms import Retrieval
from api.pieces import FileRange, Piece
from api.problems import HttpRefusal
from domain.errors import Because, Refused
from domain.frame_media import STREAMS, Frames
from domain.transcoding import BIG_ENDIAN, DEFLATED, EXPLICIT, NATIVE
from processes.pixel_ports import Span, Stored, close
from processes.retrieve import Wanted

WHOLE = 0
"""The number of the part that is all native pixel data, or the stream of a video."""


@dataclass(frozen=True, slots=True)
class FramePart:
    """One part; ``resource`` is its own, below that of the instance. Its files are open until the next is asked for."""

    resource: str
    media_type: str
    transfer_syntax_uid: str
    pieces: Sequence[Piece]

    @property
    def length(self) -> int:
        """Its bytes."""
        return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in self.pieces)


class FrameSource:
    """The frames of an instance, its file held open until :meth:`close`."""

    def __init__(self, rooms: Retrieval, wanted: Wanted) -> None:
        """Raises 500 where the file cannot be read, NotThere where it holds no pixel data.

        Raises 406 where its frames cannot be told apart, Refused where the storage is away.
        """
        self._codecs = rooms.codecs
        self._left = False
        self._stored = opened(rooms, wanted)
        try:
            if self._stored.transfer_syntax_uid in (DEFLATED, BIG_ENDIAN):
                # Where their frames lie tells nothing: the same object, plain, in a temp file.
                plain = rooms.codecs.converted(self._stored, EXPLICIT)
                os.close(self._stored.descriptor)
                self._stored = plain
            self._located = rooms.locate_frames(self._stored)
        except Refused as refused:
            self.close()
            if refused.because is Because.CANNOT_PERFORM_SUB_OPERATIONS:
                raise HttpRefusal(406, f"the instance has no frames that can be told apart: {refused}") from None
            raise
        except BaseException:
            self.close()
            raise

    @property
    def count(self) -> int:
        """How many frames there are."""
        return self._located.count

    @property
    def syntax(self) -> str:
        """The transfer syntax in which the frames are at hand."""
        stored = self._stored.transfer_syntax_uid
        return EXPLICIT if stored in NATIVE else stored

    @property
    def is_one(self) -> bool:
        """Whether all pixel data can be given as one part: it is native, or the stream of a video."""
        return self.syntax == EXPLICIT or self.syntax in STREAMS

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        if self._stored.descriptor >= 0:
            os.close(self._stored.descriptor)
            self._stored = Stored(-1, 0, 0, self._stored.transfer_syntax_uid)

    def leave_to_parts(self) -> None:
        """From now on the parts close the file with their end."""
        self._left = True

    def parts(self, frames: Frames, numbers: Sequence[int]) -> Generator[FramePart]:
        """A part for each frame, or for all (:data:`WHOLE`). Raises Refused (A702)."""
        media_type, syntax = frames
        try:
            if syntax != self.syntax:
                yield from self._encoded(media_type, syntax, numbers)
                return
            for number in numbers:
                located = self._located.frame(number) if number != WHOLE else self._located.whole()
                yield FramePart(self._resource(number), media_type, syntax, [self._piece(one) for one in located])
        finally:
            if self._left:
                self.close()

    def _resource(self, number: int) -> str:
        """That of a frame, or what metadata names for the whole (10.4.3.3.6)."""
        return f"frames/{number}" if number != WHOLE else f"bulkdata/{self._located.tag:08X}"

    def _piece(self, located: Span | bytes) -> Piece:
        if isinstance(located, bytes):
            return located
        return FileRange(self._stored.descriptor, located.offset, located.length)

    def _encoded(self, media_type: str, syntax: str, numbers: Sequence[int]) -> Generator[FramePart]:
        """Frames in another syntax, as many begun ahead as are worth it."""
        waiting: deque[tuple[int, Future[Stored]]] = deque()
        ahead = iter(numbers)
        try:
            while True:
                for number in islice(ahead, self._codecs.parallel + 1 - len(waiting)):
                    waiting.append((number, self._begun(syntax, number)))
                if not waiting:
                    return
                number, begun = waiting.popleft()
                frame = result_of(begun)
                try:
                    yield FramePart(
                        self._resource(number), media_type, syntax, [FileRange(frame.descriptor, 0, frame.length)]
                    )
                finally:
                    os.close(frame.descriptor)
        finally:
            for _, begun in waiting:
                begun.cancel()
                begun.add_done_callback(close)

    def _begun(self, syntax: str, number: int) -> Future[Stored]:
        stored = replace(self._stored, descriptor=os.dup(self._stored.descriptor))
        begun = self._codecs.start(partial(self._codecs.encoded, stored, syntax, number))
        # Its own descriptor: the source may be closed while this still runs.
        begun.add_done_callback(lambda _: os.close(stored.descriptor))
        return begun
