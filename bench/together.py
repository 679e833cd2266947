"""Calls made at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


def together(calls: Sequence[Callable[[], None]]) -> float:
    """Make all calls at once; the seconds until the last has returned. Raises what one of them raised."""
    with ThreadPoolExecutor(len(calls)) as threads:
        began = time.monotonic()
        for made in [threads.submit(call) for call in calls]:
            made.result()
        return time.monotonic() - began
