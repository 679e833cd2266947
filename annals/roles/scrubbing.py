"""The scrub in the background: every file read again within ``scrub_days``, slowly, and taken up after a restart."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from annals.compose import Archive
from domain import storage
from domain.errors import AnnalsError
from domain.event import Actor
from processes.ports import Upkeep
from processes.scrub import Pace, scrub
from projections import storages
from projections.catalogue.kept import used

_LOG = logging.getLogger("annals.storages")
_BY = Actor("system", "scrub")
_REST_SECONDS = 60.0
_SECONDS_A_DAY = 86_400.0


class _Ended(Exception):
    """The process shall end, also in the middle of a large file."""


class Scrubbing:
    """Reads the storages in turn; how far it is is a fact now and then (:class:`domain.storage.StorageScrubbed`)."""

    def __init__(self, archive: Archive, ended: threading.Event) -> None:
        self._archive = archive
        self._ended = ended
        self._limits = archive.limits
        self._upkeeps: dict[tuple[str, str], Upkeep] = {}
        self._trouble = ""

    def run(self) -> None:
        """Until the end."""
        rest = self._limits.scrub_start_seconds
        while not self._ended.wait(rest):
            rest = _REST_SECONDS
            with self._said_once():
                shares = [self._share(*one) for one in self._known()]
                rest = 0.0 if any(shares) else _REST_SECONDS

    def _known(self) -> list[tuple[storage.Storage, float]]:
        """The storages in use, and the pace for all of them in bytes a second."""
        with self._archive.storages.current() as connection:
            known = [one for one, _ in storages.everyone(connection) if not one.removed]
        with self._archive.catalogue.now() as connection:
            size = sum(size for _, size in used(connection).values())
        rate = size / (self._limits.scrub_days * _SECONDS_A_DAY)
        return [(one, min(rate, float(self._limits.scrub_rate_max))) for one in known if rate]

    def _share(self, known: storage.Storage, rate: float) -> bool:
        """Read on in a storage for a while; whether there was anything to read."""
        after, instances, unreadable, size = known.scrubbed, 0, 0, 0
        until = time.monotonic() + self._limits.scrub_noted_seconds
        pace = Pace(rate, time.monotonic, self._wait)
        is_whole = False
        with self._said_once():
            for one in scrub(
                self._archive.catalogue,
                self._archive.log,
                self._upkeep(known),
                after=after,
                by=_BY,
                pace=pace,
            ):
                after, instances, size = one.sop_instance_uid, instances + 1, size + one.size
                unreadable += bool(one.fault)
                # A long wait is not entered before it is noted how far this is.
                if self._ended.is_set() or time.monotonic() + pace.delay >= until:
                    break
            else:
                is_whole = True
        if instances or (is_whole and known.scrubbed):
            done = storage.StorageScrubbed(known.name, "" if is_whole else after, instances, unreadable, size)
            verb, begun_after = storage.scrub, known.scrubbed
            self._archive.log.change(storage.KIND, known.name, verb, begun_after, done, fold=storage.fold, by=_BY)
        if instances:
            self._trouble = ""
        self._ended.wait(pace.delay)
        return bool(instances)

    def _wait(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise _Ended

    def _upkeep(self, known: storage.Storage) -> Upkeep:
        """Kept, so that a storage that is away is told of once."""
        from adapters.files.storage import Storage
        from adapters.files.upkeep import Upkeep as FilesOf

        key = (known.storage_id, known.path)
        if key not in self._upkeeps:
            self._upkeeps[key] = FilesOf(Storage.known(known, self._limits))
        return self._upkeeps[key]

    @contextmanager
    def _said_once(self) -> Iterator[None]:
        try:
            yield
        except _Ended:
            return
        except AnnalsError as error:
            if str(error) != self._trouble:
                _LOG.warning("the scrub waits: %s", error)
            self._trouble = str(error)
        except Exception:  # noqa: BLE001 - a thread that ended would leave the files unread for ever
            _LOG.exception("the scrub failed and tries again")
