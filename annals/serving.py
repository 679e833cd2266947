"""Running the archive: the database first, then the ports, then the roles as processes of a supervisor."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from adapters.postgres.migrate import connections_max
from annals import allowance, compose, connections, databases, log_lines, registering, roles, viewing
from annals.listening import bound
from annals.settings import Settings
from annals.supervisor import LIFELINE_VARIABLE, Role, Supervisor
from domain.errors import AnnalsError, InvalidInput
from domain.event import Actor
from processes.licensing import Licensing

_LOG = logging.getLogger("annals.serving")
_SOFTWARE = 70
"""The exit code of sysexits.h for what should not happen."""


def serve(settings: Settings, role: str, cfg: Path | None) -> int:
    """Run the whole archive, or one role of it; the exit code."""
    log_lines.start(settings.log.level)
    if role and role not in roles.NAMES:
        raise InvalidInput([f"--role: {role!a} is not one of {', '.join(roles.NAMES)}"])
    try:
        if role:
            _serve_role(settings, role)
            return 0
        return _serve_all(settings, cfg)
    except AnnalsError:
        raise
    except Exception:  # noqa: BLE001 - said in one line as all else, and the supervisor starts the role again
        _LOG.exception("%s ended by an error that nobody foresaw: please report it", role or "the archive")
        return _SOFTWARE


def _serve_all(settings: Settings, cfg: Path | None) -> int:
    settings.data.mkdir(parents=True, exist_ok=True)
    server = databases.embedded(settings)
    dsn = server.dsn() if server else settings.database.dsn
    sockets: dict[str, socket.socket] = {}
    try:
        if server:
            server.start()
        databases.prepare(dsn)
        if (most := connections_max(dsn)) < (together := connections.together(settings)):
            said = (
                "the database takes %d connections, and %d may be needed: raise max_connections or run fewer processes"
            )
            _LOG.warning(said, most, together)
        with compose.archive(settings, dsn, connections=2, patient=True) as archive:
            archive.make_first_storage()
            for one in archive.readers():
                one.prepare()
            viewing.prepare_derived(archive)
            registering.make_demo_certificates(archive, Actor("system", "first start"))
            _tell_of_trial(allowance.licensing(archive))
        for name, host, port in _listeners(settings):
            sockets[name] = bound(host, port, settings.as_limits().port_wait_seconds)
        return Supervisor(
            _roles(settings, cfg, sockets),
            {**os.environ, "ANNALS_DATABASE__DSN": dsn},
            settings.as_limits().drain_timeout_seconds,
            server.check if server else lambda _is_stopping: None,
        ).run()
    finally:
        for listening in sockets.values():
            listening.close()
        if server:
            server.stop()


def _tell_of_trial(licensing: Licensing) -> None:
    what = licensing.allowed()
    if what.studies_max is not None:
        said = "this is a trial with %s clients and %s studies: install a licence for product code %s"
        _LOG.warning(said, what.clients_max, what.studies_max, licensing.product_code())


def _serve_role(settings: Settings, role: str) -> None:
    if LIFELINE_VARIABLE in os.environ:
        roles.run(role, settings, settings.database.dsn)
        return
    with databases.for_command(settings) as dsn:
        roles.run(role, settings, dsn)


def _listeners(settings: Settings) -> Iterator[tuple[str, str, int]]:
    for name, port in settings.dimse_ports.items():
        yield name, settings.dimse.host, port
    yield "http", settings.http.host, settings.http.port
    if settings.dicomweb.enabled:
        yield "dicomweb", settings.dicomweb.host, settings.dicomweb.port


def _roles(settings: Settings, cfg: Path | None, sockets: Mapping[str, socket.socket]) -> list[Role]:
    common = ("serve", "--data", str(settings.data), *(("--cfg", str(cfg)) if cfg else ()), "--role")
    descriptors = {name: {name: listening.fileno()} for name, listening in sockets.items()}
    dimse = {name: sockets[name].fileno() for name in settings.dimse_ports}
    receivers = [
        Role(f"dimse {number}", (*common, "dimse"), dimse) for number in range(1, settings.dimse_processes + 1)
    ]
    web = [
        Role(f"dicomweb {number}", (*common, "dicomweb"), descriptors["dicomweb"])
        for number in range(1, settings.dicomweb_processes + 1)
        if "dicomweb" in descriptors
    ]
    return [
        Role("reader", (*common, "reader"), drain_order=1),
        *receivers,
        Role("web", (*common, "web"), descriptors["http"]),
        *web,
        *([Role("worker", (*common, "worker"), drain_order=0)] if settings.worker.enabled else []),
    ]
