"""Who is told when of storage commitments: nobody who is there waits for one who is off (P5, C5.7)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest

from annals.roles.committing import Committing
from domain.limits import Limits
from processes.commit_storage import Tell, Told

LIMITS = Limits(commitment_retry_seconds=0.5, commitment_retry_max_seconds=60.0)


@dataclass
class Room:
    """Transactions by device; those of devices in ``off`` hang and then reach nobody, those in ``bad`` are refused."""

    waiting: dict[str, list[str]]
    off: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    tries: Counter[str] = field(default_factory=Counter)
    done: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, transaction_uid: str, _tell: Tell) -> Told:
        device = transaction_uid.partition("/")[0]
        with self.lock:
            self.tries[transaction_uid] += 1
        if device in self.off:
            time.sleep(0.3)
            return Told.NOT_REACHED
        if transaction_uid in self.bad:
            return Told.NOT_UNDERSTOOD
        with self.lock:
            self.waiting[device].remove(transaction_uid)
            self.done.append(transaction_uid)
        return Told.DONE


@dataclass
class Rows:
    """The read model of a room; its first look may fail in a way that nobody foresaw."""

    room: Room
    fault: Exception | None = None

    @contextmanager
    def now(self) -> Iterator[Any]:
        fault, self.fault = self.fault, None
        if fault:
            raise fault
        with self.room.lock:
            rows = [(device, uid) for device, uids in self.room.waiting.items() for uid in uids]
        yield _Connection(rows)


@dataclass
class _Connection:
    rows: list[tuple[str, str]]

    def execute(self, _statement: str, _parameters: tuple[int]) -> list[tuple[str, str]]:
        return self.rows


@contextmanager
def working(rows: Rows, limits: Limits = LIMITS) -> Iterator[threading.Thread]:
    ended = threading.Event()
    committing = Committing(rows, rows.room, None, limits, ended)  # type: ignore[arg-type]
    thread = threading.Thread(target=committing.run)
    thread.start()
    try:
        yield thread
    finally:
        ended.set()
        thread.join(60)
    assert not thread.is_alive()


def until(room: Room, uid: str) -> None:
    deadline = time.monotonic() + 60
    while uid not in room.done:
        assert time.monotonic() < deadline, f"{uid} was not told; {room.tries}"
        threading.Event().wait(0.02)


def test_P5_devices_that_are_off_take_no_place_from_one_that_is_there() -> None:
    off = {f"OFF{number}" for number in range(20)}
    room = Room({device: [f"{device}/{number}" for number in range(5)] for device in sorted(off)}, off)
    with working(Rows(room)):
        deadline = time.monotonic() + 60
        while len(room.tries) < len(off):
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)
        tried = sum(room.tries.values())
        with room.lock:
            room.waiting["THERE"] = ["THERE/1"]
        until(room, "THERE/1")
    # Two more for each place that was taken, no round over all that are off.
    assert sum(room.tries.values()) - tried <= 3 * LIMITS.commitment_reports_max
    assert all(room.tries[f"{device}/1"] == 0 for device in off)


def test_C5_7_a_report_that_is_never_understood_holds_up_no_other_of_its_device() -> None:
    room = Room({"CT": [f"CT/{number}" for number in range(100)]}, bad={"CT/0"})
    with working(Rows(room)):
        until(room, "CT/99")
        assert room.tries["CT/0"] <= 2
    assert len(room.done) == 99


def test_the_work_goes_on_after_an_error_that_nobody_foresaw() -> None:
    room = Room({"CT": ["CT/1"]})
    with working(Rows(room, psycopg.errors.InternalError_("odd"))) as thread:
        until(room, "CT/1")
        assert thread.is_alive()


@pytest.mark.parametrize("places", [1, LIMITS.commitment_reports_max])
@pytest.mark.parametrize("first", [True, False])
def test_C5_7_a_device_that_comes_back_is_told_all_that_waits(first: bool, places: int) -> None:
    room = Room({"MR": [f"MR/{number}" for number in range(10)]}, {"MR"} if first else set())
    with working(Rows(room), replace(LIMITS, commitment_reports_max=places)):
        if first:
            deadline = time.monotonic() + 60
            while not room.tries:
                assert time.monotonic() < deadline
                threading.Event().wait(0.02)
            room.off.clear()
        until(room, "MR/9")
    assert sorted(room.done) == sorted(f"MR/{number}" for number in range(10))
