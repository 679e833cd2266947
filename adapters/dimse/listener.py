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
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from adapters.dimse.agreed import Parties
from adapters.dimse.associate_request import AssociationRequest, MalformedAssociate, parse_request
from adapters.dimse.association import Association
from adapters.dimse.errors import AssociationEnded, ConnectionFailed, GivenUp
from adapters.dimse.handshake import shake_hands
from adapters.dimse.negotiation import (
    APPLICATION_CONTEXT,
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    CALLED_AE_NOT_RECOGNISED,
    CALLING_AE_NOT_RECOGNISED,
    LOCAL_LIMIT_EXCEEDED,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    Rejection,
    SupportedContext,
    agree,
)
from adapters.dimse.places import Places
from adapters.dimse.wire import ABORT, ASSOCIATE_RQ, INVALID_PDU_PARAMETER, UNEXPECTED_PDU, Wire
from adapters.tls.contexts import verified_chain
from domain.address import normal_host
from domain.device import ae_title_fault
from domain.errors import Unavailable
from domain.limits import Limits

_LOG = logging.getLogger("annals.dimse")
_PATIENCE_SECONDS = 0.001
_PATIENT_WITH = 8
_BREATH_SECONDS = 0.02
_REFUSED_KEPT = 32
# A TLS peer reads no A-ASSOCIATE-RJ before a handshake, which is what there is no place for: alert internal_error.
_TLS_REFUSAL = b"\x15\x03\x03\x00\x02\x02\x50"
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


def _log_rejection(rejection: Rejection, address: str, calling: str, called: str) -> None:
    _LOG.warning("association of %a at %s to %a rejected %s: %s", calling, address, called, rejection, rejection.why)


def _log_stranger(address: str, why: str) -> None:
    _LOG.warning("a connection from %s is refused: %s", address, why)


@dataclass(slots=True)
class Doorkeeper:
    """What the listener asks before it lets a peer in."""

    supported: Callable[[str], SupportedContext | None]
    admit: Callable[[AssociationRequest], Rejection | None]
    is_known_address: Callable[[str], bool] = lambda _: False
    accept_extended: Callable[[str, bytes], bytes | None] = lambda _uid, _asked: None
    note: Callable[[Rejection, str, str, str], None] = _log_rejection
    """Told of each rejection: which, of which address, and its calling and called AE titles. May not wait."""
    tls: Callable[[], ssl.SSLContext] | None = None
    """The context for the next connection, on a port that speaks TLS; raises Unavailable where there is none."""
    note_stranger: Callable[[str, str], None] = _log_stranger
    """Told of each peer that was given up before it asked for an association: its address, and why. May not wait."""
    preferred: Callable[[str], str] = lambda _calling: ""
    """The transfer syntax in which a calling AE title prefers to be sent objects; empty for its own order.

    Asked only of those who want to be sent objects: it may look into the database."""


