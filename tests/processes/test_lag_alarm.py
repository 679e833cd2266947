"""A lag of the catalogue is told of when it lasts (P6)."""

from __future__ import annotations

from domain.limits import Limits
from processes.lag_alarm import LagAlarm
from tests.edges import edges


def test_P6_a_lag_past_the_limit_rings_once_it_lasts_and_no_longer_than_that() -> None:
    now = [100.0]
    alarm = LagAlarm(Limits(lag_alarm_events=1_000, lag_alarm_seconds=30.0), lambda: now[0])

    def rings(at: float, lag: int) -> bool:
        now[0] = at
        return alarm.rings(lag)

    assert not rings(100, 1_001)
    assert not rings(129.9, 50_000)
    assert rings(130, 1_001)
    assert not rings(131, 1_000)
    assert not rings(170, 1_001), "it begins anew"
    assert rings(200, 1_001)


@edges
def test_D21_P6_a_lag_of_so_many_facts_is_none(off: int) -> None:
    alarm = LagAlarm(Limits(lag_alarm_events=1_000, lag_alarm_seconds=0.0), lambda: 100.0)
    assert alarm.rings(1_000 + off) == (off > 0)
