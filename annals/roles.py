"""The roles: what each process of the archive does from its start to its end."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping

import uvicorn

from adapters.dimse import requestor
from adapters.dimse.command import C_FIND_RQ, C_GET_RQ, C_MOVE_RQ
from adapters.dimse.find import FindService
from adapters.dimse.identifier import IdentifierReader
from adapters.dimse.listener import Doorkeeper, Listener, open_listening_socket
from adapters.dimse.negotiation import (
    CALLED_AE_NOT_RECOGNISED,
    CALLING_AE_NOT_RECOGNISED,
    AssociationRequest,
    Rejection,
)
from adapters.dimse.presentation import IMPLICIT_LITTLE_ENDIAN, QUERY_RETRIEVE, VERIFICATION, supported_contexts
from adapters.dimse.retrieve import RetrieveService
from adapters.dimse.serve import Server, Service
from adapters.log.wakeups import Wakeups
from annals import __version__, compose
from annals.compose import Archive
from annals.lifeline import Lifeline
from annals.settings import Settings
from annals.supervisor import SOCKET_VARIABLE
from api.health import Check, create_app
from domain.device import DeviceAdded
from domain.errors import AnnalsError, Unavailable
from domain.limits import Limits
from processes.find import Finder
from processes.retrieve import Retriever
from projections import devices
from projections.engine import Reader

_READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool"
_LOG = logging.getLogger("annals.roles")
_POLL_SECONDS = 1.0
_BACKOFF_SECONDS = 0.5
_SWEEP_SECONDS = 60.0
_KNOWN_FOR_SECONDS = 1.0


def dimse(settings: Settings, dsn: str, environment: Mapping[str, str]) -> None:
    """Receive, find and give back until the end, then drain."""
    lifeline = Lifeline(environment)
    with compose.archive(settings, dsn, connections=settings.as_limits().associations_max // 4) as archive:
        files = archive.files(environment)
        known = _KnownDevices(archive)
        retrieve = RetrieveService(
            Retriever(archive.catalogue, archive.limits),
            known.one,
            files,
            archive.log,
            settings.dimse.ae_title,
            archive.limits,
            IdentifierReader(archive.limits),
        )
        services: dict[int, Service] = {
            C_FIND_RQ: FindService(Finder(archive.catalogue, archive.limits), settings.dimse.ae_title, archive.limits),
            C_MOVE_RQ: retrieve.move,
            C_GET_RQ: retrieve.get,
        }
        server = Server(archive.receiver(files, environment), services, archive.log)
        listener = Listener(
            _listening_socket(settings.dimse.host, settings.dimse.store_port, environment),
            Doorkeeper(
                supported_contexts(settings.dimse.accept_unknown_sop_classes),
                _admission(settings, known),
                known.is_address,
                _accept_extended,
            ),
            server,
            archive.limits,
        )
        accepting = threading.Thread(target=listener.serve_forever, name="accept", daemon=True)
        accepting.start()
        threading.Thread(target=_sweep, args=(files.sweep, lifeline.ended), name="sweep", daemon=True).start()
        _LOG.info("DIMSE listens on port %d as %s", settings.dimse.store_port, settings.dimse.ae_title)
        lifeline.wait()
        listener.stop_accepting()
        accepting.join()
        if not listener.drain(archive.limits.drain_timeout_seconds):
            _LOG.error("associations were still open at the end of the drain time")
        files.close()


def reader(settings: Settings, dsn: str, environment: Mapping[str, str]) -> None:
    """Keep the read models up to the log, each in a thread of its own."""
    lifeline = Lifeline(environment)
    wakeups = Wakeups(dsn)
    with compose.archive(settings, dsn, connections=2 * len(compose.PROJECTIONS), patient=True) as archive:
        wakeups.open()
        threads = [
            threading.Thread(target=_read, args=(one, wakeups, lifeline, archive.limits), name="reader", daemon=True)
            for one in archive.readers()
        ]
        for thread in threads:
            thread.start()
        lifeline.wait()
        wakeups.close()
        for thread in threads:
            thread.join(archive.limits.drain_timeout_seconds)


def web(settings: Settings, dsn: str, environment: Mapping[str, str]) -> None:
    """Answer HTTP."""
    lifeline = Lifeline(environment)
    with compose.archive(settings, dsn, connections=4) as archive:
        app = create_app(_checks(archive, environment), __version__)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        listening = _listening_socket(settings.http.host, settings.http.port, environment)
        thread = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
        thread.start()
        lifeline.wait()
        server.should_exit = True
        thread.join(archive.limits.drain_timeout_seconds)


ROLES: Mapping[str, Callable[[Settings, str, Mapping[str, str]], None]] = {
    "dimse": dimse,
    "reader": reader,
    "web": web,
}


def _listening_socket(host: str, port: int, environment: Mapping[str, str]) -> socket.socket:
    if inherited := environment.get(SOCKET_VARIABLE):
        return socket.socket(fileno=int(inherited))
    try:
        return open_listening_socket(host, port, reuse_port=True)
    except OSError as error:
        raise Unavailable(f"port {port} cannot be listened on: {error.strerror}") from None


def _read(one: Reader, wakeups: Wakeups, lifeline: Lifeline, limits: Limits) -> None:
    """Read until the end: at once after a rest, at a pace under load, since facts taken together cost less."""
    prepared = False
    while not lifeline.ended.is_set():
        seen = wakeups.seen()
        started = time.monotonic()
        try:
            if not prepared:
                one.prepare()
                prepared = True
            if taken := one.step():
                if taken < limits.projection_batch_max:
                    wakeups.rest(seen, started + limits.projection_pace_seconds - time.monotonic())
                continue
        except AnnalsError as error:
            _LOG.error("a reader waits: %s", error)
            lifeline.ended.wait(_BACKOFF_SECONDS)
            continue
        wakeups.wait(seen, _POLL_SECONDS)


def _sweep(sweep: Callable[[], int], ended: threading.Event) -> None:
    while True:
        try:
            if removed := sweep():
                _LOG.info("%d half-received objects of ended processes were removed", removed)
        except (AnnalsError, OSError) as error:
            _LOG.error("the storage could not be swept: %s", error)
        if ended.wait(_SWEEP_SECONDS):
            return


def _accept_extended(uid: str, asked: bytes) -> bytes | None:
    """Relational queries are accepted, nothing else of the extended negotiation (PS3.4 C.5.1.1)."""
    return (asked[:1] + b"\0" * (len(asked) - 1)) if uid in QUERY_RETRIEVE and asked else None


def _admission(settings: Settings, known: _KnownDevices) -> Callable[[AssociationRequest], Rejection | None]:
    def admit(request: AssociationRequest) -> Rejection | None:
        if settings.dimse.check_called_ae_title and request.called_ae_title != settings.dimse.ae_title:
            return CALLED_AE_NOT_RECOGNISED
        if not settings.dimse.accept_any and not known.is_title(request.calling_ae_title):
            return CALLING_AE_NOT_RECOGNISED
        return None

    return admit


class _KnownDevices:
    """The devices as they were a moment ago; a device that is away from memory is looked up."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._all: list[DeviceAdded] = []

    def one(self, ae_title: str) -> DeviceAdded | None:
        with self._archive.devices.current() as connection:
            return devices.one(connection, ae_title)

    def is_title(self, ae_title: str) -> bool:
        return any(device.ae_title == ae_title for device in self._recent())

    def is_address(self, address: str) -> bool:
        return any(device.host == address for device in self._recent())

    def _recent(self) -> list[DeviceAdded]:
        with self._lock:
            if time.monotonic() - self._read_at > _KNOWN_FOR_SECONDS:
                self._read_at = time.monotonic()
                with contextlib.suppress(AnnalsError), self._archive.devices.now() as connection:
                    self._all = devices.everyone(connection)
            return self._all


