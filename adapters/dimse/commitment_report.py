"""Storage Commitment Push Model as SCP: N-EVENT-REPORT tells what became of a request (PS3.4 J.3.3; correctness C5)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from adapters.dimse import requestor
from adapters.dimse.agreed import Context
from adapters.dimse.association import Association
from adapters.dimse.command import N_EVENT_REPORT_RQ, Command
from adapters.dimse.commitment_request import PUSH_MODEL_INSTANCE
from adapters.dimse.encoding import RecordEncoder
from adapters.dimse.errors import AssociationEnded, ConnectionFailed
from adapters.dimse.presentation import STORAGE_COMMITMENT_PUSH
from domain.commitment import Commitment, CommitmentRequested
from domain.device import DeviceAdded
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.transcoding import EXPLICIT, IMPLICIT

_SUCCESSFUL, _FAILURES_EXIST = 1, 2
_MESSAGE_ID = 1
_TRANSACTION_UID, _RETRIEVE_AE_TITLE = "00081195", "00080054"
_REFERENCED_SOP_SEQUENCE, _FAILED_SOP_SEQUENCE = "00081199", "00081198"
_REFERENCED_SOP_CLASS_UID, _REFERENCED_SOP_INSTANCE_UID, _FAILURE_REASON = "00081150", "00081155", "00081197"


@dataclass(frozen=True, slots=True)
class Reporter:
    """Tells the device that had asked, as the AE that it had called. ``tls`` as in the retrieve service."""

    device: Callable[[str], DeviceAdded | None]
    tls: Callable[[DeviceAdded], ssl.SSLContext | None]
    limits: Limits
    is_stopping: Callable[[], bool] = lambda: False

    def reach(self, asked: CommitmentRequested) -> None:
        """See whether the device takes reports. Raises :class:`domain.errors.AnnalsError`."""
        association, _ = self._associated(asked)
        association.release()

    def __call__(self, known: Commitment) -> None:
        """Tell it (C5.7). Raises Refused where its answer is no success, DimseError where it cannot be reached."""
        association, context = self._associated(known.requested)
        request = Command(
            N_EVENT_REPORT_RQ,
            message_id=_MESSAGE_ID,
            affected_sop_class_uid=STORAGE_COMMITMENT_PUSH,
            affected_sop_instance_uid=PUSH_MODEL_INSTANCE,
            event_type_id=_FAILURES_EXIST if known.failed else _SUCCESSFUL,
        )
        try:
            association.send(context.id, request, RecordEncoder().encode_bare(told(known), context.transfer_syntax))
            status = association.response_to(_MESSAGE_ID, self._go_on).status
        except BaseException:
            association.abort()
            raise
        association.release()
        if status != 0:
            raise Refused(Because.INVALID_ARGUMENT, f"it answered the report with status {status or 0:04X}")

    def _associated(self, asked: CommitmentRequested) -> tuple[Association, Context]:
        device = self.device(asked.ae_title)
        if device is None:
            raise ConnectionFailed("it is not a registered device any more")
        association = requestor.associate(
            device.host,
            device.port,
            calling_ae_title=asked.called_ae_title,
            called_ae_title=device.ae_title,
            contexts=[(STORAGE_COMMITMENT_PUSH, (EXPLICIT, IMPLICIT))],
            # An answer takes no longer than another message may.
            limits=replace(self.limits, association_idle_timeout_seconds=self.limits.dimse_timeout_seconds),
            tls=self.tls(device),
            on_progress=self._go_on,
            as_scp=(STORAGE_COMMITMENT_PUSH,),
        )
        for context in association.contexts.values():
            return association, context
        association.release()
        raise AssociationEnded("it does not take reports of storage commitment")

    def _go_on(self) -> None:
        if self.is_stopping():
            raise AssociationEnded("the archive is being stopped")


def told(known: Commitment) -> dict[str, Any]:
    """The Event Information: every instance of the request in one of the two sequences (PS3.4 Table J.3-2)."""
    asked, failed = known.requested, known.failed or {}

    def item(uid: str) -> dict[str, Any]:
        said: dict[str, Any] = {
            _REFERENCED_SOP_CLASS_UID: {"vr": "UI", "Value": [asked.references[uid]]},
            _REFERENCED_SOP_INSTANCE_UID: {"vr": "UI", "Value": [uid]},
        }
        return said | ({_FAILURE_REASON: {"vr": "US", "Value": [int(failed[uid])]}} if uid in failed else {})

    record: dict[str, Any] = {
        _TRANSACTION_UID: {"vr": "UI", "Value": [asked.transaction_uid]},
        _RETRIEVE_AE_TITLE: {"vr": "AE", "Value": [asked.called_ae_title]},
    }
    if known.committed:
        record[_REFERENCED_SOP_SEQUENCE] = {"vr": "SQ", "Value": [item(uid) for uid in known.committed]}
    if failed:
        record[_FAILED_SOP_SEQUENCE] = {"vr": "SQ", "Value": [item(uid) for uid in failed]}
    return record
