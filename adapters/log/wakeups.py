"""Waiting for new facts: one LISTEN connection a process; polling is the floor, so a lost one loses nothing (F24)."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from adapters.log.recorder import CHANNEL
from adapters.postgres.database import PatientConnection
from projections.read_model import HURRY

Mark = tuple[int, int]

_LOG = logging.getLogger("annals.log")
_BACKOFF_FIRST_SECONDS = 0.2
_BACKOFF_MAX_SECONDS = 5.0
_LISTEN_SECONDS = 1.0


class Wakeups:
    """Tells waiting threads that there may be something new. Closed by :meth:`close`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._hurried = threading.Condition(lock)
        self._count = 0
        self._hurries = 0
        self._ending = False
        self._ended = os.eventfd(0)
        self._thread = threading.Thread(target=self._listen, name="wakeups", daemon=True)

    def open(self) -> None:
        """Start to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening; waiting threads wake."""
        self._ending = True
        os.eventfd_write(self._ended, 1)
        self._wake()
        self._thread.join()
        os.close(self._ended)

    def seen(self) -> Mark:
        """A mark to hand to :meth:`wait` or :meth:`rest`, taken before looking for work."""
        with self._changed:
            return self._count, self._hurries

    def wait(self, seen: Mark, timeout_seconds: float) -> None:
        """Return when something came after the mark, or after the time-out."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen[0] or self._ending, timeout_seconds)

    def rest(self, seen: Mark, timeout_seconds: float) -> None:
        """Return after the time-out, or when somebody waits for what was not read at the mark."""
        with self._hurried:
            self._hurried.wait_for(lambda: self._hurries != seen[1] or self._ending, max(0.0, timeout_seconds))

    def _wake(self, channel: str = CHANNEL) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
            if channel == HURRY or self._ending:
                self._hurries += 1
                self._hurried.notify_all()

    def _listen(self) -> None:
        backoff = _BACKOFF_FIRST_SECONDS
        while not self._ending:
            try:
                with PatientConnection.connect(self._dsn, autocommit=True) as connection:
                    for channel in (CHANNEL, HURRY):
                        connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
                    backoff = _BACKOFF_FIRST_SECONDS
                    # What came before LISTEN took effect is found by looking.
                    self._wake()
                    self._follow(connection)
            except psycopg.Error as error:
                if not self._ending:
                    _LOG.warning("the wake-up connection is lost (%s); again in %.1f s", type(error).__name__, backoff)
                    self._pause(backoff)
                    backoff = min(backoff * 2, _BACKOFF_MAX_SECONDS)

    def _follow(self, connection: psycopg.Connection[Any]) -> None:
        heard = select.poll()
        for descriptor in (connection.fileno(), self._ended):
            heard.register(descriptor, select.POLLIN)
        while not self._ending:
            heard.poll(_LISTEN_SECONDS * 1000)
            for notified in connection.notifies(timeout=0):
                self._wake(notified.channel)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._ending and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
