"""Whether a new study may begin: within what the licence allows (LIC-1), and not too many of one sender (B21d).

A study that has begun goes on, whatever is full.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from domain.errors import OverQuota, ToldTogether
from domain.event import Actor
from domain.licence import Allowed, may_begin_study
from domain.limits import Limits
from domain.quota import Quota

Begin = Callable[[str, Actor], AbstractContextManager[None]]
"""Entered while an object of a study is stored. Raises :class:`domain.errors.Refused` where the study may not begin."""

Look = Callable[[str, int], tuple[bool, int]]
"""Whether a study is stored, and how many are, counted up to a maximum: after all that was acknowledged before.

Raises :class:`domain.errors.Unavailable`.
"""

Note = Callable[[Actor, str], None]
"""Told of each that was refused, and why; never waits."""

_GOES_ON: AbstractContextManager[None] = nullcontext()


def any_study(_study_instance_uid: str, _by: Actor) -> AbstractContextManager[None]:
    """Every study may begin."""
    return _GOES_ON


class NewStudies:
    """The new studies of one process; fills :data:`Begin`.

    A study that this process has seen costs a look into a dictionary. Where nothing is bounded and nobody sends too
    many, no other costs a question to the database.
    """

    def __init__(
        self,
        allowed: Callable[[], Allowed],
        look: Look,
        alone: Callable[[], AbstractContextManager[Any]],
        note: Note,
        limits: Limits,
    ) -> None:
        """``alone`` keeps the other processes from beginning studies, while it is entered."""
        self._allowed = allowed
        self._look = look
        self._alone = alone
        self._note = note
        self._lock = threading.Lock()
        self._beginning: set[str] = set()
        self._seen: dict[str, None] = {}
        self._seen_max = limits.studies_remembered_max
        self._quota = Quota(limits.new_studies_a_minute_max, limits.study_senders_max)
        self._is_bounded = True

    def __call__(self, study_instance_uid: str, by: Actor) -> AbstractContextManager[None]:
        """Enter with an object of a study, from its sender."""
        return _GOES_ON if study_instance_uid in self._seen else self._first_seen(study_instance_uid, by)

    @contextmanager
    def _first_seen(self, uid: str, by: Actor) -> Iterator[None]:
        is_counted = self._count(uid, by)
        try:
            what = self._bounds()
            if what is None or self._look(uid, 0)[0]:
                yield
            else:
                # Two that count at the same time would both take the last place.
                with self._alone():
                    self._check_count(uid, what, by)
                    yield
        except BaseException:
            with self._lock:
                if is_counted:
                    self._beginning.discard(uid)
                    self._quota.give_back(_source(by))
            raise
        self._remember(uid)

    def _count(self, uid: str, by: Actor) -> bool:
        """Whether it was counted as a new study of its sender. Raises :class:`OverQuota`."""
        if by.kind != "device":
            return False
        with self._lock:
            if uid in self._beginning:
                return False
            if self._quota.take(time.monotonic(), _source(by)):
                self._beginning.add(uid)
                return True
        if self._look(uid, 0)[0]:
            return False
        self._note(by, "more new studies than new_studies_a_minute_max")
        raise OverQuota("more new studies in a minute than may begin: come again")

    def _bounds(self) -> Allowed | None:
        """What is allowed, None for everything: a licence that came into use is never taken back."""
        if not self._is_bounded:
            return None
        what = self._allowed()
        self._is_bounded = what.studies_max is not None
        return what if self._is_bounded else None

    def _check_count(self, uid: str, what: Allowed, by: Actor) -> None:
        assert what.studies_max is not None
        is_stored, count = self._look(uid, what.studies_max)
        if is_stored or may_begin_study(what, count):
            return
        self._note(by, f"the trial's {what.studies_max} studies are stored: install a licence")
        raise ToldTogether(f"the trial ends at {what.studies_max} studies: install a licence")

    def _remember(self, uid: str) -> None:
        with self._lock:
            self._beginning.discard(uid)
            self._seen[uid] = None
            if len(self._seen) > self._seen_max:
                del self._seen[next(iter(self._seen))]


def _source(by: Actor) -> tuple[str, str]:
    return by.name, by.address
