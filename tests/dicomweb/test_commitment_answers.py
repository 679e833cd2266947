"""When a storage commitment is answered, and whose it is told, on a real log and a disk that waits (C5.9)."""

from __future__ import annotations

import asyncio
import json
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier, Literal

from adapters.log.log import EventLog
from adapters.postgres.embedded import EmbeddedPostgres
from annals.compose import FACTS
from api import problems
from api.bounds import Bounds
from api.dicomweb import commitments
from api.dicomweb.router import mount
from api.origin import Origin
from domain import instance
from domain.commitment import CommitmentRequested
from domain.errors import Unavailable
from domain.event import Actor
from domain.instance import Content, InstanceStored
from domain.limits import Limits
from processes.commit_storage import Commitments
from processes.storages_by_log import StoragesByLog
from tests.archive.conftest import until
from tests.dicom.encoding import CT_CLASS
from tests.dicomweb.test_commitment_modules import sequence, sop
from tests.edges import edges

BY = Actor("device", "WS", "192.0.2.7")
LIMITS = Limits(
    commitment_answer_seconds=0.5,
    commitment_decisions_max=1,
    database_timeout_seconds=2.0,
    commitment_body_max=1_000,
    commitment_at_once_max=3,
)
ONE = {"00081199": sequence(sop("1.1"))}


@dataclass
class Disk:
    """Whole files, which are read when ``is_free``; each read may meet ``trouble``."""

    is_free: threading.Event = field(default_factory=threading.Event)
    trouble: Exception | None = None
    read: int = 0

    def fault_of(self, _content: Content) -> str:
        assert self.is_free.wait(60)
        self.read += 1
        if self.trouble:
            raise self.trouble
        return ""


@dataclass
class Site:
    room: Commitments
    disk: Disk

    def __post_init__(self) -> None:
        app = FastAPI()
        mount(app, commitments.create_router(self.room, LIMITS, lambda _request, _right: BY), "")
        problems.install(app)
        self._app = Bounds(app, Origin(), LIMITS)

    def keep(self, *instances: str) -> None:
        change = self.room.log.change
        for uid in instances:
            stored = InstanceStored(uid, CT_CLASS, "1.8", "1.9", Content("d", 1, 0, "1.2", "default", "p"), "", "")
            change(instance.KIND, uid, lambda _, stored=stored: [stored], fold=instance.fold, by=BY)  # type: ignore[misc]

    def post(
        self, uid: str, size: int = 0, *, in_pieces: bool = False, asked: dict[str, Any] | None = None
    ) -> httpx.Response:
        """Ask; the body is filled up to a size, and in pieces its length is not told."""
        body = json.dumps(asked or ONE).encode().ljust(size)
        return self._said("POST", uid, {"Content-Type": "application/dicom+json"}, _pieces(body) if in_pieces else body)

    def get(self, uid: str) -> httpx.Response:
        return self._said("GET", uid, {}, b"")

    def _said(
        self, method: str, uid: str, headers: dict[str, str], body: bytes | AsyncIterator[bytes]
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=("192.0.2.7", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.request(method, f"/commitment-requests/{uid}", headers=headers, content=body)

        return asyncio.run(ask())


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for first in range(0, len(body), 100):
        yield body[first : first + 100]


@pytest.fixture
def site(dsn: str) -> Iterator[Site]:
    log = EventLog(dsn, FACTS, LIMITS)
    log.open()
    disk = Disk()
    # FastAPI remembers every endpoint for ever, and what that refers to.
    known: EventLog = weakref.proxy(log)
    made = Site(Commitments(known, disk, StoragesByLog(known), lambda: datetime.now(UTC), LIMITS), disk)
    made.keep("1.1")
    yield made
    disk.is_free.set()
    log.close()


def test_C5_9_who_asks_waits_no_longer_than_is_useful_and_finds_the_result_later(site: Site) -> None:
    """13.4.3.1, 202: "The origin server has not finished processing [...] yet; there is no payload"."""
    first, second = site.post("2.1"), site.post("2.2")
    for answer in (first, second, site.get("2.1"), site.get("2.2")):
        assert (answer.status_code, answer.content, answer.headers["Retry-After"]) == (202, b"", "1")
    site.disk.is_free.set()
    until(lambda: site.get("2.1").status_code == 200, 60, "what was begun is decided")
    assert site.get("2.1").json() == ONE
    # The second had not begun when nobody waited for it any more: the worker decides it.
    assert site.get("2.2").status_code == 202
    site.room.decide("2.2")
    assert site.get("2.2").json() == ONE
    assert site.disk.read == 2


def test_C5_9_what_was_taken_on_is_not_refused_where_it_cannot_be_decided_now(site: Site) -> None:
    site.disk.is_free.set()
    site.disk.trouble = Unavailable("the database does not answer")
    assert site.post("2.3").status_code == 202
    assert site.post("2.3").status_code == 409
    site.disk.trouble = None
    site.room.decide("2.3")
    assert site.get("2.3").json() == ONE


@contextmanager
def away(server: EmbeddedPostgres, dsn: str) -> Iterator[None]:
    """Nobody can use the database."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        name = conninfo_to_dict(dsn)["dbname"]
        for allow in (False, True):
            connection.execute(
                SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(Identifier(str(name)), Literal(allow))
            )
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            if not allow:
                yield


def test_C5_9_without_the_database_it_is_503_and_then_it_goes_on(
    site: Site, postgres_server: EmbeddedPostgres, dsn: str
) -> None:
    """Table 13.4.3-1, 503: "The origin server cannot handle the storage commitment request"."""
    site.disk.is_free.set()
    with away(postgres_server, dsn):
        for answer in (site.post("2.6"), site.get("2.6")):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert answer.headers["Content-Type"] == problems.MEDIA_TYPE
    until(lambda: site.post("2.7").status_code in (200, 202, 409), 60, "it goes on")
    site.room.decide("2.7")
    assert site.get("2.7").json() == ONE


def test_C5_9_what_a_device_asked_for_by_DIMSE_is_told_to_it_alone(site: Site) -> None:
    site.disk.is_free.set()
    site.room.request(CommitmentRequested("2.4", "CT1", "ANNALS", {"1.1": CT_CLASS}), BY)
    site.room.decide("2.4")
    assert site.get("2.4").status_code == site.get("2.5").status_code == 404
    assert site.get("2.4").json()["detail"] == site.get("2.5").json()["detail"]
    assert site.post("2.4").status_code == 409


@pytest.mark.parametrize("in_pieces", [False, True], ids=["of told length", "in pieces"])
@edges
def test_D21_B45_a_request_past_its_size_is_413(site: Site, off: int, in_pieces: bool) -> None:
    site.disk.is_free.set()
    answer = site.post("2.8", LIMITS.commitment_body_max + off, in_pieces=in_pieces)
    assert answer.status_code in ((200, 202) if off <= 0 else (413,)), answer.text


@edges
def test_D21_C5_9_so_many_instances_are_decided_while_one_waits_and_more_are_left_to_the_worker(
    site: Site, off: int
) -> None:
    site.disk.is_free.set()
    instances = [f"1.1.{number}" for number in range(LIMITS.commitment_at_once_max + off)]
    site.keep(*instances)
    answer = site.post("2.9", asked={"00081199": sequence(*map(sop, instances))})
    assert answer.status_code in ((200, 202) if off <= 0 else (202,)), answer.text
    if off <= 0:
        until(lambda: site.disk.read == len(instances), 60, "their files are read")
    else:
        assert site.disk.read == 0
