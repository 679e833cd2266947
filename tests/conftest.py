"""Real PostgreSQL for every test that asks for it: one server a test process, one fresh database a test."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from psycopg.sql import SQL, Identifier

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import migrate
from tests import ports, pynetdicom_peer

MIGRATIONS = Path(__file__).parent.parent / "migrations"
_TEMPLATE = "migrated"
_MEMORY = Path("/dev/shm")
_ROOM_MIN = 4 * 1024**3
_NEW_MOUNTS = 0x0002_0000
"""CLONE_NEWNS."""
_numbers = count(1)


@contextmanager
def folder_that_others_enter() -> Iterator[Path]:
    """A fresh folder for a data folder: PostgreSQL runs as another account than root, which pytest's are closed to."""
    folder = Path(tempfile.mkdtemp(prefix="annals-tests-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@cache
def _new_database() -> Path:
    """The data of an empty embedded database, as a first start makes it."""
    kept = ExitStack()
    atexit.register(kept.close)
    server = EmbeddedPostgres(kept.enter_context(folder_that_others_enter()))
    server.start()
    migrate(server.dsn(), MIGRATIONS)
    server.stop()
    return server.data


def lay_database(folder: Path) -> None:
    """Make the folder of an embedded database in no time."""
    folder.mkdir(parents=True)
    subprocess.run(["cp", "-a", str(_new_database()), str(folder)], check=True)


def _use_memory() -> None:
    """Temp folders of tests in memory where there is room: a storage of 4,096 folders is made in no time there."""
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK):
        holds = os.statvfs(_MEMORY)
        if holds.f_bavail * holds.f_frsize > _ROOM_MIN and not holds.f_flag & os.ST_NOEXEC:
            os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


def _keep_mounts_to_ourselves() -> None:
    """Mount where no other program looks: a container that starts meanwhile takes all it sees along.

    A file system that it has taken is not gone with our unmount, and the next mount would give it back without power.
    """
    if os.geteuid() == 0 and ctypes.CDLL(None).unshare(_NEW_MOUNTS) == 0:
        # Where this fails, as in a changed root, mounts are where they would be without.
        subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)


def pytest_configure() -> None:
    """Once in each process of the tests: mounts, memory and ports of its own, and programs that hear all signals."""
    _keep_mounts_to_ourselves()
    _use_memory()
    ports.reserve()
    pynetdicom_peer.install()
    # An example that meets a busy machine is no failure.
    settings.register_profile("annals", deadline=None)
    settings.load_profile("annals")
    # A shell lets its background jobs ignore Ctrl-C, nohup(1) that the terminal goes.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: at the end there are short ones for every process."""
    items.sort(key=lambda item: "durability" not in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays: it is not looked at for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The embedded server in a folder of its own, with a migrated database as template."""
    with folder_that_others_enter() as folder:
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(_TEMPLATE)))
        migrate(server.dsn(_TEMPLATE), MIGRATIONS)
        yield server
        server.stop()


@contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[str]:
    """A fresh migrated database, dropped at the end."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        # In memory, copies of files cost a quarter of what their pages in the write-ahead log do.
        made = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        connection.execute(made.format(Identifier(name), Identifier(_TEMPLATE)))
    yield server.dsn(name)
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def dsn(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A fresh migrated database, dropped after the test."""
    with fresh_database(postgres_server) as name:
        yield name
