"""The instances of one answer, made ready one after the other: opened or converted, what cannot be had left out."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing
from dataclasses import dataclass, replace

from api.dicomweb.rooms import Retrieval
from api.pieces import FileRange, Incomplete, Piece
from api.problems import HttpRefusal
from domain.errors import AnnalsError, Because, Refused, Unavailable
from domain.transcoding import web_order
from processes.outbox import Outbox
from processes.pixel_ports import Stored
from processes.retrieve import Wanted


@dataclass(frozen=True, slots=True)
class Sendable:
    """An instance as a Part 10 file. ``header`` is empty where the file that keeps it is sent as it is."""

    wanted: Wanted
    header: bytes
    stored: Stored

    @property
    def sop_instance_uid(self) -> str:
        """That of the instance in the file: another than was asked for, where it was compressed with loss into one."""
        return self.stored.own_uid or self.wanted.sop_instance_uid

    @property
    def length(self) -> int:
        """The bytes of the whole file."""
        return len(self.header) + self.stored.length + (0 if self.header else self.stored.offset)

    def pieces(self) -> tuple[Piece, ...]:
        """The whole file; its descriptor is open until the next instance is asked for."""
        stored = self.stored
        if self.header:
            return self.header, FileRange(stored.descriptor, stored.offset, stored.length)
        return (FileRange(stored.descriptor, 0, self.length),)


class Outgoing:
    """The instances of an answer. The first is ready when this is made, so that it can still be refused as a whole."""

    def __init__(self, rooms: Retrieval, wanted: Sequence[Wanted], syntaxes: Sequence[tuple[str, float]]) -> None:
        """Raises 406 where none can be had in the syntaxes asked for, 500 or 503 where none can be read."""
        self._rooms = rooms
        self._syntaxes = syntaxes
        self._orders: dict[str, list[str]] = {}
        self._failures: list[Exception] = []
        fitting = [one for one in wanted if self._order(one)]
        there = rooms.files.are_there(one.content for one in fitting)
        self.wanted = [one for one, is_there in zip(fitting, there, strict=True) if is_there or self._opens(one)]
        absent = len(self._failures)
        self._ready = self._made_ready()
        first = next(self._ready, None)
        if first is None:
            raise self._refusal()
        self.first = first
        self._is_whole_so_far = len(self._failures) == absent
        self.missing = len(wanted) - len(fitting) + len(self._failures)

    def lengths(self) -> list[tuple[Wanted, int]] | None:
        """The length of each file, where all are sent as they are stored and none has failed yet."""
        as_stored = all(self._order(one)[0] == one.content.transfer_syntax_uid for one in self.wanted)
        if not (as_stored and self._is_whole_so_far):
            return None
        return [(one, one.content.header_size + one.content.size) for one in self.wanted]

    def each(self) -> Generator[Sendable]:
        """All that can be had. Raises :class:`Incomplete` at the end where one failed on the way."""
        known = len(self._failures)
        with closing(self._ready):
            yield self.first
            yield from self._ready
        if failed := len(self._failures) - known:
            raise Incomplete(f"{failed} of {len(self.wanted)} instances failed while they were sent")

    def _order(self, one: Wanted) -> list[str]:
        stored = one.content.transfer_syntax_uid
        if stored not in self._orders:
            self._orders[stored] = web_order(stored, self._syntaxes)
        return self._orders[stored]

    def _opens(self, one: Wanted) -> bool:
        """Whether the file that is not seen to be there can be opened; why it cannot is noted."""
        try:
            os.close(self._rooms.files.open(one.content))
        except (AnnalsError, OSError) as error:
            self._note(one, error)
            return False
        return True

    def _made_ready(self) -> Generator[Sendable]:
        files = self._rooms.files
        outbox = Outbox(files, self._rooms.codecs, self._order, result_of, self._rooms.retriever.place_now)
        with closing(outbox.ready(self.wanted)) as objects:
            for one, ready in objects:
                try:
                    stored = ready()
                except (AnnalsError, OSError) as error:
                    self._note(one, error)
                    continue
                try:
                    syntax = stored.transfer_syntax_uid
                    is_kept = syntax == one.content.transfer_syntax_uid
                    sent = Sendable(one, b"", stored)
                    if not is_kept:
                        sent = replace(sent, header=files.file_header(one.sop_class_uid, sent.sop_instance_uid, syntax))
                    yield sent
                finally:
                    os.close(stored.descriptor)

    def _note(self, one: Wanted, error: AnnalsError | OSError) -> None:
        self._failures.append(error)
        if isinstance(error, OSError):
            self._rooms.retriever.note_unreadable(one, error)
        else:
            self._rooms.retriever.note_unsent(one, error)

    def _refusal(self) -> Exception:
        """Why nothing at all can be had: the last reason stands for all."""
        error = self._failures[-1] if self._failures else None
        if error is None or (isinstance(error, Refused) and error.because is Because.CANNOT_PERFORM_SUB_OPERATIONS):
            return HttpRefusal(406, f"it cannot be had in a transfer syntax that was asked for: {error or 'none fits'}")
        if isinstance(error, OSError):
            return unreadable()
        return error


def opened(rooms: Retrieval, wanted: Wanted) -> Stored:
    """The kept object, its descriptor the caller's. Raises 500 where it cannot be read, Refused while it is away."""
    content = wanted.content
    try:
        descriptor = rooms.files.open(content)
    except OSError as error:
        rooms.retriever.note_unreadable(wanted, error)
        raise unreadable() from error
    return Stored(descriptor, content.header_size, content.size, content.transfer_syntax_uid)


def result_of(begun: Future[Stored]) -> Stored:
    """What a conversion gave. Raises what it raised."""
    try:
        return begun.result()
    except CancelledError:
        raise Unavailable("the archive is being stopped") from None


def unreadable() -> HttpRefusal:
    """The answer where the file of an object is missing or cannot be read (F14)."""
    return HttpRefusal(500, "the stored bytes cannot be read; it was recorded")
