"""Storage Commitment Push Model as SCP: N-ACTION takes a request on (PS3.4 J.3.2; correctness C5)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from adapters.dimse.answers import SUCCESS, normalized, status_of
from adapters.dimse.association import Association
from adapters.dimse.command import Command
from adapters.dimse.errors import AssociationEnded
from adapters.dimse.identifier import IdentifierReader
from domain import commitment
from domain.commitment import CommitmentRequested
from domain.errors import Because, Refused
from domain.event import Actor
from domain.limits import Limits
from processes.commit_storage import Commitments

_LOG = logging.getLogger("annals.dimse.commitment")
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known SOP Instance UID of the service (PS3.4 J.3.5)."""

_REQUEST_STORAGE_COMMITMENT = 1


@dataclass(frozen=True, slots=True)
class CommitmentService:
    """Answers N-ACTION. ``is_registered`` tells whether an AE title and address are a registered device's (C5.3).

    Only such a one can be told, and nobody else may have it told.
    """

    commitments: Commitments
    is_registered: Callable[[str, str], bool]
    identifiers: IdentifierReader
    limits: Limits

    def __call__(self, association: Association, context_id: int, request: Command) -> None:
        """Answer one request; the result follows by N-EVENT-REPORT on an association of our own (C5.2)."""
        try:
            self._take_on(association, context_id, request)
            status, said = SUCCESS, ""
        except AssociationEnded:
            raise
        except Exception as error:  # noqa: BLE001 - the door's one place where errors become statuses
            status, said = status_of(error)
            status = normalized(status)
            _LOG.warning("storage commitment of %a refused with %04X: %s", association.calling_ae_title, status, said)
        response = request.response(status, error_comment=said)
        response.action_type_id = request.action_type_id
        association.send(context_id, response)

    def _take_on(self, association: Association, context_id: int, request: Command) -> None:
        syntax = association.contexts[context_id].transfer_syntax
        encoded = association.read_small_data_set(self.limits.identifier_max)
        if request.requested_sop_instance_uid != PUSH_MODEL_INSTANCE:
            raise Refused(Because.NO_SUCH_OBJECT_INSTANCE, "Storage Commitment has one well-known instance")
        if request.action_type_id != _REQUEST_STORAGE_COMMITMENT:
            raise Refused(Because.NO_SUCH_ACTION, "the only action is Request Storage Commitment")
        try:
            transaction_uid, references = self.identifiers.read(encoded, syntax, self._read)
        except Refused as refused:
            raise Refused(Because.INVALID_ARGUMENT, str(refused)) from refused
        calling, called = association.calling_ae_title, association.called_ae_title
        if not self.is_registered(calling, association.peer_address):
            raise Refused(Because.NOT_AUTHORISED, "not a registered device at its address: it could not be told")
        by = Actor("device", calling, association.peer_address)
        self.commitments.request(
            CommitmentRequested(transaction_uid, calling, called, references), by, cause=association.id
        )

    def _read(self, found: Dataset) -> tuple[str, Mapping[str, str]]:
        transaction_uid = str(found.get("TransactionUID") or "")
        pairs = (
            (str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or ""))
            for item in found.get("ReferencedSOPSequence") or ()
        )
        return transaction_uid, commitment.checked(transaction_uid, pairs, self.limits)
