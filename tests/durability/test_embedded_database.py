"""The embedded database after crashes: it starts whatever they left, and nobody is left to run it for ever (F47)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from tests.conftest import lay_database
from tests.durability import machine
from tests.durability.disks import FILE_SYSTEMS, Disk

pytestmark = pytest.mark.durability


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="annals-embedded-"))
    made.chmod(0o755)
    yield made / "postgres"
    machine.kill_database(made / "postgres")
    shutil.rmtree(made)


@pytest.fixture
def starter(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has started the server."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.durability.starter", str(folder)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    yield process
    process.kill()
    process.communicate()


def answers(server: EmbeddedPostgres) -> bool:
    with psycopg.connect(server.dsn()) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def lock_files(folder: Path) -> list[Path]:
    return [folder / "data" / "postmaster.pid", folder / "run" / ".s.PGSQL.5432.lock"]


def test_a_server_whose_starter_lives_is_used_and_goes_on(folder: Path, starter: subprocess.Popen[bytes]) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    assert answers(server)
    server.stop()
    assert answers(server)
    starter.communicate(b"stop\n", timeout=60)
    assert machine.postmaster(folder) is None


def test_a_server_whose_starter_was_killed_is_stopped_by_the_next(
    folder: Path, starter: subprocess.Popen[bytes]
) -> None:
    starter.kill()
    starter.wait()
    before = machine.postmaster(folder)
    server = EmbeddedPostgres(folder)
    server.start()
    assert answers(server)
    assert machine.postmaster(folder) == before
    server.stop()
    assert machine.postmaster(folder) is None


def test_a_taken_over_server_that_is_killed_is_started_again(folder: Path, starter: subprocess.Popen[bytes]) -> None:
    starter.kill()
    starter.wait()
    server = EmbeddedPostgres(folder)
    server.start()
    before = machine.postmaster(folder)
    assert before
    os.kill(before, signal.SIGKILL)
    server.check()
    assert answers(server)
    assert machine.postmaster(folder) != before
    server.stop()
    assert machine.postmaster(folder) is None


def test_a_backend_that_outlives_its_killed_postmaster_does_not_keep_the_next_from_starting(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    with psycopg.connect(server.dsn()) as connection:
        os.kill(connection.info.backend_pid, signal.SIGSTOP)
        postmaster = machine.postmaster(folder)
        assert postmaster
        machine.kill_all([postmaster])
        connection.close()
    again = EmbeddedPostgres(folder)
    again.start(timeout_seconds=60)
    assert answers(again)
    again.stop()


@pytest.mark.parametrize("left", ["nothing", "another program's number", "another database's number"])
def test_F47_lock_files_that_a_power_cut_left_do_not_keep_it_from_starting(
    folder: Path, left: str, postgres_server: EmbeddedPostgres
) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    whole = [path.read_text("ascii") for path in lock_files(folder)]
    machine.kill_database(folder)
    pid = {
        "another program's number": os.getpid(),
        "another database's number": machine.postmaster(postgres_server.folder),
    }.get(left)
    for path, text in zip(lock_files(folder), whole, strict=True):
        path.write_text("" if pid is None else text.replace(text.split("\n")[0], str(pid), 1), "ascii")
    again = EmbeddedPostgres(folder)
    again.start(timeout_seconds=60)
    assert answers(again)
    again.stop()


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_F47_a_server_is_left_though_its_disk_is_dead_and_started_again_when_it_is_back(
    images: Path, kind: str
) -> None:
    disk = Disk(images, f"{kind}-dead", kind, 512)
    server = EmbeddedPostgres(disk.path / "postgres")
    try:
        lay_database(server.folder)
        os.sync()
        server.start()
        disk.cut()
        machine.kill_database(server.folder)
        server.stop()
        disk.remount()
        server.start()
        assert answers(server)
        server.stop()
    finally:
        machine.kill_database(server.folder)
        disk.remove()
