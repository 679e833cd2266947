"""When a read model that lags behind the log is worth an alarm (P6)."""

from __future__ import annotations

from collections.abc import Callable

from domain.limits import Limits


class LagAlarm:
    """Remembers since when the lag is too large; a burst of stores that is read within seconds is none."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        """``monotonic`` tells seconds that only grow."""
        self._limits = limits
        self._monotonic = monotonic
        self._since: float | None = None

    def rings(self, lag: int) -> bool:
        """Whether a lag of so many positions, seen now, has been too large for too long."""
        if lag <= self._limits.lag_alarm_events:
            self._since = None
            return False
        now = self._monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= self._limits.lag_alarm_seconds
