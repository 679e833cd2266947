"""Stores objects through the real path in processes that tests kill at a system call.

One process with everything imported forks a child for each order (a JSON line on standard input). The child connects,
says which threads it has, waits for one byte, stores, and says what was acknowledged.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.files import disk
from annals import compose
from annals.compose import Archive
from annals.settings import load
from annals.storage_commands import take_back
from annals.storage_upkeep import moving, reconciling
from domain import storage
from domain.errors import Refused, Unavailable
from domain.event import Actor
from processes.move_storage import Outcome
from processes.receive import Receiver
from tests.durability.objects import PIECE, SOP_CLASS, SYNTAX, Sent
from tests.line_process import told

BY = Actor("device", "WRITER", "127.0.0.1")
SETTINGS = {
    "ANNALS_LIMITS__STORAGE_FREE_MIN": "1048576",
    "ANNALS_LIMITS__STORAGE_SUSPECT_SECONDS": "0.001",
    "ANNALS_LIMITS__DATABASE_TIMEOUT_SECONDS": "2",
    "ANNALS_LIMITS__LOCK_TIMEOUT_SECONDS": "2",
    "ANNALS_LIMITS__MOVED_FILE_GRACE_SECONDS": "0.05",
    "ANNALS_LIMITS__ORPHAN_GRACE_SECONDS": "0.05",
    "ANNALS_STORAGE__OVERWRITE_IMAGE": "true",
}


def store(receiver: Receiver, one: Sent) -> None:
    """Receive one object as the DIMSE door does; after the return it is acknowledged."""
    incoming = receiver.open(SOP_CLASS, one.instance, SYNTAX, BY.name)
    try:
        data = one.data_set()
        for offset in range(0, len(data), PIECE):
            incoming.write(data[offset : offset + PIECE])
        receiver.finish(incoming, by=BY)
    finally:
        incoming.discard()


def _say(*words: object) -> None:
    line = (" ".join(map(str, words)) + "\n").encode()
    try:
        os.write(1, line)
    except OSError:
        # The fault was meant for the archive: a test's errors come once.
        os.write(1, line)


def _carry_out(order: dict[str, Any]) -> None:
    settings, _ = load(None, {**SETTINGS, "ANNALS_STORAGE__PATH": order["storage"]}, data=Path(order["data"]))
    objects = [Sent(*one) for one in order["objects"]]
    with compose.archive(settings, order["dsn"], connections=2) as archive:
        archive.make_first_storage()
        files = archive.files({})
        receiver = archive.receiver(files, {})
        archive.log.head()
        _prepare(order, objects, receiver)
        if order.get("adopt"):
            _forget(archive)
            objects = []
        _mutate(order["mutant"])
        threads = {thread.name: thread.native_id for thread in threading.enumerate()}
        _say("ready", os.getpid(), threads["log-writer"])
        os.read(0, 1)
        if order.get("move"):
            _move(archive, *order["move"])
        if order.get("adopt"):
            adopt(archive, Path(order["storage"]))
        for index, one in enumerate(objects):
            try:
                if order["mutant"] == "answer before fact":
                    _say("stored", index)
                store(receiver, one)
                _say("stored", index)
            except (Refused, Unavailable) as error:
                _say("refused", index, type(error).__name__, error)
        _say("done")
        os._exit(0)


def _move(archive: Archive, source: str, target: str) -> None:
    known = {one.name: one for one in archive.known_storages()}
    for one in moving(archive, known[source], known[target], BY, {}).run():
        assert one.outcome is not Outcome.FAILED, one


def _forget(archive: Archive) -> None:
    """Remove the storage from use: its files stay. The next work on it is not the first of the process."""
    known = _default(archive)
    assert not [one for one in reconciling(archive, known, BY, {}, mend=False, adopt=False).run() if one.done]
    archive.log.change(storage.KIND, known.name, storage.remove, known.name, fold=storage.fold, by=BY)
    compose.catch_up(archive)


def adopt(archive: Archive, folder: Path) -> None:
    """Take a removed storage's folder back, and what lies in it: as 'storage adopt' and 'reconcile --adopt' do."""
    take_back(archive, folder, BY)
    compose.catch_up(archive)
    for one in reconciling(archive, _default(archive), BY, {}, mend=False, adopt=True).run():
        assert one.done == "adopted", one


def _default(archive: Archive) -> storage.Storage:
    return next(one for one in archive.known_storages() if one.name == compose.DEFAULT_STORAGE)


def _prepare(order: dict[str, Any], objects: list[Sent], receiver: Receiver) -> None:
    """Leave on disk what earlier crashes may have left: files without a fact, damaged ones, missing folders."""
    root = Path(order["storage"])
    for index in (*order["orphans"], *order["damaged"]):
        incoming = receiver.open(SOP_CLASS, objects[index].instance, SYNTAX, BY.name)
        incoming.write(objects[index].data_set())
        path = root / incoming.keep().path
        if index in order["damaged"]:
            os.truncate(path, 1000)
            _sync(path)
    for folder in order["absent"]:
        (root / folder).rmdir()
        _sync((root / folder).parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _mutate(mutant: str) -> None:
    """Break one rule on purpose: the checker must see it."""
    is_kind: dict[str, Callable[[int], bool]] = {"no file sync": stat.S_ISREG, "no folder sync": stat.S_ISDIR}
    if skipped := is_kind.get(mutant):
        sync = disk.sync

        def forgetful(descriptor: int) -> None:
            if not skipped(os.fstat(descriptor).st_mode):
                sync(descriptor)

        disk.sync = forgetful


def main() -> None:
    """Fork a child for each order, say how it ended."""
    logging.getLogger("annals").addHandler(logging.NullHandler())
    for line in told():
        pid = os.fork()
        if not pid:
            try:
                _carry_out(json.loads(line))
            except BaseException as error:  # noqa: BLE001 - said to the test, then the child ends at once
                _say("failed", type(error).__name__, error)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        _say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    sys.exit(main())
