"""The DIMSE door: accepts connections, bounds them, negotiates and hands established associations on (D19)."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.dimse.association import Association, Parties
from adapters.dimse.errors import AssociationEnded
from adapters.dimse.negotiation import (
    APPLICATION_CONTEXT,
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    LOCAL_LIMIT_EXCEEDED,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    AssociationRequest,
    MalformedAssociate,
    Rejection,
    SupportedContext,
    agree,
    parse_request,
)
from adapters.dimse.wire import ASSOCIATE_RQ, INVALID_PDU_PARAMETER, UNEXPECTED_PDU, Wire
from domain.limits import Limits

_LOG = logging.getLogger("annals.dimse")
_BACKLOG = 256
_PATIENCE_SECONDS = 0.001
_PATIENT_WITH = 8


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


@dataclass(slots=True)
class Doorkeeper:
    """What the listener asks before it lets a peer in."""

    supported: Callable[[str], SupportedContext | None]
    admit: Callable[[AssociationRequest], Rejection | None]
    is_known_address: Callable[[str], bool] = lambda _: False
    accept_extended: Callable[[str, bytes], bytes | None] = lambda _uid, _asked: None
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class _Places:
    """How many connections there are: in all, of unknown peers, and for each address."""

    limits: Limits
    lock: threading.Lock = field(default_factory=threading.Lock)
    by_address: Counter[str] = field(default_factory=Counter)
    unknown: int = 0

    def take(self, address: str, known: bool) -> bool:
        with self.lock:
            if self.by_address.total() >= self.limits.associations_max:
                return False
            if self.by_address[address] >= self.limits.associations_per_address_max:
                return False
            if not known and self.unknown >= self.limits.unknown_peer_associations_max:
                return False
            self.by_address[address] += 1
            self.unknown += not known
            return True

    def leave(self, address: str, known: bool) -> None:
        with self.lock:
            self.by_address[address] -= 1
            self.unknown -= not known
            if not self.by_address[address]:
                del self.by_address[address]


class Listener:
    """Serves one listening socket; several processes may serve the same one."""

    def __init__(
        self, listening: socket.socket, keeper: Doorkeeper, serve: Callable[[Association], None], limits: Limits
    ) -> None:
        self._listening = listening
        self._listening.setblocking(False)
        self._keeper = keeper
        self._serve = serve
        self._limits = limits
        self._places = _Places(limits)
        self._active: set[Association] = set()
        self._lock = threading.Condition()
        self._threads = 0
        self._stop_read, self._stop_write = os.pipe()
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._stopping = False

    def serve_forever(self) -> None:
        """Accept until :meth:`stop_accepting`."""
        waiting = select.poll()
        waiting.register(self._listening.fileno(), select.POLLIN)
        waiting.register(self._stop_read, select.POLLIN)
        while not self._stopping:
            waiting.poll()
            if self._stopping:
                break
            # Of several processes at one socket the one with the least to do is the first to accept.
            time.sleep(min(self._threads, _PATIENT_WITH) * _PATIENCE_SECONDS)
            self._accept()
        self._listening.close()

    def stop_accepting(self) -> None:
        """Leave the listening socket; established associations go on."""
        self._stopping = True
        os.write(self._stop_write, b"x")

    def drain(self, timeout_seconds: float) -> bool:
        """Let running operations end and close the rest; whether all ended in time."""
        with self._lock:
            for association in self._active:
                association.drain()
            return self._lock.wait_for(lambda: self._threads == 0, timeout_seconds)

    def _accept(self) -> None:
        try:
            connection, peer = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._refuse_for_want_of_descriptors()
                return
            raise
        address = peer[0]
        known = self._keeper.is_known_address(address)
        if not self._places.take(address, known):
            _LOG.warning("a connection from %s is refused: too many are open", address)
            _reject(connection)
            return
        with self._lock:
            self._threads += 1
        try:
            threading.Thread(target=self._one, args=(connection, address, known), daemon=True).start()
        except RuntimeError:
            _LOG.error("no thread for a connection from %s", address)
            self._left(address, known)
            _reject(connection)

    def _refuse_for_want_of_descriptors(self) -> None:
        """Without a descriptor nothing can be accepted and the queue would spin: a spare one is lent for refusing."""
        _LOG.error("no file descriptor is free: a connection is refused")
        os.close(self._spare)
        with contextlib.suppress(OSError):
            connection, _ = self._listening.accept()
            _reject(connection)
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _left(self, address: str, known: bool) -> None:
        self._places.leave(address, known)
        with self._lock:
            self._threads -= 1
            self._lock.notify_all()

    def _one(self, connection: socket.socket, address: str, known: bool) -> None:
        try:
            if self._keeper.tls:
                connection.settimeout(self._limits.tls_handshake_timeout_seconds)
                connection = self._keeper.tls.wrap_socket(connection, server_side=True)
            wire = Wire(connection, self._limits)
            if association := self._negotiate(wire, address):
                self._run(association)
        except AssociationEnded as ended:
            _LOG.info("a connection from %s ended before an association: %s", address, ended)
        except (OSError, ssl.SSLError) as error:
            _LOG.info("a connection from %s failed: %s", address, type(error).__name__)
        except Exception:  # noqa: BLE001 - one association must never end the process
            _LOG.exception("a connection from %s ended in an unforeseen way", address)
        finally:
            connection.close()
            self._left(address, known)

    def _run(self, association: Association) -> None:
        with self._lock:
            self._active.add(association)
        try:
            if self._stopping:
                association.drain()
            self._serve(association)
        finally:
            with self._lock:
                self._active.discard(association)
            association.wire.close()

    def _negotiate(self, wire: Wire, address: str) -> Association | None:
        kind, body = wire.read(self._limits.pdu_header_timeout_seconds)
        if kind != ASSOCIATE_RQ:
            wire.abort(UNEXPECTED_PDU, "the first PDU is no A-ASSOCIATE-RQ")
        try:
            request = parse_request(bytes(body), address, self._limits)
        except MalformedAssociate as error:
            wire.abort(INVALID_PDU_PARAMETER, str(error))
            raise
        if rejection := self._refusal(request):
            _LOG.warning(
                "association of %a at %s to %a rejected %d/%d/%d",
                request.calling_ae_title,
                address,
                request.called_ae_title,
                rejection.result,
                rejection.source,
                rejection.reason,
            )
            wire.write([rejection.encode()])
            wire.linger()
            return None
        agreement = agree(request, self._keeper.supported, self._keeper.accept_extended, self._limits)
        wire.write([agreement.pdu])
        wire.established()
        return Association(
            wire,
            Parties(
                request.calling_ae_title,
                request.called_ae_title,
                address,
                request.implementation_class_uid,
                request.implementation_version_name,
            ),
            agreement.contexts,
            request.max_pdu,
            self._limits,
            agreement.extended,
        )

    def _refusal(self, request: AssociationRequest) -> Rejection | None:
        if not request.protocol_version & 1:
            return PROTOCOL_VERSION_NOT_SUPPORTED
        if request.application_context != APPLICATION_CONTEXT:
            return APPLICATION_CONTEXT_NOT_SUPPORTED
        return self._keeper.admit(request)


def _reject(connection: socket.socket) -> None:
    """Say that it is a passing lack of places, without waiting for the peer."""
    with contextlib.suppress(OSError):
        connection.setblocking(False)
        connection.send(LOCAL_LIMIT_EXCEEDED.encode())
        connection.shutdown(socket.SHUT_WR)
    connection.close()
