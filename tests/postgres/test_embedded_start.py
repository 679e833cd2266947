"""The embedded database starts in any folder, for any number of starters, never as root, and says what hinders it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import check_durability
from domain.errors import Unavailable
from tests.conftest import folder_that_others_enter

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its rights up")


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """The folder of a server that was made and stopped."""
    with folder_that_others_enter() as folder:
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        server.stop()
        yield folder / "postgres"


def works_in(data: Path) -> list[int]:
    """The processes of the server of a data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == data:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", ["a" * 150, "\N{CYRILLIC SMALL LETTER A}" * 50, "with 'blanks', a list and \"marks\""])
def test_any_name_of_the_data_folder_will_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_that_others_enter() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        server = EmbeddedPostgres(folder / name)
        server.start(timeout_seconds=60)
        try:
            with psycopg.connect(server.dsn()) as connection:
                assert connection.execute("SHOW data_directory").fetchone() == (str(folder / name / "data"),)
        finally:
            server.stop()
        assert works_in(folder / name / "data") == []


def test_two_who_start_at_the_same_time_share_one_server_and_the_last_to_go_leaves_none() -> None:
    with folder_that_others_enter() as folder:
        starters = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.durability.starter", str(folder / "postgres")],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        for starter in starters:
            assert starter.stdout
            assert starter.stdout.readline() == b"started\n"
        with psycopg.connect(EmbeddedPostgres(folder / "postgres").dsn()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        for starter in starters:
            starter.communicate(b"stop\n", timeout=60)
        assert [starter.returncode for starter in starters] == [0, 0]
        assert works_in(folder / "postgres" / "data") == []


def test_an_adopted_server_that_was_only_busy_is_still_stopped_by_its_keeper(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-m", "tests.durability.starter", str(made)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert starter.stdout
    assert starter.stdout.readline() == b"started\n"
    starter.kill()
    starter.communicate()
    orphan = int((made / "data" / "postmaster.pid").read_text().split("\n")[0])
    keeper = EmbeddedPostgres(made)
    keeper.start()

    def wake_once_a_second_one_was_started() -> bool:
        os.kill(orphan, signal.SIGCONT)
        return False

    os.kill(orphan, signal.SIGSTOP)
    dsn = keeper.dsn
    monkeypatch.setattr(keeper, "dsn", lambda *of: make_conninfo(dsn(*of), connect_timeout=2))
    try:
        keeper.check(wake_once_a_second_one_was_started)
    finally:
        os.kill(orphan, signal.SIGCONT)
        keeper.stop()
    assert works_in(made / "data") == []


@AS_ROOT
def test_no_process_of_a_server_that_root_started_is_roots_and_strangers_cannot_connect(made: Path) -> None:
    server = EmbeddedPostgres(made)
    server.start()
    try:
        looked = 0
        for pid in works_in(made / "data"):
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except FileNotFoundError:
                continue  # Its workers come and go; the postmaster stays.
            looked += 1
            status = dict(line.split(":\t", 1) for line in lines)
            assert "0" not in status["Uid"].split()
            assert "0" not in [*status["Gid"].split(), *status["Groups"].split()]
        assert looked
        socket_folder = Path(psycopg.conninfo.conninfo_to_dict(server.dsn())["host"])  # type: ignore[arg-type]
        assert socket_folder.stat().st_mode & 0o077 == 0
    finally:
        server.stop()


@AS_ROOT
def test_a_folder_that_the_account_cannot_enter_is_named_with_what_to_do(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001 == 0:
            closed = folder
    with pytest.raises(Unavailable, match=f"chmod o\\+x {closed}"):
        EmbeddedPostgres(tmp_path / "closed" / "postgres").start()


@pytest.mark.parametrize(
    "names", [("fsync",), ("full_page_writes",), ("synchronous_commit",), ("fsync", "synchronous_commit")]
)
def test_a_server_that_may_forget_is_refused_and_its_settings_are_named(made: Path, names: tuple[str, ...]) -> None:
    server = EmbeddedPostgres(made, settings=dict.fromkeys(names, "off"))
    server.start()
    try:
        with pytest.raises(Unavailable, match=f"turn on {', '.join(names)}$"):
            check_durability(server.dsn())
    finally:
        server.stop()


def test_a_folder_of_another_version_is_refused_with_what_to_do(made: Path) -> None:
    version = made / "data" / "PG_VERSION"
    was = version.read_text("ascii")
    version.write_text("9\n", "ascii")
    try:
        with pytest.raises(Unavailable, match="pg_upgrade"):
            EmbeddedPostgres(made).start()
    finally:
        version.write_text(was, "ascii")


def test_a_second_object_of_one_process_stops_nothing_that_the_first_keeps(made: Path) -> None:
    first, second = EmbeddedPostgres(made), EmbeddedPostgres(made)
    first.start()
    try:
        second.start()
        second.stop()
        with psycopg.connect(first.dsn()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        first.stop()
    assert works_in(made / "data") == []


def test_a_start_that_is_given_up_leaves_nothing_running_and_can_be_made_again(made: Path) -> None:
    server = EmbeddedPostgres(made)
    with pytest.raises(Unavailable, match="asked to stop"):
        server.start(is_given_up=lambda: True)
    assert works_in(made / "data") == []
    server.start()
    server.stop()


@pytest.mark.parametrize(
    ("befell", "said"), [(KeyboardInterrupt(), KeyboardInterrupt), (psycopg.OperationalError("it died"), Unavailable)]
)
def test_a_start_that_is_interrupted_leaves_nothing_running(
    made: Path, monkeypatch: pytest.MonkeyPatch, befell: BaseException, said: type[BaseException]
) -> None:
    server = EmbeddedPostgres(made)

    def interrupt() -> None:
        raise befell

    monkeypatch.setattr(server, "_make_database", interrupt)
    with pytest.raises(said):
        server.start()
    assert works_in(made / "data") == []


def test_who_leaves_a_server_that_another_uses_lets_it_go_on_and_the_last_leaves_none(made: Path) -> None:
    first, second = EmbeddedPostgres(made), EmbeddedPostgres(made)
    first.start()
    second.start()
    first.leave()
    with psycopg.connect(second.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    second.leave()
    assert works_in(made / "data") == []


def test_a_data_folder_on_NFS_whose_locks_are_those_of_lockf_will_do(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets nobody share a lock on a file that is not open for reading (flock(2))."""
    monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    server = EmbeddedPostgres(made)
    server.start()
    server.leave()
    assert works_in(made / "data") == []