class Listener:
    """Serves one listening socket; several processes may serve the same one, several listeners share ``places``."""

    def __init__(
        self,
        listening: socket.socket,
        keeper: Doorkeeper,
        serve: Callable[[Association], None],
        limits: Limits,
        places: Places | None = None,
    ) -> None:
        self._listening = listening
        self._listening.setblocking(False)
        self._keeper = keeper
        self._serve = serve
        self._limits = limits
        self._refusal_words = _TLS_REFUSAL if keeper.tls else LOCAL_LIMIT_EXCEEDED.encode()
        self._places = places or Places(limits)
        self._active: set[Association] = set()
        self._lock = threading.Condition()
        self._threads = 0
        self._stop_read, self._stop_write = os.pipe()
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)
        self._refused: deque[tuple[float, socket.socket]] = deque()
        self._stopping = False

    def serve_forever(self) -> None:
        """Accept until :meth:`stop_accepting`."""
        waiting = select.poll()
        waiting.register(self._listening.fileno(), select.POLLIN)
        waiting.register(self._stop_read, select.POLLIN)
        refused = False
        while not self._stopping:
            waiting.poll(self._limits.artim_timeout_seconds * 1000 if self._refused else None)
            if self._stopping:
                break
            self._let_go(time.monotonic() - self._limits.artim_timeout_seconds)
            if not refused:
                # Of several processes at one socket the one with the least to do is the first to accept.
                time.sleep(min(self._threads, _PATIENT_WITH) * _PATIENCE_SECONDS)
            refused = not self._accept()
        self._let_go(time.monotonic())
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

    def _accept(self) -> bool:
        """Take the next connection; False where it had to be refused: others may wait behind it."""
        try:
            connection, peer = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return True
        except OSError as error:
            if error.errno in _NO_DESCRIPTOR:
                self._refuse_for_want_of_descriptors()
            else:
                # Linux hands on what befell the new connection (accept(2)); the listening socket is as it was.
                _LOG.warning("a connection could not be accepted: %s", error.strerror)
                time.sleep(_BREATH_SECONDS)
            return False
        address = normal_host(peer[0]) if ":" in peer[0] else peer[0]
        known = self._keeper.is_known_address(address)
        if not self._places.take(address, known):
            self._keeper.note(LOCAL_LIMIT_EXCEEDED, address, "", "")
            self._refuse(connection)
            return False
        with self._lock:
            self._threads += 1
        try:
            threading.Thread(target=self._one, args=(connection, address, known), daemon=True).start()
        except RuntimeError:
            _LOG.error("no thread for a connection from %s", address)
            self._left(address, known)
            self._refuse(connection)
            return False
        return True

    def _refuse(self, connection: socket.socket) -> None:
        """Say that there is no place now, and leave the peer time to read it: a close at once could take it back."""
        _reject(connection, self._refusal_words)
        self._refused.append((time.monotonic(), connection))
        while len(self._refused) > _REFUSED_KEPT:
            self._refused.popleft()[1].close()

    def _let_go(self, before: float) -> None:
        while self._refused and self._refused[0][0] <= before:
            self._refused.popleft()[1].close()

    def _refuse_for_want_of_descriptors(self) -> None:
        """Without a descriptor nothing can be accepted and the queue would spin: a spare one is lent for refusing."""
        _LOG.error("no file descriptor is free: a connection is refused")
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
            with contextlib.suppress(OSError), self._listening.accept()[0] as connection:
                _reject(connection, self._refusal_words)
        else:
            time.sleep(_BREATH_SECONDS)
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _left(self, address: str, known: bool) -> None:
        self._places.leave(address, known)
        with self._lock:
            self._threads -= 1
            self._lock.notify_all()

    def _one(self, connection: socket.socket, address: str, known: bool) -> None:
        try:
            peer_certificates: tuple[bytes, ...] = ()
            if self._keeper.tls:
                connection = shake_hands(self._keeper.tls(), connection, self._limits)
                peer_certificates = verified_chain(connection)
            wire = Wire(connection, self._limits, awaits_request=True)
            if association := self._negotiate(wire, address, peer_certificates):
                self._run(association)
        except ConnectionFailed as failed:
            self._keeper.note_stranger(address, f"TLS: {failed}")
        except (GivenUp, Unavailable) as error:
            self._keeper.note_stranger(address, str(error))
        except (AssociationEnded, OSError) as error:
            _LOG.debug("a connection from %s ended before an association: %s", address, error)
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

    def _negotiate(self, wire: Wire, address: str, peer_certificates: tuple[bytes, ...]) -> Association | None:
        kind, body = wire.read(self._limits.pdu_header_timeout_seconds)
        if kind == ABORT:
            wire.close()
            raise AssociationEnded("the peer aborted")
        if kind != ASSOCIATE_RQ:
            wire.abort(UNEXPECTED_PDU, "the first PDU is no A-ASSOCIATE-RQ")
        try:
            request = replace(parse_request(bytes(body), address, self._limits), peer_certificates=peer_certificates)
        except MalformedAssociate as error:
            wire.abort(INVALID_PDU_PARAMETER, str(error))
            raise
        if rejection := self._refusal(request):
            self._keeper.note(rejection, address, request.calling_ae_title, request.called_ae_title)
            wire.end_with(rejection.encode())
            return None
        preferred = self._keeper.preferred(request.calling_ae_title) if request.wants_objects else ""
        agreement = agree(request, self._keeper.supported, self._keeper.accept_extended, self._limits, preferred)
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
            preferred,
        )

    def _refusal(self, request: AssociationRequest) -> Rejection | None:
        if not request.protocol_version & 1:
            return PROTOCOL_VERSION_NOT_SUPPORTED
        if request.application_context != APPLICATION_CONTEXT:
            return APPLICATION_CONTEXT_NOT_SUPPORTED
        if fault := ae_title_fault(request.calling_ae_title):
            return replace(CALLING_AE_NOT_RECOGNISED, why=f"calling {fault}")
        if fault := ae_title_fault(request.called_ae_title):
            return replace(CALLED_AE_NOT_RECOGNISED, why=f"called {fault}")
        return self._keeper.admit(request)


def _reject(connection: socket.socket, words: bytes) -> None:
    """Say that it is a passing lack of places, without waiting for the peer."""
    with contextlib.suppress(OSError):
        connection.setblocking(False)
        connection.send(words)
        connection.shutdown(socket.SHUT_WR)
