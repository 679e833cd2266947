"""A listener with the real upper layer and services, its files and log real, in this process."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.dicom.index import Indexer
from adapters.dicom.sop_classes import storable_sop_classes
from adapters.dimse.answers import SUCCESS
from adapters.dimse.association import Association
from adapters.dimse.command import C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, Command
from adapters.dimse.listener import Doorkeeper, Listener
from adapters.dimse.places import Places
from adapters.dimse.presentation import supported_contexts
from adapters.dimse.serve import Server, Service
from adapters.files.failpoints import failpoints, off
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.log.log import EventLog
from annals.compose import FACTS
from annals.listening import open_listening_socket
from domain.instance import OnDuplicate
from domain.limits import KIB, Limits
from processes.ports import Failpoints
from processes.receive import Receiver

LIMITS = Limits(
    storage_free_min=1,
    tls_handshake_timeout_seconds=1.0,
    pdu_header_timeout_seconds=1.0,
    pdu_timeout_seconds=1.0,
    pdu_rate_min=256 * KIB,
    association_idle_timeout_seconds=3.0,
    dimse_timeout_seconds=2.0,
    send_timeout_seconds=1.0,
    associations_max=12,
    associations_per_address_max=12,
    unknown_peer_associations_max=8,
    unknown_peer_associations_per_address_max=6,
    pdu_max=256 * KIB,
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
    known: set[str]

    def temp_files(self) -> list[Path]:
        return [path for path in (self.root / ".incoming").glob("*/*") if path.name != "lease"]

    def objects(self) -> int:
        return len(list(self.root.glob("??/?/*.dcm")))


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
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


@contextmanager
def open_door(
    dsn: str,
    root: Path,
    limits: Limits = LIMITS,
    tls: ssl.SSLContext | None = None,
    failpoint: Failpoints = off,
    places: Places | None = None,
) -> Iterator[Door]:
    log = EventLog(dsn, FACTS, limits)
    log.open()
    files = StoredFiles([Storage.open(root, "default", limits)], limits, Indexer(limits), failpoint)
    receiver = Receiver(log, files, OnDuplicate.IGNORE, failpoints({}), storable_sop_classes(accept_unknown=True))
    listening = open_listening_socket("127.0.0.1", 0)
    known: set[str] = set()
    keeper = Doorkeeper(
        supported_contexts(True), lambda _: None, known.__contains__, tls=(lambda: tls) if tls else None
    )
    services: dict[int, Service] = dict.fromkeys((C_FIND_RQ, C_MOVE_RQ, C_GET_RQ), nothing_found)
    listener = Listener(listening, keeper, Server(receiver, services, log), limits, places)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    port = listening.getsockname()[1]
    thread.start()
    yield Door(port, root, log, listener, known)
    listener.stop_accepting()
    thread.join(60)
    assert listener.drain(60)
    files.close()
    log.close()


def nothing_found(association: Association, context_id: int, request: Command) -> None:
    """A query service that knows its identifier and finds nothing."""
    association.skip_data_set()
    association.send(context_id, request.response(SUCCESS))


@pytest.fixture(scope="module")
def door(door_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(door_dsn, tmp_path_factory.mktemp("door") / "storage") as opened:
        yield opened


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
