"""What is wrong with a storage: each trouble is told and logged once while it lasts (STO-4).

Every process sees a trouble begin and end at a time of its own. So that what one saw end is not told anew by another
that saw it just before, whoever looks notes what was known before (``known``), and the log takes only what was seen
with all that it tells known (:func:`domain.storage.fail`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

_LOG = logging.getLogger("annals.files")

Known: TypeAlias = Mapping[str, int]
"""How many facts told of each trouble when somebody began to look."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A storage began to fail in some way, or, without a reason, fails in it no longer.

    ``version`` is how many facts told of this trouble before it was seen.
    """

    storage: str
    trouble: str
    version: int
    reason: str = ""


class Troubles:
    """The troubles of one storage as a process sees them, and as the log tells them."""

    def __init__(self, storage: str) -> None:
        """Nothing is told yet: see :meth:`agree`."""
        self._storage = storage
        self._lock = threading.Lock()
        self._told: frozenset[str] = frozenset()
        self._untold: tuple[Notice, ...] = ()
        self.now: frozenset[str] = frozenset()
        self.known: Known = {}

    def began(self, what: str, reason: str, known: Known) -> None:
        """Something fails now; ``known`` is :attr:`known` from before it was tried."""
        with self._lock:
            if is_new := what not in self.now:
                self.now, self.known = self.now | {what}, {**self.known}
            self._untold = tuple(notice for notice in self._untold if notice.trouble != what)
            if what not in self._told:
                self._untold += (Notice(self._storage, what, known.get(what, 0), reason),)
        if is_new:
            _LOG.error("storage %s refuses objects (%s): %s", self._storage, what, reason)

    def ended(self, *what: str, known: Known) -> None:
        """This worked just now; ``known`` is :attr:`known` from before it was tried."""
        if not self.now:
            return
        with self._lock:
            # What was tried before something began to fail, here or by the log, does not say that it is over.
            over = self.now.intersection(what) if known is self.known else frozenset()
            self.now -= over
            begun = {notice.trouble: notice.version for notice in self._untold if notice.reason}
            for one in sorted(over):
                if one in begun:
                    self._untold += (Notice(self._storage, one, begun[one] + 1),)
                elif one in self._told:
                    self._untold += (Notice(self._storage, one, known.get(one, 0)),)
        if over:
            _LOG.warning("storage %s takes objects again (%s)", self._storage, ", ".join(sorted(over)))

    def tell(self, record: Callable[[Notice], bool]) -> None:
        """Have recorded what is untold; ``record`` says whether a fact came of it. What it raises leaves it untold."""
        for notice in self._untold:
            if notice not in self._untold:
                continue
            is_fact = record(notice)
            with self._lock:
                # Where another told first, what followed here says nothing of what that one saw.
                self._untold = tuple(
                    one for one in self._untold if one != notice and (is_fact or one.trouble != notice.trouble)
                )
                if is_fact:
                    self._take(notice.trouble, notice.version + 1, is_told=bool(notice.reason))

    def agree(self, told: frozenset[str], versions: Known) -> None:
        """Take over what the log says anew: another process may have seen a trouble, or its end, first."""
        with self._lock:
            for what in told | self._told | versions.keys():
                version, before = versions.get(what, 0), self.known.get(what, 0)
                # The read model may be behind what this process has told itself.
                if version < before or (version == before and (what in told) == (what in self._told)):
                    continue
                self._take(what, version, is_told=what in told)
                self._untold = tuple(one for one in self._untold if one.trouble != what)
                self.now = self.now | {what} if what in told else self.now - {what}

    def _take(self, what: str, version: int, *, is_told: bool) -> None:
        self.known = {**self.known, what: version}
        self._told = self._told | {what} if is_told else self._told - {what}
