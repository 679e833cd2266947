"""One archive's storage and database, each on a disk of its own, and a writer that is killed on order.

On one file system a later sync of any file commits the journal, and so hides a missing folder sync.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.files.storages import StoredFiles
from adapters.postgres.embedded import EmbeddedPostgres
from annals import compose
from annals.compose import Archive
from annals.settings import load
from tests.conftest import lay_database
from tests.durability import machine
from tests.durability.disks import Disk
from tests.durability.objects import Sent
from tests.durability.writer import SETTINGS
from tests.line_process import LineProcess

_ANSWER_SECONDS = 60.0
_SETTINGS = {"recovery_init_sync_method": "syncfs"}
"""A start syncs what a crash may have left unwritten; after a cut nothing is: file by file it would only take long."""


@dataclass(slots=True)
class Outcome:
    """What one writer said: the objects that it acknowledged or refused, and how it ended."""

    stored: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    ended: int = 0
    finished: bool = False


class Writer:
    """The process that carries out orders; ``with`` it."""

    def __init__(self) -> None:
        self._process = LineProcess("tests.durability.writer")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        machine.kill_all(machine.children(self._process.pid))
        self._process.close()

    def order(self, **order: object) -> dict[str, int]:
        """Start a child for this order; its threads, each by the name of its work."""
        self._process.tell(json.dumps(order).encode() + b"\n")
        words = self._line().split()
        assert words[0] == "ready", words
        return {"receiver": int(words[1]), "log": int(words[2])}

    def go(self) -> Outcome:
        """Let it store; returns when it has ended."""
        self._process.tell(b"g")
        outcome = Outcome()
        while (line := self._line()) and not line.startswith("ended"):
            word, _, rest = line.partition(" ")
            match word:
                case "stored":
                    outcome.stored.append(int(rest))
                case "refused":
                    outcome.refused.append(rest)
                case "done":
                    outcome.finished = True
                case _:
                    raise AssertionError(line)
        outcome.ended = int(line.split()[1])
        return outcome

    def _line(self) -> str:
        line = self._process.line(_ANSWER_SECONDS)
        assert line is not None, "the writer says nothing"
        return line


class Site:
    """A storage and a database on two disks of one kind."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._disks = [Disk(folder, f"{kind}-{name}", kind, 512) for name in ("files", "database")]
        self.storage = self._disks[0].path / "storage"
        self.data = self._disks[1].path / "data"
        lay_database(self.data / "postgres")
        os.sync()
        self.server = self._server()

    def _server(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.data / "postgres", settings=_SETTINGS)

    def start(self) -> None:
        """Start the database, make the tables and the folders that are missing."""
        self.server = self._server()
        self.server.start()

    def cut(self) -> None:
        """The power goes and comes back."""
        for disk in self._disks:
            disk.cut()
        machine.kill_database(self.server.folder)
        # The lock of who started it would keep the disk busy.
        self.server.stop()
        for disk in self._disks:
            disk.remount()
        self.start()

    def remove(self) -> None:
        """Leave nothing."""
        machine.kill_database(self.server.folder)
        self.server.stop()
        for disk in self._disks:
            disk.remove()

    @contextlib.contextmanager
    def archive(self) -> Iterator[tuple[Archive, StoredFiles]]:
        """The archive's parts over this site, as after a start."""
        settings, _ = load(None, {**SETTINGS, "ANNALS_STORAGE__PATH": str(self.storage)}, data=self.data)
        with compose.archive(settings, self.server.dsn(), connections=4) as archive:
            archive.make_first_storage()
            files = archive.files({})
            try:
                yield archive, files
            finally:
                files.close()

    def temp_files(self) -> list[Path]:
        """What lies half received, whoever it belongs to."""
        return [path for path in self.storage.glob(".incoming/*/*") if path.name != "lease"]

    def order(self, writer: Writer, objects: Sequence[Sent], mutant: str = "", **more: object) -> dict[str, int]:
        """Prepare a writer for these objects."""
        return writer.order(
            **{
                "storage": str(self.storage),
                "data": str(self.data),
                "dsn": self.server.dsn(),
                "objects": [[one.study, one.instance, one.salt, one.size] for one in objects],
                "orphans": [],
                "damaged": [],
                "absent": [],
                "mutant": mutant,
                **more,
            }
        )
