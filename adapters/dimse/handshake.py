"""TLS with a peer that has connected, before it asks for an association."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from adapters.dimse.errors import AssociationEnded, ConnectionFailed
from adapters.dimse.wire import let_read
from adapters.tls.faults import tls_fault
from domain.limits import Limits


def shake_hands(context: ssl.SSLContext, connection: socket.socket, limits: Limits) -> ssl.SSLSocket:
    """The connection, behind TLS from here on.

    Raises :class:`ConnectionFailed` with the reason; :class:`AssociationEnded` or OSError for a peer that closes again
    without a word, as one that only looks whether the port is open.
    """
    connection.settimeout(limits.tls_handshake_timeout_seconds)
    try:
        if not connection.recv(1, socket.MSG_PEEK):
            raise AssociationEnded("the peer closed the connection")
    except TimeoutError as error:
        raise ConnectionFailed(tls_fault(error)) from error
    try:
        # A handshake that fails closes its socket: the alert that says why could not be read.
        with connection.dup() as kept:
            try:
                return context.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    let_read(kept, time.monotonic() + limits.artim_timeout_seconds)
                raise
    except OSError as error:
        raise ConnectionFailed(tls_fault(error)) from error
