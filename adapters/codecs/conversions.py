"""Conversions that are asked for ahead: a child takes some small objects together, to spare messages and wake-ups."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from adapters.codecs.child import DESCRIPTORS_MAX
from domain.errors import AnnalsError, Because, Refused
from domain.limits import MIB
from domain.transcoding import DEFLATED
from processes.pixel_ports import Conversion, Stored

SMALL_MAX = 4 * MIB
"""Up to how many stored bytes are converted in memory, as one object or as some together."""

TOGETHER_MAX = DESCRIPTORS_MAX // 2
"""An object comes with two descriptors: its file and the one that it is written into."""

_TOGETHER_SECONDS = 0.1
"""How long some shall take together, by what others took before: the first of them is waited for until all are made."""

_LEAST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class _Waiting:
    conversion: Conversion
    result: Future[Stored] = field(default_factory=Future)


class Conversions:
    """What waits to be converted, in order, for all threads of this process."""

    def __init__(
        self,
        count: int,
        submit: Callable[[Callable[[], None]], object],
        alone: Callable[[Stored, str], Stored],
        together: Callable[[Sequence[tuple[Stored, str]]], list[Stored | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``count`` children; ``submit`` runs a call in a thread; ``clock`` counts seconds.

        ``alone`` converts one object or raises, ``together`` some small ones, and has None for those that are to be
        converted alone.
        """
        self._count = count
        self._submit = submit
        self._alone = alone
        self._together = together
        self._clock = clock
        self._bytes_together: dict[str, int] = {}
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._at_work = 0
        self._ended = False

    def begin(self, conversion: Conversion) -> Future[Stored]:
        """Convert an object when its turn comes."""
        one = _Waiting(conversion)
        with self._lock:
            if self._ended:
                one.result.cancel()
                return one.result
            self._waiting.append(one)
            if self._at_work < self._count:
                self._submit(self._work)
                self._at_work += 1
        return one.result

    def close(self) -> None:
        """Cancel what has not begun, and begin nothing more."""
        with self._lock:
            self._ended = True
            waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            one.result.cancel()

    def _work(self) -> None:
        some = self._next()
        began = self._clock()
        try:
            self._perform(some)
        except BaseException as error:  # noqa: BLE001 - it is raised where the results are asked for
            for one in some:
                if not one.result.done():
                    one.result.set_exception(error)
        finally:
            with self._lock:
                if length := sum(one.conversion.length for one in some):
                    seconds = max(self._clock() - began, _LEAST_SECONDS)
                    self._bytes_together[some[0].conversion.order[0]] = int(length / seconds * _TOGETHER_SECONDS)
                # Behind what else waits for a thread.
                if self._waiting:
                    self._submit(self._work)
                else:
                    self._at_work -= 1

    def _next(self) -> list[_Waiting]:
        """A child's share of what waits, as many as are small and soon made together; the first in any case."""
        found: list[_Waiting] = []
        with self._lock:
            share = min(TOGETHER_MAX, -(-len(self._waiting) // self._count))
            room = self._room()
            while len(found) < share and (not found or self._waiting[0].conversion.length <= min(room, SMALL_MAX)):
                found.append(self._waiting.popleft())
                room -= found[-1].conversion.length
        return found

    def _room(self) -> int:
        """How many bytes should go together with what waits first; nothing but itself if it is large."""
        if not self._waiting or self._waiting[0].conversion.length > SMALL_MAX:
            return 0
        return self._bytes_together.get(self._waiting[0].conversion.order[0], SMALL_MAX)

    def _perform(self, some: Sequence[_Waiting]) -> None:
        opened = [(one, stored) for one in some if (stored := _opened(one))]
        made = [*zip(opened, self._made_together(opened), strict=True)]
        for (_, stored), had in made:
            if had:
                os.close(stored.descriptor)
        # Who waits for the first has all at once, and is woken once.
        for (one, _), had in reversed(made):
            if had:
                one.result.set_result(had)
        for (one, stored), had in made:
            if not had:
                try:
                    one.result.set_result(self._first(one.conversion, stored))
                except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                    one.result.set_exception(error)
                finally:
                    os.close(stored.descriptor)

    def _made_together(self, opened: Sequence[tuple[_Waiting, Stored]]) -> list[Stored | None]:
        fit = [stored.transfer_syntax_uid not in (DEFLATED, one.conversion.order[0]) for one, stored in opened]
        if len(opened) > 1 and all(fit):
            try:
                return self._together([(stored, one.conversion.order[0]) for one, stored in opened])
            except (AnnalsError, OSError):
                # Whose fault it was is seen when each is converted alone.
                pass
        return [None] * len(opened)

    def _first(self, conversion: Conversion, stored: Stored) -> Stored:
        """The object in the first of the syntaxes that it can be had in."""
        for syntax in conversion.order:
            if syntax == stored.transfer_syntax_uid:
                return Stored(os.dup(stored.descriptor), stored.offset, stored.length, syntax)
            try:
                return self._alone(stored, syntax)
            except (AnnalsError, OSError) as error:
                conversion.cannot(syntax, error)
        raise Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, "it cannot be had in any syntax that the peer takes")


def _opened(one: _Waiting) -> Stored | None:
    if one.result.set_running_or_notify_cancel():
        try:
            return one.conversion.open()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            one.result.set_exception(error)
    return None
