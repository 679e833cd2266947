"""Objects made ready to be sent to one peer, conversions running ahead of the sending (TS-3, C3.9; PS3.18 8.7.8.2)."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice

from domain.errors import Because, Refused
from domain.instance import Content
from domain.limits import MIB
from processes.pixel_ports import Codecs, Conversion, Stored, close
from processes.ports import Files
from processes.retrieve import Wanted

_LOG = logging.getLogger("annals.outbox")
_AHEAD, _AHEAD_BYTES, _AHEAD_BYTES_MAX = 16, 8 * MIB, 16 * MIB
"""For each child so many objects are begun before they are asked for, or fewer of so many stored bytes.

However many children there are: of no more bytes than the last, since what is converted lies in memory for each peer.
"""


@dataclass(slots=True)
class Ready:
    """How to have an object in the syntax it goes in."""

    _take: Callable[[], Stored]
    _begun: Future[Stored] | None = None

    @property
    def is_at_hand(self) -> bool:
        """Whether nothing more has to be waited for."""
        return self._begun is None or self._begun.done()

    def __call__(self) -> Stored:
        """The object, its descriptor the caller's. Raises Refused, Unavailable or OSError."""
        self._begun = None
        return self._take()

    def drop(self) -> None:
        """Nobody will have it: what is made of it is closed. Without effect on one that was had."""
        if self._begun is not None:
            self._begun.cancel()
            self._begun.add_done_callback(close)


@dataclass(frozen=True, slots=True)
class _Report:
    """What is told of a whole retrieval once, and not for each object."""

    lossy: list[str] = field(default_factory=list)
    """The syntaxes of what lost and is still called as its original is."""
    unfit: list[tuple[str, str]] = field(default_factory=list)
    """A syntax in which an object cannot be had, and why."""

    def tell(self) -> None:
        for syntax, count in Counter(self.lossy).items():
            _LOG.warning("%d objects were compressed with loss (%s) and kept their SOP Instance UIDs", count, syntax)
        for (syntax, why), count in Counter(self.unfit).items():
            _LOG.warning("%d objects cannot be had in %s: %s", count, syntax, why)


@dataclass(frozen=True, slots=True)
class Outbox:
    """What makes objects ready for a peer. ``order`` names the syntaxes to try for an object, best first.

    ``wait`` is how the result of a conversion is waited for, ``place_now`` says where the same bytes were moved to.
    """

    files: Files
    codecs: Codecs
    order: Callable[[Wanted], Sequence[str]]
    wait: Callable[[Future[Stored]], Stored]
    place_now: Callable[[Wanted], Content | None] = lambda _: None

    def ready(self, wanted: Iterable[Wanted]) -> Generator[tuple[Wanted, Ready], None, None]:
        """Each object with the way to have it. What was begun and is not had is dropped with the iterator."""
        waiting: deque[tuple[Wanted, Ready]] = deque()
        ahead = iter(wanted)
        report = _Report()
        try:
            while True:
                self._begin(ahead, waiting, report)
                if not waiting:
                    return
                yield waiting[0]
                waiting.popleft()
        finally:
            for _, ready in waiting:
                ready.drop()
            report.tell()

    def _begin(self, ahead: Iterator[Wanted], waiting: deque[tuple[Wanted, Ready]], report: _Report) -> None:
        """Begin what comes next once half is had, so that many begin at a time; at least one more than children."""
        parallel = self.codecs.parallel
        count, room = parallel * _AHEAD, min(parallel * _AHEAD_BYTES, _AHEAD_BYTES_MAX)
        begun = sum(one.content.size for one, _ in waiting)
        if len(waiting) > parallel and (len(waiting) > count // 2 or begun > room // 2):
            return
        for one in islice(ahead, count - len(waiting)):
            waiting.append((one, self._begun(one, report)))
            begun += one.content.size
            if len(waiting) > parallel and begun >= room:
                return

    def _begun(self, one: Wanted, report: _Report) -> Ready:
        stored = one.content.transfer_syntax_uid
        order = self.order(one)
        if not order:
            return Ready(lambda: _none_fits(stored))
        if order[0] == stored:
            return Ready(lambda: self._open(one))

        def cannot(syntax: str, error: Exception) -> None:
            # That the temp folder is full is said once, where it is seen, and not for each object.
            if not (isinstance(error, Refused) and error.because is Because.OUT_OF_RESOURCES):
                report.unfit.append((syntax, str(error)))
            _LOG.debug("instance %s cannot be had in %s: %s", one.sop_instance_uid, syntax, error)

        begun = self.codecs.begin(Conversion(lambda: self._open(one), one.content.size, order, cannot))
        return Ready(lambda: self._taken(begun, report), begun)

    def _taken(self, begun: Future[Stored], report: _Report) -> Stored:
        """What was converted."""
        stored = self.wait(begun)
        if stored.lost and not stored.own_uid:
            report.lossy.append(stored.transfer_syntax_uid)
        return stored

    def _open(self, one: Wanted) -> Stored:
        content = one.content
        try:
            descriptor = self.files.open(content)
        except (FileNotFoundError, Refused):
            moved = self.place_now(one)
            if moved is None:
                raise
            content, descriptor = moved, self.files.open(moved)
        return Stored(descriptor, content.header_size, content.size, content.transfer_syntax_uid)


def _none_fits(stored: str) -> Stored:
    raise Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, f"the peer takes nothing that {stored} can be had in")
