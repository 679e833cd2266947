"""A whole archive and what its users must still get from it after a crash."""

from __future__ import annotations

import os
import random
import re
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from adapters.dicom.part10 import read_file_header
from adapters.postgres.embedded import EmbeddedPostgres
from annals import compose
from annals.settings import load
from tests.archive.conftest import Archive, until
from tests.durability import checker, machine
from tests.durability.disks import Disk
from tests.durability.objects import Sent
from tests.durability.senders import Sender, WebSender

SENDERS = 4
SIZE = 20_000
_FOUND = re.compile(r"\(0008,0018\) UI \[([0-9.]+)")
_SUCCESS = re.compile(r"Received (Final Find|C-GET) Response \(Success\)")
_PROGRESS_SECONDS = 240.0
_LAST_WORDS = 20_000
_TRACE_LINES_MAX = 200


class WholeArchive(Archive):
    """An archive that may be killed at any time, and leaves no process in the end."""

    def __init__(self, folder: Path, data: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(data, settings)
        self.lines = folder / "archive.log"
        self._settings = dict(settings or {})
        self._said = ""

    @property
    def database(self) -> Path:
        """The embedded database's folder."""
        return self.data / "postgres"

    def members(self) -> dict[str, list[int]]:
        """Its processes by what they are."""
        assert self.process
        kinds: dict[str, list[int]] = {"supervisor": [self.process.pid]}
        for pid in machine.children(self.process.pid):
            command: list[bytes] = []
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"--role" in command:
                kinds.setdefault(command[command.index(b"--role") + 1].decode(), []).append(pid)
        if server := machine.postmaster(self.database):
            kinds["postmaster"] = [server]
            kinds["postgres"] = machine.children(server)
        return {kind: pids for kind, pids in kinds.items() if pids}

    def freeze(self) -> None:
        """Let nothing of it go on. Who starts others is stopped first."""
        members = self.members()
        for kind in ("supervisor", "postmaster"):
            machine.freeze(members.get(kind, []))
        machine.freeze({*self.processes(), *machine.inside(self.database)})

    def kill(self) -> None:
        """Every process at once, as the power takes them."""
        running = self.process if self.process and self.process.poll() is None else None
        if running:
            running.send_signal(signal.SIGSTOP)
        machine.kill_database(self.database)
        if running:
            machine.kill_all([*machine.children(running.pid), running.pid])
            running.wait()
        machine.kill_all(self.processes())

    def unforeseen(self) -> list[str]:
        """The traces in its log, each with what follows: what no part of it has foreseen. A drain may cut requests off.

        A process that ends by an exception shows it in a frame of many lines.
        """
        lines = self.log_lines().splitlines()
        traces = [at for at, line in enumerate(lines) if "Traceback" in line]
        return [
            "\n".join(lines[at : at + _TRACE_LINES_MAX])
            for at in traces
            if "timeout graceful shutdown exceeded" not in lines[at]
        ]

    @property
    def dsn(self) -> str:
        """Where its database is."""
        return EmbeddedPostgres(self.database).dsn()

    def broken_promises(self, acknowledged: Sequence[Sent], after: int = 0) -> list[str]:
        """P1, P2, P6: by the log, the files and the read model, then by C-FIND and C-GET."""
        broken = self.facts_broken(acknowledged, after)
        by_study: dict[str, list[Sent]] = {}
        for one in acknowledged:
            by_study.setdefault(one.study, []).append(one)
        for study, objects in by_study.items():
            found = self.found(study)
            broken += [f"{one.instance} is not found by C-FIND" for one in objects if one.instance not in found]
            given = self.given(study)
            broken += [
                f"{one.instance} is not what was sent, by C-GET"
                for one in objects
                if given.get(one.instance) != one.data_set()
            ]
        return broken

    def facts_broken(self, acknowledged: Sequence[Sent], after: int = 0) -> list[str]:
        """P1 and P2 without asking the archive."""
        with self._parts() as archive:
            files = archive.files({})
            try:
                return checker.broken_promises(archive, files, acknowledged, after)
            finally:
                files.close()

    def head(self) -> int:
        """The newest position of its log."""
        with self._parts() as archive:
            return archive.log.head()

    def _parts(self) -> AbstractContextManager[compose.Archive]:
        environment = {"ANNALS_LIMITS__STORAGE_FREE_MIN": "1048576", **self._settings}
        settings, _ = load(None, environment, data=self.data)
        return compose.archive(settings, self.dsn, connections=4)

    def found(self, study: str) -> set[str]:
        """The instances of a study, by C-FIND."""
        keys = ("QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={study}", f"SeriesInstanceUID={study}.1")
        asked = [part for key in (*keys, "SOPInstanceUID") for part in ("-k", key)]
        self._succeed("findscu", "-v", "-S", *asked)
        return set(_FOUND.findall(self._said))

    def given(self, study: str) -> dict[str, bytes]:
        """The data sets of a study, by C-GET."""
        with tempfile.TemporaryDirectory() as folder:
            asked = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
            self._succeed("getscu", "-v", "-S", "+B", "-od", folder, *asked)
            raws = [(path.name, path.read_bytes()) for path in Path(folder).iterdir()]
        return {name: raw[read_file_header(raw).size :] for name, raw in raws}

    def _succeed(self, tool: str, *arguments: str) -> None:
        """Run a tool until it is told Success; just after a crash it may be told to come again."""
        try:
            until(lambda: self._answered(tool, *arguments), _PROGRESS_SECONDS, f"{tool} is told Success")
        except AssertionError:
            print(self._said, self.log_lines()[-_LAST_WORDS:], sep="\n")
            raise

    def _answered(self, tool: str, *arguments: str) -> bool:
        done = self.dcmtk(tool, *arguments)
        self._said = done.stdout + done.stderr
        return done.returncode == 0 and _SUCCESS.search(self._said) is not None


class Machine:
    """An archive with its storage and its database on two disks that lose their power together."""

    def __init__(self, images: Path, kind: str) -> None:
        self.kind = kind
        self.disks = [Disk(images, f"{kind}-whole-{name}", kind) for name in ("files", "data")]
        self.storage = self.disks[0].path / "storage"
        settings = {"ANNALS_STORAGE__PATH": str(self.storage)}
        self.archive = WholeArchive(images, self.disks[1].path / "data", settings)

    def cut(self) -> None:
        """Cut the power, and start again as the machine would.

        Nothing runs without power: let go on, XFS answers some syncs with success that it has just thrown away, and the
        other disk, cut a moment later, would hold what followed.
        """
        self.archive.freeze()
        for disk in self.disks:
            disk.cut()
        self.archive.kill()
        for disk in self.disks:
            disk.remount()
        self.archive.start()

    def remove(self) -> None:
        """Leave nothing."""
        self.archive.kill()
        for disk in self.disks:
            disk.remove()


@contextmanager
def sending(archive: WholeArchive, study: int = 1) -> Iterator[list[Sender]]:
    """Four senders and one over HTTP at work, each with a study of its own for this number."""
    senders = [Sender(archive.port, part, SIZE, study) for part in range(1, SENDERS + 1)]
    senders.append(WebSender(archive.dicomweb_port, SENDERS + 1, SIZE, study))
    for sender in senders:
        sender.start()
    try:
        yield senders
    finally:
        for sender in senders:
            sender.stop()


def more_acknowledged(senders: Iterable[Sender], number: int) -> None:
    """Wait until each sender was told of so many more objects."""
    wanted = [(sender, len(sender.acknowledged) + number) for sender in senders]
    until(
        lambda: all(len(sender.acknowledged) >= count or sender.has_failed for sender, count in wanted),
        _PROGRESS_SECONDS,
        f"each sender has {number} more objects acknowledged",
    )


def kill_one(archive: WholeArchive, kind: str, chance: random.Random) -> None:
    """Kill a process of a kind, once there is one: it may still be coming back, or end by itself meanwhile."""

    def killed() -> bool:
        if not (living := archive.members().get(kind)):
            return False
        try:
            os.kill(chance.choice(living), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    until(killed, 60, f"there is a {kind} to kill")


def ends_without_a_process(archive: WholeArchive) -> None:
    """Stop it; nothing of it may run any more."""
    assert archive.stop() == 0
    try:
        until(lambda: not archive.processes() and machine.postmaster(archive.database) is None, 60, "no process left")
    except AssertionError:
        left = [*archive.processes(), *machine.inside(archive.database)]
        print(*(machine.command_line(pid) for pid in left), archive.log_lines()[-_LAST_WORDS:], sep="\n")
        raise
