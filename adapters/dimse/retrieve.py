"""C-MOVE and C-GET as SCP (PS3.4 C.4.2, C.4.3). Our own service classes: correctness C3 and its traps say why."""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from adapters.dicom.native_syntaxes import converted
from adapters.dimse import requestor
from adapters.dimse.answers import PENDING, comment, status_of
from adapters.dimse.association import Association
from adapters.dimse.command import Command
from adapters.dimse.errors import AssociationEnded, DimseError
from adapters.dimse.identifier import IdentifierReader
from adapters.dimse.presentation import IMPLICIT_LITTLE_ENDIAN, PATIENT_ROOT_GET, PATIENT_ROOT_MOVE
from adapters.dimse.sending import carrying_syntax, proposals
from domain import instance as instance_stream
from domain.attributes import Level
from domain.device import DeviceAdded
from domain.errors import AnnalsError, Because, Refused
from domain.event import Actor
from domain.limits import Limits
from processes.ports import Files, Log
from processes.retrieve import Ended, Retriever, Tally, Wanted, in_associations

_LOG = logging.getLogger("annals.dimse.retrieve")
_CANNOT_SEND = 0xA702
_UID_LIST_BYTES_MAX = 65_534


@dataclass(frozen=True, slots=True)
class Originator:
    """Whose C-MOVE a sub-operation belongs to: the AE title and Message ID of the C-MOVE's SCU (correctness C3.5)."""

    ae_title: str
    message_id: int


