"""Removing what half-received objects of ended processes left, by each role that receives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from domain.errors import AnnalsError

_LOG = logging.getLogger("annals.roles")
_SWEEP_SECONDS = 60.0


def start_sweeping(sweep: Callable[[], int], ended: threading.Event) -> None:
    """Sweep now, for the process that was here before, and then once a minute, from a thread of its own."""
    threading.Thread(target=_sweep, args=(sweep, ended), name="sweep", daemon=True).start()


def _sweep(sweep: Callable[[], int], ended: threading.Event) -> None:
    while True:
        try:
            if removed := sweep():
                _LOG.info("%d half-received objects of ended processes were removed", removed)
        except (AnnalsError, OSError) as error:
            _LOG.error("the storage could not be swept: %s", error)
        if ended.wait(_SWEEP_SECONDS):
            return
