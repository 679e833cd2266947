"""Asking for associations, and C-ECHO and C-STORE as SCU."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from adapters.dimse.agreed import Parties
from adapters.dimse.associate_request import MalformedAssociate, Proposal
from adapters.dimse.association import Association
from adapters.dimse.command import C_ECHO_RQ, C_STORE_RQ, MEDIUM_PRIORITY, Command
from adapters.dimse.errors import AssociationEnded, AssociationRejected, ConnectionFailed, TlsFailed
from adapters.dimse.negotiation import VERIFICATION, encode_request, parse_accept
from adapters.dimse.wire import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, INVALID_PDU_PARAMETER, UNEXPECTED_PDU, Wire
from adapters.tls.faults import tls_fault
from domain.errors import Because, Refused
from domain.limits import Limits


@dataclass(frozen=True, slots=True)
class Originator:
    """Whose C-MOVE a sub-operation belongs to: the AE title and Message ID of the C-MOVE's SCU (correctness C3.5)."""

    ae_title: str
    message_id: int


def associate(
    host: str,
    port: int,
    *,
    calling_ae_title: str,
    called_ae_title: str,
    contexts: Sequence[tuple[str, Sequence[str]]],
    limits: Limits,
    tls: ssl.SSLContext | None = None,
    address: str = "",
    on_progress: Callable[[], None] | None = None,
    as_scp: Collection[str] = (),
) -> Association:
    """An association with these contexts (abstract syntax, transfer syntaxes), at most 128.

    ``address`` is where to connect to where the host's name shall not be resolved again; ``on_progress`` is called
    while the peer has not answered; ``as_scp`` are the abstract syntaxes in which we are the SCP.
    Raises :class:`ConnectionFailed`, :class:`AssociationRejected` or :class:`AssociationEnded`.
    """
    proposals = [
        Proposal(2 * number + 1, abstract_syntax, tuple(transfer_syntaxes))
        for number, (abstract_syntax, transfer_syntaxes) in enumerate(contexts)
    ]
    wire = Wire(_connect(host, address or host, port, limits, tls), limits)
    with _handshake_told():
        wire.write([encode_request(calling_ae_title, called_ae_title, proposals, limits, as_scp)])
    if on_progress:
        try:
            wire.wait(limits.dimse_timeout_seconds, limits.pending_interval_seconds, on_progress)
        except BaseException:
            wire.close()
            raise
    with _handshake_told():
        kind, body = wire.read(limits.dimse_timeout_seconds)
    if kind == ASSOCIATE_RJ:
        result, source, reason = bytes(body[1:4]).ljust(3, b"\0")
        wire.close()
        raise AssociationRejected(result, source, reason)
    if kind == ABORT:
        wire.close()
        raise AssociationEnded("the peer aborted the association request")
    if kind != ASSOCIATE_AC:
        wire.abort(UNEXPECTED_PDU, "the peer answered the association request with another PDU")
    try:
        accepted, peer_max_pdu, implementation, version = parse_accept(bytes(body), proposals)
    except MalformedAssociate as error:
        wire.abort(INVALID_PDU_PARAMETER, str(error))
        raise
    wire.established()
    parties = Parties(calling_ae_title, called_ae_title, host, implementation, version)
    return Association(wire, parties, accepted, peer_max_pdu, limits)


def _connect(host: str, address: str, port: int, limits: Limits, tls: ssl.SSLContext | None) -> socket.socket:
    try:
        connection = socket.create_connection((address, port), limits.connect_timeout_seconds)
    except OSError as error:
        raise ConnectionFailed(f"no connection: {error.strerror or type(error).__name__}") from error
    if tls is None:
        return connection
    connection.settimeout(limits.tls_handshake_timeout_seconds)
    try:
        return tls.wrap_socket(connection, server_hostname=host.removesuffix("."))
    except OSError as error:
        raise _tls_failed(error) from error


@contextmanager
def _handshake_told() -> Iterator[None]:
    """In TLS 1.3 a peer looks at our certificate when our handshake is over: its refusal is one of the handshake."""
    try:
        yield
    except AssociationEnded as ended:
        if isinstance(ended.__cause__, ssl.SSLError):
            raise _tls_failed(ended.__cause__) from ended.__cause__
        raise


def _tls_failed(error: OSError) -> TlsFailed:
    return TlsFailed(f"no TLS connection: {tls_fault(error)}")


def echo(association: Association) -> int:
    """C-ECHO; the status."""
    for context in association.contexts.values():
        if context.abstract_syntax == VERIFICATION:
            association.send(context.id, Command(C_ECHO_RQ, message_id=1, affected_sop_class_uid=VERIFICATION))
            return association.response_to(1).status or 0
    raise Refused(Because.SOP_CLASS_NOT_SUPPORTED, "the peer does not accept the Verification SOP Class")


def store(
    association: Association,
    context_id: int,
    message_id: int,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    fd: int,
    offset: int,
    length: int,
) -> tuple[int, str]:
    """C-STORE of a part of a file; the status and Error Comment that answer it (PS3.7 9.1.1, C).

    Raises OSError where the file's beginning cannot be read, and what the association raises.
    """
    request = store_request(message_id, sop_class_uid, sop_instance_uid)
    association.send_file(association.begin_file(context_id, request, fd, offset, length))
    return store_answer(association, message_id)


def store_request(
    message_id: int, sop_class_uid: str, sop_instance_uid: str, originator: Originator | None = None
) -> Command:
    """A C-STORE request; ``originator`` is whose C-MOVE it belongs to (PS3.7 9.1.1.1)."""
    return Command(
        C_STORE_RQ,
        message_id=message_id,
        affected_sop_class_uid=sop_class_uid,
        affected_sop_instance_uid=sop_instance_uid,
        priority=MEDIUM_PRIORITY,
        move_originator_ae_title=originator.ae_title if originator else None,
        move_originator_message_id=originator.message_id if originator else None,
    )


def store_answer(
    association: Association, message_id: int, meanwhile: Callable[[], None] | None = None
) -> tuple[int, str]:
    """Wait for what answers a C-STORE: the status and Error Comment; ``meanwhile`` is called while it does not come."""
    answer = association.response_to(message_id, meanwhile)
    return 0xC000 if answer.status is None else answer.status, answer.error_comment or ""
