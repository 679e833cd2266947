"""Telling those who listen of new facts, at a pace: told of each commit, they would wake for every object."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg
import psycopg_pool
from eventsourcing.persistence import PersistenceError

_LOG = logging.getLogger("annals.log")
PACE_SECONDS = 0.05
"""So long nothing more is told after something was."""


class Announcer:
    """One a process. The first fact after a rest is told at once, those that follow are told together."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._due = threading.Event()
        self._is_told = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-announcer", daemon=True)

    def open(self) -> None:
        """Start the announcer's thread."""
        self._thread.start()

    def close(self) -> None:
        """Tell what is due, then end."""
        self._ended.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()

    def tell(self) -> None:
        """There are new facts, committed. Returns at once."""
        self._is_told = False
        self._due.set()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._due.wait()
            self._due.clear()
            is_last = self._ended.is_set()
            # A process that ends with nothing to tell does not wait for a database that is away.
            if not self._is_told:
                self._is_told = True
                self._tell_now()
            self._ended.wait(PACE_SECONDS)

    def _tell_now(self) -> None:
        try:
            self._announce()
        except (psycopg.Error, psycopg_pool.PoolTimeout, PersistenceError) as error:
            # Who listens also looks once a second.
            _LOG.warning("new facts were not announced: %s", type(error).__name__)
