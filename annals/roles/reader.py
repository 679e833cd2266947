"""The role that keeps the read models up to the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from adapters.log.wakeups import Wakeups
from annals import compose, connections
from annals.lifeline import Lifeline
from annals.settings import Settings
from domain.errors import AnnalsError
from domain.limits import Limits
from projections.engine import Reader

_LOG = logging.getLogger("annals.roles")
_POLL_SECONDS = 1.0
_BACKOFF_SECONDS = 0.5


def run(settings: Settings, dsn: str, environment: Mapping[str, str]) -> None:
    """Keep the read models up to the log, each in a thread of its own."""
    lifeline = Lifeline(environment)
    wakeups = Wakeups(dsn)
    with compose.archive(settings, dsn, connections=connections.READER, patient=True) as archive:
        wakeups.open()
        threads = [
            threading.Thread(target=_read, args=(one, wakeups, lifeline, archive.limits), name="reader", daemon=True)
            for one in archive.readers()
        ]
        for thread in threads:
            thread.start()
        lifeline.wait()
        wakeups.close()
        lifeline.join(threads, archive.limits.work_drain_seconds)


def _read(one: Reader, wakeups: Wakeups, lifeline: Lifeline, limits: Limits) -> None:
    """Read until the end: at once after a rest, at a pace under load, since facts taken together cost less."""
    prepared = False
    while not lifeline.ended.is_set():
        seen = wakeups.seen()
        started = time.monotonic()
        try:
            if not prepared:
                one.prepare()
                prepared = True
            if taken := one.step():
                if taken < limits.projection_batch_max:
                    wakeups.rest(seen, started + limits.projection_pace_seconds - time.monotonic())
                continue
        except AnnalsError as error:
            _LOG.error("a reader waits: %s", error)
            lifeline.ended.wait(_BACKOFF_SECONDS)
            continue
        except Exception:  # noqa: BLE001 - whatever it is, it is logged and the thread goes on
            # A reader that ended would leave its read model behind for ever, in a process that looks alive.
            _LOG.exception("a reader failed and tries again")
            lifeline.ended.wait(_BACKOFF_SECONDS)
            continue
        wakeups.wait(seen, _POLL_SECONDS)
