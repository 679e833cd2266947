"""How much each source may begin in a minute, so that one that has gone wild does not fill the archive (B21d)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

_MINUTE = 60.0


@dataclass(slots=True)
class _Window:
    since: float
    count: int = 0


class Quota:
    """Counts for each source over a minute that begins with its first. Not safe for several threads.

    ``maximum`` 0 is any number. Times are seconds of any clock that never goes back. No more than ``sources_max``
    sources are told apart; the others share one count.
    """

    def __init__(self, maximum: int, sources_max: int) -> None:
        self._maximum = maximum
        self._sources_max = sources_max
        self._windows: dict[Hashable, _Window] = {}

    def take(self, now: float, source: Hashable) -> bool:
        """Count one more of a source; False, and nothing is counted, where it has begun as many as it may."""
        if not self._maximum:
            return True
        window = self._windows.get(source)
        if window is None:
            window = self._new(now, source)
        if now - window.since >= _MINUTE:
            window.since, window.count = now, 0
        if window.count >= self._maximum:
            return False
        window.count += 1
        return True

    def give_back(self, source: Hashable) -> None:
        """Take back what was counted last of a source: it did not begin after all."""
        window = self._windows.get(source) or self._windows.get(None)
        if window and window.count:
            window.count -= 1

    def _new(self, now: float, source: Hashable) -> _Window:
        if len(self._windows) >= self._sources_max:
            self._windows = {one: window for one, window in self._windows.items() if now - window.since < _MINUTE}
        if len(self._windows) >= self._sources_max:
            source = None
        return self._windows.setdefault(source, _Window(now))
