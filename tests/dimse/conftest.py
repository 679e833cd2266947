"""A listener with the real upper layer and services, its files and log real, in this process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.dicom.index import Indexer
from adapters.dimse.listener import Doorkeeper, Listener, open_listening_socket
from adapters.dimse.presentation import supported_contexts
from adapters.dimse.serve import Server
from adapters.files.failpoints import failpoints
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.log.log import EventLog
from annals.compose import FACTS
from domain.instance import OnDuplicate
from domain.limits import Limits
from processes.receive import Receiver

LIMITS = Limits(
    storage_free_min=1,
    pdu_header_timeout_seconds=1.0,
    pdu_timeout_seconds=1.0,
    association_idle_timeout_seconds=3.0,
    dimse_timeout_seconds=2.0,
    send_timeout_seconds=1.0,
    associations_max=12,
    associations_per_address_max=12,
    unknown_peer_associations_max=8,
    object_size_max=1024 * 1024,
    sequence_depth_max=64,
)


@dataclass
class Door:
    """The listener, and what it may not leave behind."""

    port: int
    root: Path
    log: EventLog
    listener: Listener
    known: set[str] = field(default_factory=set)

    def temp_files(self) -> list[Path]:
        return [path for path in (self.root / ".incoming").glob("*/*") if path.name != "lease"]

    def objects(self) -> int:
        return len(list(self.root.glob("??/?/*.dcm")))


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def connections() -> int:
    """Sockets that this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return count


@pytest.fixture(scope="module")
def door_dsn(postgres_server: object) -> Iterator[str]:
    from tests.conftest import fresh_database

    with fresh_database(postgres_server) as dsn:  # type: ignore[arg-type]
        yield dsn


@pytest.fixture(scope="module")
def door(door_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    root = tmp_path_factory.mktemp("door") / "storage"
    log = EventLog(door_dsn, FACTS, LIMITS)
    log.open()
    files = StoredFiles([Storage.open(root, "default", LIMITS)], LIMITS, Indexer(LIMITS))
    receiver = Receiver(log, files, OnDuplicate.IGNORE, failpoints({}))
    listening = open_listening_socket("127.0.0.1", 0)
    known: set[str] = set()
    keeper = Doorkeeper(supported_contexts(True), lambda _: None, known.__contains__)
    listener = Listener(listening, keeper, Server(receiver, {}, log), LIMITS)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    port = listening.getsockname()[1]
    thread.start()
    yield Door(port, root, log, listener, known)
    listener.stop_accepting()
    thread.join(10)
    assert listener.drain(10)
    files.close()
    log.close()


@pytest.fixture(autouse=True)
def nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test the threads and connections are those from before, and no temp file is left."""
    if "door" not in request.fixturenames:
        yield
        return
    door: Door = request.getfixturevalue("door")
    until(lambda: not door.temp_files())
    threads, sockets = threading.active_count(), connections()
    yield
    until(lambda: threading.active_count() <= threads)
    until(lambda: connections() <= sockets + 2)
    until(lambda: not door.temp_files())
