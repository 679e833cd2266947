"""The log: order without gaps for any number of writers, conflicts, lost answers, and that nothing is ever changed."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from adapters.log.codec import UnknownFact
from adapters.log.log import EventLog
from adapters.log.recorder import WRITER_LOCK, Recorder
from annals.compose import FACTS
from domain import device
from domain.association import AssociationAborted, abort
from domain.device import DeviceAdded
from domain.errors import Unavailable
from domain.event import Actor, Event
from domain.limits import Limits
from tests.edges import edges
from tests.postgres.between import LosesAnswers

BY = Actor("user", "test", "127.0.0.1")
LIMITS = Limits(database_timeout_seconds=2.0, lock_timeout_seconds=1.0)


@pytest.fixture
def log(dsn: str) -> Iterator[EventLog]:
    opened = EventLog(dsn, FACTS, LIMITS)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def patient(dsn: str) -> Iterator[EventLog]:
    """A log that waits for a lock for as long as a busy machine takes to let it go."""
    opened = EventLog(dsn, FACTS, Limits(database_timeout_seconds=60.0, lock_timeout_seconds=60.0))
    opened.open()
    yield opened
    opened.close()


def note(log: EventLog, key: str) -> None:
    log.change("peer", key, abort, AssociationAborted(key, "ANNALS", 1, 0, "test"), by=BY)


def add(log: EventLog, title: str, port: int) -> int:
    return len(log.change(device.KIND, title, device.add, DeviceAdded(title, "h", port, ""), fold=device.fold, by=BY))


def test_a_fact_comes_back_with_its_envelope(log: EventLog) -> None:
    wanted = AssociationAborted("MODALITY", "ANNALS", 3, 1, "why\nnot")
    log.change("peer", "MODALITY", abort, wanted, by=BY, cause="association/7", reason="a test")
    (fact,) = log.stream("peer", "MODALITY")
    assert (fact.event, fact.version, fact.envelope.by) == (wanted, 1, BY)
    assert (fact.envelope.cause, fact.envelope.reason) == ("association/7", "a test")
    assert [one.position for one in log.read(0, 10)] == [fact.position] == [log.head()]


def test_what_changes_nothing_appends_nothing(log: EventLog) -> None:
    assert add(log, "CT", 104) == 1
    assert add(log, "CT", 104) == 0
    assert len(log.stream(device.KIND, "CT")) == 1


def test_two_who_change_one_stream_are_asked_again_and_neither_is_lost(dsn: str, log: EventLog) -> None:
    other = EventLog(dsn, FACTS, LIMITS)
    other.open()
    try:
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda n: add((log, other)[n % 2], "CT", 1000 + n), range(24)))
    finally:
        other.close()
    assert sum(done) == 24
    facts = log.stream(device.KIND, "CT")
    assert [fact.version for fact in facts] == list(range(1, 25))
    assert {fact.event.port for fact in facts} == set(range(1000, 1024))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "statement", ["UPDATE log.event SET topic = 'x'", "DELETE FROM log.event", "TRUNCATE log.event"]
)
def test_the_log_is_append_only_also_for_its_owner(dsn: str, log: EventLog, statement: str) -> None:
    note(log, "KEPT")
    with (
        psycopg.connect(dsn) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
    ):
        connection.execute(statement.encode())
    assert len(log.read(0, 10)) == 1


def appender(dsn: str, name: str, threads: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.log.appender", dsn, name, str(threads), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    )


def test_P8_a_reader_beside_several_writers_never_passes_a_fact_that_comes_later(dsn: str, log: EventLog) -> None:
    writers = [appender(dsn, f"writer{number}", 4, 120) for number in range(3)]
    read: list[str] = []
    after = 0
    deadline = time.monotonic() + 100
    while len(read) < 3 * 4 * 120:
        assert time.monotonic() < deadline, f"{len(read)} facts were read"
        for fact in log.read(after, 500):
            assert fact.position > after
            after = fact.position
            read.append(fact.event.calling_ae_title)  # type: ignore[attr-defined]
    for writer in writers:
        assert writer.stdout
        said = writer.stdout.read().split()
        assert writer.wait(60) == 0
        writer.stdout.close()
        assert set(said) <= set(read)
    assert len(read) == len(set(read)) == 3 * 4 * 120
    assert [fact.event.calling_ae_title for fact in log.read(0, 10_000)] == read  # type: ignore[attr-defined]


def test_P1_what_a_killed_writer_was_told_is_there(dsn: str, log: EventLog) -> None:
    for number in range(3):
        writer = appender(dsn, f"killed{number}", 4, 100_000)
        assert writer.stdout
        said = [writer.stdout.readline().strip() for _ in range(40)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        kept = {fact.event.calling_ae_title for fact in log.read(0, 100_000)}  # type: ignore[attr-defined]
        assert set(said[:-1]) <= kept
    note(log, "AFTER")


@pytest.mark.parametrize("before", [1, 0], ids=["one that appended", "one that never did"])
def test_F24_an_append_after_all_idle_connections_were_ended_is_not_refused(
    dsn: str, log: EventLog, caplog: pytest.LogCaptureFixture, before: int
) -> None:
    for _ in range(before):
        note(log, "BEFORE")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    note(log, "AFTER")
    assert "append failed" not in caplog.text


def test_an_append_that_failed_keeps_nothing_of_its_caller(log: EventLog, dsn: str) -> None:
    class Held:
        """What a caller has open while it appends."""

    def fail() -> weakref.ref[Held]:
        held = Held()
        with pytest.raises(Unavailable):
            note(log, "FAILS")
        return weakref.ref(held)

    note(log, "BEFORE")
    gc.collect()
    gc.disable()
    try:
        with psycopg.connect(dsn) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
            kept = fail()
        assert kept() is None
    finally:
        gc.enable()


def test_an_append_that_waited_its_turn_and_came_too_late_keeps_nothing_of_its_caller(dsn: str) -> None:
    class Held:
        """What a caller has open while it appends."""

    log = EventLog(dsn, FACTS, Limits(database_timeout_seconds=60.0, lock_timeout_seconds=60.0))
    log.open()
    add(log, "CT", 104)
    asked = threading.Event()
    kept: list[weakref.ref[Held]] = []

    def come_too_late() -> None:
        held = Held()
        kept.append(weakref.ref(held))
        said: Iterator[list[Event]] = iter(([DeviceAdded("CT", "h", 105, "")], []))

        def verb(_: object) -> list[Event]:
            asked.set()
            return next(said)

        log.change(device.KIND, "CT", verb, fold=device.fold, by=BY, new=True)

    gc.collect()
    gc.disable()
    try:
        with psycopg.connect(dsn, autocommit=True) as watcher, psycopg.connect(dsn) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
            threads = [threading.Thread(target=note, args=(log, "FIRST")), threading.Thread(target=come_too_late)]
            threads[0].start()
            _until(lambda: watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None)
            threads[1].start()
            assert asked.wait(60)
        for thread in threads:
            thread.join(60)
        _until(lambda: kept[0]() is None)
    finally:
        gc.enable()
        log.close()


def test_F24_a_killed_backend_is_replaced_and_every_acknowledged_fact_is_there(dsn: str, log: EventLog) -> None:
    ended = threading.Event()

    def kill() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not ended.wait(0.05):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    killing = threading.Thread(target=kill)
    killing.start()
    kept = []
    try:
        for number in range(60):
            try:
                note(log, f"K{number}")
                kept.append(f"K{number}")
            except Unavailable:
                continue
    finally:
        ended.set()
        killing.join(60)
    _until(lambda: _can_note(log))
    seen = [fact.event.calling_ae_title for fact in log.read(0, 10_000)]  # type: ignore[attr-defined]
    assert set(kept) <= set(seen)
    assert len(seen) == len(set(seen))


def _can_note(log: EventLog) -> bool:
    try:
        note(log, f"BACK{time.monotonic_ns()}")
    except Unavailable:
        return False
    return True


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_F22_D10_an_answer_that_is_lost_after_the_commit_is_settled_by_the_log_itself(dsn: str) -> None:
    between = LosesAnswers(dsn, b"AssociationAborted")
    log = EventLog(between.dsn, FACTS, LIMITS)
    log.open()
    try:
        note(log, "FIRST")
        between.lose.set()
        note(log, "LOST")
        assert not between.lose.is_set()
        note(log, "LAST")
        titles = [fact.event.calling_ae_title for fact in log.read(0, 10)]  # type: ignore[attr-defined]
        assert titles == ["FIRST", "LOST", "LAST"]
    finally:
        log.close()
        between.close()


@pytest.mark.parametrize("lock", [f"SELECT pg_advisory_xact_lock({WRITER_LOCK})", "LOCK log.event IN EXCLUSIVE MODE"])
def test_F26_a_lock_that_is_held_is_unavailable_in_time_and_its_holder_is_named(
    dsn: str, log: EventLog, caplog: pytest.LogCaptureFixture, lock: str
) -> None:
    note(log, "BEFORE")
    with psycopg.connect(dsn, application_name="the holder") as holder:
        holder.execute(lock.encode())
        with pytest.raises(Unavailable):
            note(log, "MEANWHILE")
        holder.rollback()
    assert "the holder" in caplog.text
    _until(lambda: _can_note(log))
    assert "MEANWHILE" not in [fact.event.calling_ae_title for fact in log.read(0, 10)]  # type: ignore[attr-defined]


def test_F25_a_read_only_database_is_unavailable_and_comes_back(dsn: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        log = EventLog(dsn, FACTS, LIMITS)
        log.open()
        try:
            with pytest.raises(Unavailable):
                note(log, "NO")
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            _until(lambda: _can_note(log))
        finally:
            log.close()


def test_many_appends_at_once_share_transactions_and_keep_their_answers(patient: EventLog, dsn: str) -> None:
    with psycopg.connect(dsn) as holder, ThreadPoolExecutor(16) as pool:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
        waiting = [pool.submit(note, patient, f"TOGETHER{number}") for number in range(16)]
        time.sleep(0)
        holder.rollback()
        for one in waiting:
            one.result(60)
    assert len({fact.event.calling_ae_title for fact in patient.read(0, 100)}) == 16  # type: ignore[attr-defined]


def test_particulars_are_written_once_with_the_fact_that_names_them(log: EventLog, dsn: str) -> None:
    content = {"patient": {"00100020": {"vr": "LO", "Value": ["P1"]}}}
    made = log.particulars_for(content)
    assert log.particulars_for(content) is made
    for number in range(2):
        key = f"P{number}"
        log.change("peer", key, abort, AssociationAborted(key, "A", 0, 0, ""), by=BY, particulars=(made,))
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT id, content FROM log.particulars").fetchall()
    assert rows == [(made.id, content)]
    assert log.particulars([made.id])[made.id].content == content


def test_what_the_database_refuses_in_one_append_does_not_fail_those_that_share_its_transaction(
    patient: EventLog, dsn: str
) -> None:
    poison = patient.particulars_for({"patient": {"00100010": {"vr": "PN", "Value": ["a\0b"]}}})

    def append(key: str) -> None:
        fact = AssociationAborted(key, "A", 0, 0, "")
        patient.change("peer", key, abort, fact, by=BY, particulars=(poison,) if key == "POISON" else ())

    keys = [*(f"GOOD{number}" for number in range(12)), "POISON"]
    with psycopg.connect(dsn) as holder, ThreadPoolExecutor(len(keys)) as pool:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
        waiting = {"GOOD0": pool.submit(append, "GOOD0")}
        _until(lambda: _waits_for_a_lock(dsn))
        waiting |= {key: pool.submit(append, key) for key in keys[1:]}
        holder.rollback()
        for key, one in waiting.items():
            assert (one.exception(60) is None) == (key != "POISON"), key
    assert {fact.event.calling_ae_title for fact in patient.read(0, 100)} == set(keys[:-1])  # type: ignore[attr-defined]


def _waits_for_a_lock(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        return bool(connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall())


def test_two_facts_of_one_version_in_one_transaction_are_settled_one_by_one(patient: EventLog, dsn: str) -> None:
    with psycopg.connect(dsn) as holder, ThreadPoolExecutor(8) as pool:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
        first = pool.submit(note, patient, "FIRST")
        _until(lambda: _waits_for_a_lock(dsn))
        others = [pool.submit(add, patient, "CT", 2000 + number) for number in range(7)]
        holder.rollback()
        first.result(60)
        assert sum(one.result(60) for one in others) == 7
    assert [fact.version for fact in patient.stream(device.KIND, "CT")] == list(range(1, 8))


def test_a_fact_that_this_program_does_not_know_is_not_passed_over(log: EventLog, dsn: str) -> None:
    note(log, "BEFORE")
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO log.event (originator_id, originator_version, topic, state) "
            "SELECT gen_random_uuid(), 1, 'OfTomorrow', state FROM log.event"
        )
    note(log, "AFTER")
    assert len(log.read(0, 1)) == 1
    with pytest.raises(UnknownFact, match="OfTomorrow"):
        log.read(0, 10)


def test_a_closed_log_takes_nothing_more_and_what_it_had_taken_is_there(dsn: str) -> None:
    log = EventLog(dsn, FACTS, LIMITS)
    log.open()
    note(log, "TAKEN")
    log.close()
    with pytest.raises(Unavailable):
        note(log, "LATE")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM log.event").fetchone() == (1,)


def test_a_reader_passes_over_what_it_does_not_want_and_stops_at_what_nobody_knows(dsn: str, log: EventLog) -> None:
    note(log, "A")
    add(log, "CT", 104)
    note(log, "B")
    wanted = {DeviceAdded.NAME}
    batch = log.read_wanted(0, 2, wanted)
    assert ([type(fact.event) for fact in batch.facts], batch.count) == ([DeviceAdded], 2)
    rest = log.read_wanted(batch.position, 2, wanted)
    assert (list(rest.facts), rest.count, rest.position) == ([], 1, log.head())
    assert log.read_wanted(rest.position, 2, wanted).count == 0
    older = EventLog(dsn, [DeviceAdded], LIMITS)
    older.open()
    try:
        with pytest.raises(UnknownFact, match="use a newer one"):
            older.read_wanted(0, 10, wanted)
    finally:
        older.close()


@edges
def test_D21_an_append_is_tried_so_often_and_then_refused(dsn: str, log: EventLog, off: int) -> None:
    """Before each try another one was faster."""
    tries = []
    few = EventLog(dsn, FACTS, Limits(append_attempts_max=3))
    few.open()

    def verb(_: None) -> list[AssociationAborted]:
        tries.append(len(tries))
        if len(tries) < 3 + off:
            note(log, "AE")
        return [AssociationAborted("AE", "SLOW", 1, 0, "test")]

    try:
        if off <= 0:
            few.change("peer", "AE", verb, by=BY)
        else:
            with pytest.raises(Unavailable, match="changed by others"):
                few.change("peer", "AE", verb, by=BY)
    finally:
        few.close()
    assert len(tries) == min(3, 3 + off)
    assert len(log.stream("peer", "AE")) == min(3, 3 + off)


@edges
def test_D21_what_waits_is_committed_so_many_together_and_no_more(
    dsn: str, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    together: list[int] = []
    insert = Recorder.insert_events

    def counted(self: Recorder, facts: Sequence[StoredEvent], **others: Any) -> Sequence[int]:
        together.append(len(facts))
        return insert(self, facts, **others)

    monkeypatch.setattr(Recorder, "insert_events", counted)
    put: list[object] = []

    class Counting(SimpleQueue[Any]):
        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            super().put(item, block, timeout)
            put.append(item)

    opened = EventLog(dsn, FACTS, Limits(commit_batch_max=4))
    writer = opened._writer
    writer._queue = Counting()
    opened.open()
    try:
        with ThreadPoolExecutor(5) as pool:
            with writer._turn:
                waiting = [pool.submit(note, opened, f"AE{number}") for number in range(4 + off)]
                # The writer's own thread has the first already, and waits for its turn.
                _until(lambda: (len(put), writer._queue.qsize()) == (4 + off, 3 + off))
            for one in waiting:
                one.result()
    finally:
        opened.close()
    assert together == [min(4, 4 + off), *[1] * max(0, off)]


def test_F20_a_database_that_goes_while_a_process_starts_is_unavailable_and_no_surprise() -> None:
    with pytest.raises(Unavailable):
        EventLog("host=/nowhere", FACTS, Limits(database_timeout_seconds=0.2))
