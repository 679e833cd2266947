"""Running the archive: the database first, then the ports, then the roles as processes of a supervisor."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from adapters.dimse.listener import open_listening_socket
from annals import compose, log_lines, roles
from annals.settings import Settings
from annals.supervisor import LIFELINE_VARIABLE, Role, Supervisor
from domain.errors import InvalidInput, Unavailable

_BIND_SECONDS = 10.0


def serve(settings: Settings, role: str, cfg: Path | None) -> int:
    """Run the whole archive, or one role of it."""
    log_lines.start(settings.log.level)
    if role and role not in roles.ROLES:
        raise InvalidInput([f"--role: {role!a} is not one of {', '.join(roles.ROLES)}"])
    if role:
        _serve_role(settings, role)
        return 0
    settings.data.mkdir(parents=True, exist_ok=True)
    server = compose.embedded(settings)
    dsn = settings.database.dsn
    if server:
        server.start()
        dsn = server.dsn()
    sockets: list[socket.socket] = []
    try:
        compose.prepare_database(dsn)
        with compose.archive(settings, dsn, connections=2, patient=True) as archive:
            for one in archive.readers():
                one.prepare()
        for host, port in (
            (settings.dimse.host, settings.dimse.store_port),
            (settings.http.host, settings.http.port),
        ):
            sockets.append(_bound(host, port))
        return Supervisor(
            _roles(settings, cfg, *sockets),
            {**os.environ, "ANNALS_DATABASE__DSN": dsn},
            settings.as_limits().drain_timeout_seconds,
            server.check if server else lambda: None,
        ).run()
    finally:
        for listening in sockets:
            listening.close()
        if server:
            server.stop()


def _serve_role(settings: Settings, role: str) -> None:
    if LIFELINE_VARIABLE in os.environ:
        roles.run(role, settings, settings.database.dsn)
        return
    with compose.database_for_command(settings) as dsn:
        roles.run(role, settings, dsn)


def _roles(settings: Settings, cfg: Path | None, dimse: socket.socket, http: socket.socket) -> list[Role]:
    common = ("serve", "--data", str(settings.data), *(("--cfg", str(cfg)) if cfg else ()), "--role")
    receivers = [
        Role(f"dimse {number}", (*common, "dimse"), dimse.fileno()) for number in range(1, settings.dimse_processes + 1)
    ]
    return [
        Role("reader", (*common, "reader"), drain_order=1),
        *receivers,
        Role("web", (*common, "web"), http.fileno()),
    ]


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket; a predecessor that was killed may need a moment to let go of the port."""
    deadline = time.monotonic() + _BIND_SECONDS
    while True:
        try:
            return open_listening_socket(host, port)
        except OSError as error:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"port {port} cannot be listened on ({error.strerror}): free it, or set another"
                ) from None
            time.sleep(0.1)
