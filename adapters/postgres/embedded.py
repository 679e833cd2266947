"""The embedded PostgreSQL server: in the data folder, on a private Unix socket, without any set-up."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import TextIO

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from adapters.postgres import binaries, cluster
from adapters.postgres.binaries import Account
from adapters.postgres.cluster import ROLE
from domain.errors import Unavailable

_LOCK_FILE_SECONDS = 10.0
_SOCKET_PATH_MAX = 100
_DATABASE = "annals"
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "dynamic_shared_memory_type": "mmap",
    "shared_preload_libraries": "pg_stat_statements",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "idle_in_transaction_session_timeout": "60s",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_min_error_statement": "panic",
}


class EmbeddedPostgres:
    """One server for one data folder. ``start`` adopts a server that already runs there.

    Who keeps it stops it: the first that holds the lock on ``keeper.lock``, which a killed keeper lets go. All that use
    it share the lock on ``users.lock``, so that who leaves it knows whether others stay.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None, run_as: str = "") -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._account = Account.choose(self.data, run_as)
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: TextIO | None = None
        self._using: FileIO | None = None
        self._log = self.folder / "postgres.log"

    def dsn(self, database: str = _DATABASE) -> str:
        """Where to connect; no password, the socket's owner is checked by the kernel."""
        return make_conninfo(host=str(self._socket_folder()), user=ROLE, dbname=database, connect_timeout=5)

    def start(self, timeout_seconds: float = 300, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Start or adopt the server; returns when it answers.

        Raises :class:`Unavailable` that says what to do, and where ``is_given_up`` became true before.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._account.user:
            self.folder.chmod(self.folder.stat().st_mode | 0o011)
            if blocker := self._account.blocker(self.folder):
                raise Unavailable(
                    f"the account {self._account.user.pw_name!r} cannot enter {blocker}: "
                    f"run 'chmod o+x {blocker}', or put the data folder elsewhere"
                )
        programs = binaries.find(self.folder, self._account, os.environ)
        self._make_socket_folder()
        if self._using is None:
            # For reading too, as NFS wants it of who shares a lock; without a buffer its close outlives a dead disk.
            self._using = (self.folder / "users.lock").open("wb+", buffering=0)
        try:
            # The last of its users may be about to stop it.
            fcntl.flock(self._using, fcntl.LOCK_SH)
            with (self.folder / "start.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not self._answers():
                    cluster.prepare(self.data, self._account, programs)
                    self._drop_stale_lock_files()
                    self._launch(programs, timeout_seconds, is_given_up)
                self._keep()
                self._make_database()
        except BaseException as error:
            if self._process is None:
                self.leave()
            else:
                self.stop()
            if isinstance(error, psycopg.Error):
                raise Unavailable("PostgreSQL ended again as soon as it had started") from error
            raise

    def check(self, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Start the server again when it has ended; a recovery may take minutes, unless it is given up."""
        if self._process is None or self._process.poll() is not None:
            self._process = None
            if not self._answers():
                self.start(is_given_up=is_given_up)

    def leave(self) -> None:
        """Stop the server, unless others use it: then it goes on, and the last of them stops it."""
        if self._using is not None:
            try:
                fcntl.flock(self._using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._let_go()
                return
        self.stop()

    def stop(self, timeout_seconds: float = 60) -> None:
        """Stop the server, whoever uses it, unless it was adopted from a starter that lives: then it goes on."""
        steps = ((signal.SIGINT, timeout_seconds), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
        if self._using is not None:
            # Whoever started it may have left it to us.
            self._keep()
        if self._process is not None:
            for number, seconds in steps:
                if self._process.poll() is not None:
                    break
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(seconds)
            self._process = None
        elif self._keeper is not None and (orphan := self._postmaster()):
            for number, seconds in steps:
                if _ended(orphan, number, seconds):
                    break
        self._let_go()

    def _let_go(self) -> None:
        for lock in (self._keeper, self._using):
            if lock is not None:
                lock.close()
        self._keeper = self._using = None

    def _keep(self) -> None:
        """Become the keeper, unless another living process is."""
        if self._keeper is not None:
            return
        keeper = (self.folder / "keeper.lock").open("w")
        try:
            fcntl.flock(keeper, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            keeper.close()
        else:
            self._keeper = keeper

    def _socket_folder(self) -> Path:
        folder = self.folder / "run"
        # A socket's path is short, and both the server and libpq take a list of folders.
        if len(os.fsencode(folder / ".s.PGSQL.5432")) > _SOCKET_PATH_MAX or set(str(folder)) & set(",\"'"):
            name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
            runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
            folder = Path(runtime) / f"annals-pg-{os.geteuid()}-{name}"
        return folder

    def _make_socket_folder(self) -> None:
        folder = self._socket_folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        ours = (os.geteuid(), self._account.user.pw_uid if self._account.user else os.geteuid())
        if folder.is_symlink() or folder.stat().st_uid not in ours:
            raise Unavailable(f"{folder} belongs to someone else: remove it, or put the data folder elsewhere")
        self._account.own(folder)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
                return row is not None and Path(row[0]) == self.data
        except psycopg.Error:
            return False

    def _drop_stale_lock_files(self) -> None:
        """PostgreSQL trusts these over the truth: after a power cut they may be empty, or name another program."""
        if not any(_works_in(pid, self.data) for pid in _pids()):
            for lock_file in (self.data / "postmaster.pid", self._socket_folder() / ".s.PGSQL.5432.lock"):
                lock_file.unlink(missing_ok=True)

    def _postmaster(self) -> int | None:
        """The server that runs in the data folder, by its pid file; a number that is another program's is not it."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int((self.data / "postmaster.pid").read_text("ascii").split("\n")[0])
            return pid if _works_in(pid, self.data) else None
        return None

    def _launch(self, programs: Path, timeout_seconds: float, is_given_up: Callable[[], bool]) -> None:
        arguments = [str(programs / "postgres"), "-D", str(self.data), "-k", str(self._socket_folder())]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + timeout_seconds
        with self._log.open("ab") as log:
            while True:
                mark = log.seek(0, os.SEEK_END)
                self._process = subprocess.Popen(
                    arguments, stdout=log, stderr=log, start_new_session=True, **self._account.options()
                )
                if self._wait_until_it_answers(deadline, is_given_up):
                    self._forget_a_second_one()
                    return
                if is_given_up():
                    self.stop()
                    raise Unavailable("PostgreSQL was still starting when it was asked to stop")
                said = self._log.read_bytes()[mark:].decode("utf-8", "replace")
                code = self._process.poll()
                remains = "lock file" in said or "shared memory block" in said
                if not remains or time.monotonic() > deadline:
                    self.stop()
                    raise Unavailable(f"PostgreSQL did not start (exit {code}), see {self._log}: {said[-400:].strip()}")
                time.sleep(0.3)
                if "shared memory block" in said:
                    self._end_orphans()

    def _forget_a_second_one(self) -> None:
        """Where an adopted server was only busy, it is the one that answers, and ours ends at its lock file."""
        if self._process and self._postmaster() not in (None, self._process.pid):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOCK_FILE_SECONDS)
                self._process = None

    def _end_orphans(self) -> None:
        """Backends outlive a killed postmaster for ever where they wait for a lock whose holder was killed too."""
        if self._postmaster() is None:
            for pid in [pid for pid in _pids() if _works_in(pid, self.data)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _wait_until_it_answers(self, deadline: float, is_given_up: Callable[[], bool]) -> bool:
        assert self._process
        while time.monotonic() < deadline and not is_given_up():
            if self._answers():
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.03)
                return False
        return False

    def _make_database(self) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _works_in(pid: int, folder: Path) -> bool:
    """Whether this is a living process in that folder, as every process of a server is in its data folder."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    except OSError:
        return False


def _ended(pid: int, number: int, seconds: float) -> bool:
    """Signal a process that is no child of ours; whether it ended in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(handle, number)
        return bool(select.select([handle], [], [], seconds)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
