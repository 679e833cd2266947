"""Faults of disk and database while instances are stored over HTTP (F10, F11, F13, F20 to F26, NET-8, P12)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.stow import RELATED, Answer, multipart, part10, store
from tests.archive.test_wado import memory
from tests.dicom.encoding import minimal
from tests.durability import machine
from tests.postgres.between import LosesAnswers

OUT_OF_RESOURCES = 0xA700
ROOT = "1.2.826.0.1.3680043.8.498.13"
FORGETS_SOON = {**SMALL, "ANNALS_LIMITS__STORAGE_SUSPECT_SECONDS": "0.5"}
SETTINGS = {
    **FORGETS_SOON,
    "ANNALS_LIMITS__DATABASE_TIMEOUT_SECONDS": "2",
    "ANNALS_LIMITS__LOCK_TIMEOUT_SECONDS": "2",
}
FAULTS = (
    "store.before_create=ENOSPC@1",
    "store.after_write=ENOSPC@1",
    "store.before_sync=EIO@1",
    "store.after_folder=ENOSPC@1",
    "store.after_rename=EIO@1",
)


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with running_archive(SETTINGS) as running:
        yield running


def file(number: int) -> bytes:
    data = minimal([(0x7FE00010, "OW", bytes(1000))], instance=f"{ROOT}.{number}", study=ROOT, series=f"{ROOT}.0")
    return part10(data, f"{ROOT}.{number}")


def send(archive: Archive, *numbers: int) -> Answer:
    return store(archive.dicomweb_port, *map(file, numbers))


def is_refused(answer: Answer, number: int) -> bool:
    """Out of resources, for now: by the whole request, or for this instance."""
    if answer.status in (503, 507):
        assert ("Retry-After" in answer.headers) == (answer.status == 503)
        if answer.headers["Content-Type"] != "application/dicom+json":
            return True
    return answer.failed == {f"{ROOT}.{number}": OUT_OF_RESOURCES}


def temp_files(archive: Archive) -> list[Path]:
    return [path for path in archive.data.glob("storage/.incoming/*/*") if path.name != "lease"]


def test_F10_F11_F13_each_failing_call_refuses_that_instance_and_the_next_attempt_goes_on(
    make_archive: Callable[..., Archive],
) -> None:
    archive = make_archive({**FORGETS_SOON, "ANNALS_FAILPOINTS": ";".join(FAULTS)}).with_database().start()
    refused = 0
    deadline = time.monotonic() + 60
    while (answer := send(archive, 1)).status != 200:
        assert is_refused(answer, 1), answer.body
        assert answer.status == 507
        assert not temp_files(archive)
        refused += 1
        assert time.monotonic() < deadline
    assert refused >= len(FAULTS)
    assert archive.annals("events", "--stream", f"{ROOT}.1").stdout.count("InstanceStored") == 1
    assert "Traceback" not in archive.log_lines()


@contextmanager
def frozen(archive: Archive) -> Iterator[None]:
    server = machine.postmaster(archive.data / "postgres")
    assert server
    with machine.frozen([server]), machine.frozen(machine.children(server)):
        yield


@contextmanager
def locked(archive: Archive) -> Iterator[None]:
    with psycopg.connect(EmbeddedPostgres(archive.data / "postgres").dsn()) as connection:
        connection.execute("LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@contextmanager
def killed(archive: Archive) -> Iterator[None]:
    server = machine.postmaster(archive.data / "postgres")
    assert server
    os.kill(server, signal.SIGKILL)
    yield


@pytest.mark.parametrize(("fault", "number"), [(frozen, 2), (locked, 3), (killed, 4)])
def test_F20_F21_F26_without_the_database_it_is_503_and_then_it_goes_on(
    archive: Archive, fault: object, number: int
) -> None:
    until(lambda: send(archive, 1).status == 200, 60, "all is well")
    with fault(archive):  # type: ignore[operator]
        answer = send(archive, number)
        assert archive.dcmtk("echoscu").returncode == 0
    if fault is not killed or answer.status != 200:
        assert is_refused(answer, number), answer.body
    until(lambda: send(archive, number).status == 200, 60, "stores succeed again")
    assert archive.annals("events", "--stream", f"{ROOT}.{number}").stdout.count("InstanceStored") == 1
    until(lambda: not temp_files(archive), 60, "no temp file is left")


def _administrator(archive: Archive) -> psycopg.Connection[Any]:
    return psycopg.connect(EmbeddedPostgres(archive.data / "postgres").dsn(), autocommit=True)


_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


def _is_stored_once(archive: Archive, number: int) -> None:
    until(lambda: send(archive, number).status == 200, 60, "stores succeed again")
    assert archive.annals("events", "--stream", f"{ROOT}.{number}").stdout.count("InstanceStored") == 1


def test_F23_without_a_free_connection_to_the_database_it_is_503_and_then_it_goes_on(archive: Archive) -> None:
    until(lambda: send(archive, 1).status == 200, 60, "all is well")
    taken: list[psycopg.Connection[Any]] = []
    try:
        with _administrator(archive) as administrator:

            def is_without() -> bool:
                """What the archive has it loses, and what it lost is taken where it does not come back for it first."""
                administrator.execute(_OTHERS + " AND application_name <> 'taken'")
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        taken.append(psycopg.connect(administrator.info.dsn, application_name="taken"))
                return is_refused(send(archive, 6), 6)

            until(is_without, 60, "no connection is left for it")
    finally:
        for connection in taken:
            connection.close()
    _is_stored_once(archive, 6)
    assert archive.process
    assert archive.process.poll() is None


def test_F24_who_searches_at_once_finds_what_was_stored_after_the_listening_connection_was_lost(
    archive: Archive,
) -> None:
    until(lambda: send(archive, 1).status == 200, 60, "all is well")
    with _administrator(archive) as administrator:
        listening = _OTHERS + " AND query LIKE 'LISTEN%'"
        # It may just be coming back from an earlier loss.
        until(lambda: bool(administrator.execute(listening).fetchall()), 60, "there is one to lose")
    _is_stored_once(archive, 7)
    until(
        lambda: archive.dicomweb(f"studies/{ROOT}/series/{ROOT}.0/instances/{ROOT}.7/metadata") == 200,
        60,
        "it is found",
    )


def test_F25_a_read_only_database_is_503_told_of_and_comes_back(archive: Archive) -> None:
    until(lambda: send(archive, 1).status == 200, 60, "all is well")
    told = len(archive.log_lines())
    with _administrator(archive) as administrator:
        administrator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        administrator.execute("SELECT pg_reload_conf()")
        try:
            until(lambda: is_refused(send(archive, 8), 8), 60, "nothing is stored")
        finally:
            administrator.execute("SET default_transaction_read_only = off")
            administrator.execute("ALTER SYSTEM RESET default_transaction_read_only")
            administrator.execute("SELECT pg_reload_conf()")
    _is_stored_once(archive, 8)
    assert '"level":"ERROR"' in archive.log_lines()[told:]


def test_F22_an_answer_of_the_database_that_is_lost_after_the_commit_is_settled(
    make_archive: Callable[..., Archive], dsn: str
) -> None:
    between = LosesAnswers(dsn, b"InstanceStored")
    try:
        archive = make_archive({**SETTINGS, "ANNALS_DATABASE__DSN": between.dsn}).start()
        assert send(archive, 1).status == 200
        between.lose.set()
        answer = send(archive, 2)
        assert not between.lose.is_set()
        assert (answer.status, answer.stored) == (200, [f"{ROOT}.2"]), answer.body
        assert archive.annals("events", "--stream", f"{ROOT}.2").stdout.count("InstanceStored") == 1
        assert archive.dicomweb(f"studies/{ROOT}/series/{ROOT}.0/instances/{ROOT}.2") == 200
    finally:
        between.close()


def test_B47_ten_thousand_parts_are_answered_each_in_bounded_memory(archive: Archive) -> None:
    """One bad part never fails the others (10.5.3); more than parts_max is 413 (test_stow)."""
    until(lambda: send(archive, 1).status == 200, 60, "all is well")
    before = memory(archive, "VmRSS")
    answer = store(archive.dicomweb_port, *[b"x" * 200] * 10_000, file(9))
    assert (answer.status, answer.stored) == (202, [f"{ROOT}.9"])
    assert len(answer.others) == 10_000
    assert memory(archive, "VmHWM") - before < 96 * 1024 * 1024


def test_NET_8_without_a_usable_storage_the_body_is_not_asked_for(archive: Archive) -> None:
    until(lambda: send(archive, 1).status == 200, 60, "all is well")
    marker = next(path for path in (archive.data / "storage").iterdir() if path.is_file())
    hidden = archive.data / "hidden"
    marker.rename(hidden)
    try:
        fields = f"Content-Type: {RELATED}\r\nExpect: 100-continue\r\nContent-Length: 1000000"
        head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n".encode()

        def refused() -> bool:
            with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
                connection.sendall(head)
                return connection.recv(100).startswith(b"HTTP/1.1 507")

        until(refused, 60, "refused before the body")
    finally:
        hidden.rename(marker)
    until(lambda: send(archive, 5).status == 200, 60, "stores succeed again")


def test_F01_P3_what_a_killed_process_had_half_received_is_removed_by_the_one_in_its_place(archive: Archive) -> None:
    """Whatever other roles run beside it: once it is back it sweeps by itself."""
    until(lambda: send(archive, 1).status == 200, 60, "all is well")
    body = multipart([file(6)])
    fields = f"Content-Type: {RELATED}\r\nContent-Length: 1000000"
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
        connection.sendall(head + body[: body.index(bytes(900))] + bytes(100_000))
        until(lambda: bool(temp_files(archive)), 60, "an instance is on its way")
        for pid in archive.processes("dicomweb"):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not temp_files(archive), 60, "nothing of it is left")
    until(lambda: send(archive, 6).status == 200, 60, "stores succeed again")
