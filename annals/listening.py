"""Listening sockets: made once by the supervisor and inherited by the processes that share a port."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from annals.supervisor import SOCKETS_VARIABLE
from domain.errors import Unavailable

_BACKLOG = 256


def open_listening_socket(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket; with ``reuse_port`` other processes may listen beside this one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def bound(host: str, port: int, wait_seconds: float) -> socket.socket:
    """A listening socket; a predecessor that was killed may need a moment to let go of the port."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return open_listening_socket(host, port)
        except OSError as error:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"port {port} cannot be listened on ({error.strerror}): free it, or set another"
                ) from None
            time.sleep(0.1)


def inherited_or_own(name: str, host: str, port: int, environment: Mapping[str, str]) -> socket.socket:
    """The supervisor's socket of this name; a role that runs without one listens itself."""
    handed_down = dict(one.split(":") for one in environment.get(SOCKETS_VARIABLE, "").split())
    if name in handed_down:
        return socket.socket(fileno=int(handed_down[name]))
    try:
        return open_listening_socket(host, port, reuse_port=True)
    except OSError as error:
        raise Unavailable(f"port {port} cannot be listened on: {error.strerror}") from None
