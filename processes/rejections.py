"""Telling of peers that were turned away: a fact and a log line for each peer and reason, never one for each try."""

from __future__ import annotations

import logging
import threading
import time
from uuid import uuid4

from domain.errors import AnnalsError
from domain.event import Actor
from domain.limits import Limits
from domain.rejection import KIND, PeerRejected, Tally, harmless, reject
from processes.ports import Log

_LOG = logging.getLogger("annals.rejections")
_BY = Actor("system", "admission")
_WHY_MAX = 128
"""Characters of a reason; it is in our own words, but may name what a peer said."""
_BREATH_SECONDS = 0.2
"""Least time between two looks, so that what a flood brings in the same moment is told together."""


class Rejections:
    """What the doors of one process turned away. :meth:`note` never waits; :meth:`run` records beside them."""

    def __init__(self, log: Log, limits: Limits) -> None:
        self._log = log
        self._tally = Tally(limits)
        self._changed = threading.Condition()
        self._stopping = False

    def note(self, address: str, why: str, *, answer: str = "", calling: str = "", called: str = "") -> None:
        """A peer was turned away: from which IP address, why, what it was answered, and its AE titles if any."""
        titles = ((calling,) if calling else (), (called,) if called else ())
        one = PeerRejected(address, harmless(why, _WHY_MAX), answer, *titles)
        with self._changed:
            if self._tally.count(time.monotonic(), one):
                self._changed.notify()

    def run(self) -> None:
        """Record what is due until :meth:`stop`; then what is left."""
        while True:
            with self._changed:
                if not self._stopping:
                    self._wait()
                stopping = self._stopping
                due = list(self._tally.due(time.monotonic(), all_of_them=stopping))
            for one in due:
                self._record(one)
            if stopping:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, _BREATH_SECONDS)

    def stop(self) -> None:
        """Let :meth:`run` record what is left and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _wait(self) -> None:
        due = self._tally.next_due()
        seconds = None if due is None else due - time.monotonic()
        if seconds is None or seconds > 0:
            self._changed.wait(seconds)

    def _record(self, one: PeerRejected) -> None:
        _LOG.warning(
            "%s was turned away %d times in %d s: %s%s, calling AE title %s, called %s",
            one.address,
            one.count,
            one.seconds,
            one.why,
            f" ({one.answer})" if one.answer else "",
            ", ".join(ascii(title) for title in one.calling_ae_titles) or "unknown",
            ", ".join(ascii(title) for title in one.called_ae_titles) or "unknown",
        )
        try:
            self._log.change(KIND, uuid4().hex, reject, one, by=_BY, new=True)
        except AnnalsError as error:
            _LOG.error("that %s was turned away was not recorded: %s", one.address, error)
            with self._changed:
                self._tally.count(time.monotonic(), one)
