"""C-STORE as SCP: from the wire to a temp file, then into the room behind the door (PS3.4 Annex B, PS3.7 9.1.1)."""

from __future__ import annotations

import logging

from adapters.dimse.answers import DATA_SET_DOES_NOT_MATCH_SOP_CLASS, SUCCESS, comment, status_of
from adapters.dimse.association import Association
from adapters.dimse.command import Command
from adapters.dimse.errors import AssociationEnded
from domain.errors import Because, Refused, ToldTogether
from domain.event import Actor
from domain.identifiers import uid_fault
from processes.ports import Incoming
from processes.receive import Receiver

_LOG = logging.getLogger("annals.dimse.store")


class StoreService:
    """Answers C-STORE requests of one association and counts what it kept."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.stored = 0
        self.half_received = 0

    def __call__(self, association: Association, context_id: int, request: Command) -> None:
        """Receive one object. The answer is sent only when the object is durable, or refused."""
        incoming: Incoming | None = None
        try:
            incoming = self._open(association, context_id, request)
            self.half_received += 1
            association.read_data_set(incoming.write)
            received = self._receiver.finish(
                incoming, by=_actor(association), cause=f"{association.id}/{request.message_id}"
            )
            is_refused, fault = False, received.header.pixel_fault
            status, said = (DATA_SET_DOES_NOT_MATCH_SOP_CLASS, comment(fault)) if fault else (SUCCESS, "")
            self.stored += 1
            self.half_received -= 1
        except AssociationEnded:
            raise
        except Exception as error:  # noqa: BLE001 - the door's one place where errors become statuses
            is_refused = True
            status, said = status_of(error)
            level = logging.DEBUG if isinstance(error, ToldTogether) else logging.WARNING
            _LOG.log(level, "C-STORE from %s refused with %04X: %s", _peer(association), status, said)
            self.half_received = 0
        finally:
            if incoming is not None:
                incoming.discard()
        association.send(context_id, request.response(status, error_comment=said))
        if is_refused:
            association.skip_data_set()

    def _open(self, association: Association, context_id: int, request: Command) -> Incoming:
        if not request.has_data_set:
            raise Refused(Because.CANNOT_UNDERSTAND, "C-STORE-RQ without a data set")
        for name, uid in (
            ("SOP Class", request.affected_sop_class_uid),
            ("SOP Instance", request.affected_sop_instance_uid),
        ):
            if fault := uid_fault(uid or ""):
                raise Refused(Because.INVALID_UID, f"Affected {name} UID {fault}")
        if request.affected_sop_class_uid != association.contexts[context_id].abstract_syntax:
            raise Refused(Because.SOP_CLASS_NOT_SUPPORTED, "Affected SOP Class UID is not that of the context")
        return self._receiver.open(
            request.affected_sop_class_uid or "",
            request.affected_sop_instance_uid or "",
            association.contexts[context_id].transfer_syntax,
            association.calling_ae_title,
        )


def _actor(association: Association) -> Actor:
    return Actor("device", association.calling_ae_title, association.peer_address)


def _peer(association: Association) -> str:
    return f"{association.calling_ae_title!a} at {association.peer_address}"