@dataclass(slots=True)
class RetrieveService:
    """Answers C-MOVE and C-GET. ``device`` resolves a Move Destination; only registered devices are sent to."""

    retriever: Retriever
    device: Callable[[str], DeviceAdded | None]
    files: Files
    log: Log
    ae_title: str
    limits: Limits
    identifiers: IdentifierReader

    def get(self, association: Association, context_id: int, request: Command) -> None:
        """C-GET: the sub-operations run on the same association."""
        self._answer(association, context_id, request, lambda wanted: self._over(association, wanted, None))

    def move(self, association: Association, context_id: int, request: Command) -> None:
        """C-MOVE: the sub-operations run on associations to the Move Destination."""
        originator = Originator(association.calling_ae_title, request.message_id)
        destination: list[DeviceAdded] = []

        def check() -> None:
            device = self.device((request.move_destination or "").strip(" "))
            if device is None:
                raise Refused(Because.MOVE_DESTINATION_UNKNOWN, "Move Destination is not a registered device")
            destination.append(device)

        self._answer(
            association,
            context_id,
            request,
            lambda wanted: self._to(destination[0], wanted, originator),
            check,
        )

    def _answer(
        self,
        association: Association,
        context_id: int,
        request: Command,
        sub_operations: Callable[[Sequence[Wanted]], Iterator[tuple[Wanted, int]]],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        syntax = association.contexts[context_id].transfer_syntax
        try:
            keys = self.identifiers.keys(association.read_small_data_set(self.limits.identifier_max), syntax)
            check()
            wanted = self.retriever.select(_root(association.contexts[context_id].abstract_syntax), keys)
        except AssociationEnded:
            raise
        except Exception as error:  # noqa: BLE001 - the door's one place where errors become statuses
            status, said = status_of(error)
            _LOG.warning("retrieval for %a refused with %04X: %s", association.calling_ae_title, status, said)
            association.send(context_id, request.response(status, error_comment=said))
            return
        tally = Tally(len(wanted))
        ended = self._perform(association, context_id, request, sub_operations(wanted), tally)
        remaining = tally.remaining if ended is Ended.CANCELLED else None
        response = _counted(request, ended.value, tally, remaining)
        failed = _failed_list(tally.failed_uids, syntax) if tally.failed_uids else None
        association.send(context_id, response, failed)

    def _perform(
        self,
        association: Association,
        context_id: int,
        request: Command,
        sub_operations: Iterator[tuple[Wanted, int]],
        tally: Tally,
    ) -> Ended:
        pending_due = time.monotonic()
        for wanted, status in sub_operations:
            tally.count(status, wanted.sop_instance_uid)
            if association.is_cancelled(request.message_id):
                # Closing the generator releases the association to the destination within this sub-operation (C3.10).
                getattr(sub_operations, "close", lambda: None)()
                return tally.ended(cancelled=True)
            if tally.remaining and time.monotonic() >= pending_due:
                association.send(context_id, _counted(request, PENDING, tally, tally.remaining))
                pending_due = time.monotonic() + self.limits.pending_interval_seconds
        return tally.ended()

    def _to(
        self, device: DeviceAdded, wanted: Sequence[Wanted], originator: Originator
    ) -> Iterator[tuple[Wanted, int]]:
        """Send to a device, over as many associations as its contexts need; one that drops is opened once more."""
        for part in in_associations(wanted):
            rest, attempts = list(part), 0
            while rest and attempts < 2:
                attempts += 1
                try:
                    outgoing = requestor.associate(
                        device.host,
                        device.port,
                        calling_ae_title=self.ae_title,
                        called_ae_title=device.ae_title,
                        contexts=proposals((one.sop_class_uid, one.content.transfer_syntax_uid) for one in rest),
                        limits=self.limits,
                    )
                except DimseError as error:
                    _LOG.warning("Move Destination %a cannot be reached: %s", device.ae_title, error)
                    break
                sent = 0
                try:
                    for one, status in self._over(outgoing, rest, originator):
                        sent += 1
                        yield one, status
                    outgoing.release()
                except GeneratorExit:
                    outgoing.release()
                    raise
                except AssociationEnded as error:
                    _LOG.warning("the association to %a ended in the middle: %s", device.ae_title, error)
                finally:
                    rest = rest[sent:]
            for one in rest:
                yield one, _CANNOT_SEND

    def _over(
        self, association: Association, wanted: Sequence[Wanted], originator: Originator | None
    ) -> Iterator[tuple[Wanted, int]]:
        """Send instances over one association; what it cannot carry or cannot be read fails alone (C3.7, F14)."""
        contexts = {
            (context.abstract_syntax, context.transfer_syntax): context.id
            for context in association.contexts.values()
            if context.as_scu
        }
        message_ids = count(1)
        for one in wanted:
            yield one, self._send(association, contexts, one, next(message_ids) % 0xFFFF or 1, originator)

    def _send(
        self,
        association: Association,
        contexts: dict[tuple[str, str], int],
        wanted: Wanted,
        message_id: int,
        originator: Originator | None,
    ) -> int:
        stored = wanted.content.transfer_syntax_uid
        syntax = carrying_syntax(contexts, wanted.sop_class_uid, stored)
        if syntax is None:
            _LOG.warning("instance %s: no presentation context for %s", wanted.sop_instance_uid, stored)
            return _CANNOT_SEND
        try:
            descriptor = self.files.open(wanted.content)
        except (AnnalsError, OSError) as error:
            self._note_unreadable(wanted, error)
            return _CANNOT_SEND
        try:
            offset, length = wanted.content.header_size, wanted.content.size
            if syntax != stored:
                descriptor, offset, length = converted(descriptor, offset, length, stored, syntax, self.limits)
            status, _ = requestor.store(
                association,
                contexts[(wanted.sop_class_uid, syntax)],
                message_id,
                sop_class_uid=wanted.sop_class_uid,
                sop_instance_uid=wanted.sop_instance_uid,
                fd=descriptor,
                offset=offset,
                length=length,
                originator=(originator.ae_title, originator.message_id) if originator else None,
            )
            return status
        except AssociationEnded:
            raise
        except (AnnalsError, OSError) as error:
            self._note_unreadable(wanted, error)
            return _CANNOT_SEND
        finally:
            os.close(descriptor)

    def _note_unreadable(self, wanted: Wanted, error: Exception) -> None:
        fault = comment(getattr(error, "strerror", None) or str(error))
        _LOG.error("instance %s cannot be read: %s", wanted.sop_instance_uid, fault)
        try:
            self.log.change(
                instance_stream.KIND,
                wanted.sop_instance_uid,
                instance_stream.find_unreadable,
                fault,
                fold=instance_stream.fold,
                by=Actor("system", "retrieve"),
            )
        except AnnalsError as unrecorded:
            _LOG.error("instance %s: that it is unreadable was not recorded: %s", wanted.sop_instance_uid, unrecorded)


def _root(abstract_syntax: str) -> Level:
    return Level.PATIENT if abstract_syntax in (PATIENT_ROOT_MOVE, PATIENT_ROOT_GET) else Level.STUDY


def _counted(request: Command, status: int, tally: Tally, remaining: int | None) -> Command:
    return request.response(
        status,
        remaining=remaining,
        completed=tally.completed,
        failed=tally.failed,
        warning=tally.warning,
    )


def _failed_list(uids: Sequence[str], syntax: str) -> bytes:
    """Failed SOP Instance UID List (0008,0058), cut to what the VR's length field can tell."""
    value = b""
    for uid in uids:
        longer = value + (b"\\" if value else b"") + uid.encode("ascii")
        if len(longer) > _UID_LIST_BYTES_MAX - 1:
            break
        value = longer
    value += b"\0" * (len(value) % 2)
    if syntax == IMPLICIT_LITTLE_ENDIAN:
        return struct.pack("<HHI", 0x0008, 0x0058, len(value)) + value
    return struct.pack("<HH2sH", 0x0008, 0x0058, b"UI", len(value)) + value