def _checks(archive: Archive, environment: Mapping[str, str]) -> dict[str, Check]:
    files = archive.files(environment)

    def database() -> Mapping[str, object]:
        with archive.database.connection() as connection:
            row = connection.execute(_READ_ONLY).fetchone()
            if row is None or row[0]:
                raise Unavailable("the database is read-only")
        return {}

    def storage() -> Mapping[str, object]:
        files.check_space()
        return {}

    def listener() -> Mapping[str, object]:
        settings = archive.settings.dimse
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else settings.host  # noqa: S104 - compared, not bound
        association = requestor.associate(
            host,
            settings.store_port,
            calling_ae_title=settings.ae_title,
            called_ae_title=settings.ae_title,
            contexts=[(VERIFICATION, (IMPLICIT_LITTLE_ENDIAN,))],
            limits=archive.limits,
        )
        requestor.echo(association)
        association.release()
        return {}

    def reading() -> Mapping[str, object]:
        lag = archive.log.head() - archive.catalogue.position()
        parked = archive.catalogue.parked()
        if lag > archive.limits.lag_alarm_events:
            _LOG.warning("the catalogue lags %d positions behind the log", lag)
        return {"lag": lag, "parked": parked, "degraded": bool(parked) or lag > archive.limits.lag_alarm_events}

    return {"database": database, "storage": storage, "dimse": listener, "catalogue": reading}


def run(name: str, settings: Settings, dsn: str) -> None:
    """Run one role to its end."""
    ROLES[name](settings, dsn, os.environ)
