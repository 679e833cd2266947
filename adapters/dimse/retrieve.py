"""C-MOVE and C-GET as SCP (PS3.4 C.4.2, C.4.3). Our own service classes: correctness C3 and its traps say why."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import closing
from dataclasses import dataclass
from functools import cache

from adapters.dicom.sop_classes import preferred_for
from adapters.dimse import requestor
from adapters.dimse.answers import status_of
from adapters.dimse.association import Association
from adapters.dimse.command import Command
from adapters.dimse.errors import AssociationEnded, FileCut
from adapters.dimse.identifier import IdentifierReader
from adapters.dimse.presentation import PATIENT_ROOT_GET, PATIENT_ROOT_MOVE, is_relational
from adapters.dimse.progress import Progress, counted, failed_list
from adapters.dimse.sending import destination_proposals
from adapters.dimse.sub_operations import CANNOT_SEND, SubOperations
from domain import transcoding
from domain.attributes import Level
from domain.device import DeviceAdded, ae_title_fault
from domain.errors import AnnalsError, Because, Refused, Unavailable
from domain.limits import Limits
from processes.outbox import Outbox
from processes.pixel_ports import Codecs, Stored, close
from processes.ports import Files
from processes.retrieve import Ended, Retriever, Tally, Wanted, in_associations

_LOG = logging.getLogger("annals.dimse.retrieve")


@dataclass(slots=True)
class RetrieveService:
    """Answers C-MOVE and C-GET. ``device`` resolves a Move Destination; only registered devices are sent to.

    ``tls`` is the context for a device that uses TLS; raises AnnalsError where there is none.
    """

    retriever: Retriever
    device: Callable[[str], DeviceAdded | None]
    files: Files
    codecs: Codecs
    ae_title: str
    limits: Limits
    identifiers: IdentifierReader
    tls: Callable[[DeviceAdded], ssl.SSLContext | None] = lambda _device: None

    def get(self, association: Association, context_id: int, request: Command) -> None:
        """C-GET: the sub-operations run on the same association."""
        self._answer(
            association, context_id, request, lambda wanted, progress: self._back(association, wanted, progress)
        )

    def move(self, association: Association, context_id: int, request: Command) -> None:
        """C-MOVE: the sub-operations run on associations to the Move Destination."""
        originator = requestor.Originator(association.calling_ae_title, request.message_id)
        destination: list[DeviceAdded] = []

        def check() -> None:
            ae_title = request.move_destination or ""
            device = None if ae_title_fault(ae_title) else self.device(ae_title)
            if device is None:
                raise Refused(Because.MOVE_DESTINATION_UNKNOWN, "Move Destination is not a registered device")
            destination.append(device)

        self._answer(
            association,
            context_id,
            request,
            lambda wanted, progress: self._to(destination[0], wanted, originator, progress),
            check,
        )

    def _answer(
        self,
        association: Association,
        context_id: int,
        request: Command,
        sub_operations: Callable[[Sequence[Wanted], Progress], Iterator[tuple[Wanted, int]]],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        context = association.contexts[context_id]
        syntax = context.transfer_syntax
        try:
            keys = self.identifiers.keys(association.read_small_data_set(self.limits.identifier_max), syntax)
            check()
            relational = is_relational(association.extended, context.abstract_syntax)
            wanted = self.retriever.select(_root(context.abstract_syntax), keys, relational=relational)
        except AssociationEnded:
            raise
        except Exception as error:  # noqa: BLE001 - the door's one place where errors become statuses
            status, said = status_of(error)
            _LOG.warning("retrieval for %a refused with %04X: %s", association.calling_ae_title, status, said)
            association.send(context_id, request.response(status, error_comment=said))
            return
        tally = Tally(len(wanted))
        progress = Progress(association, context_id, request, tally, self.limits.pending_interval_seconds)
        ended = self._perform(association, request, sub_operations(wanted, progress), tally, progress)
        remaining = tally.remaining if ended is Ended.CANCELLED else None
        response = counted(request, ended.value, tally, remaining)
        failed = failed_list(tally.failed_uids, syntax) if tally.failed_uids else None
        association.send(context_id, response, failed)

    def _perform(
        self,
        association: Association,
        request: Command,
        sub_operations: Iterator[tuple[Wanted, int]],
        tally: Tally,
        progress: Progress,
    ) -> Ended:
        for wanted, status in sub_operations:
            tally.count(status, wanted.sop_instance_uid)
            if association.is_cancelled(request.message_id):
                # Closing the generator releases the association to the destination within this sub-operation (C3.10).
                getattr(sub_operations, "close", lambda: None)()
                return tally.ended(cancelled=True)
            progress()
        return tally.ended()

    def _to(
        self, device: DeviceAdded, wanted: Sequence[Wanted], originator: requestor.Originator, progress: Progress
    ) -> Iterator[tuple[Wanted, int]]:
        """Send to a device, over as many associations as its contexts need; one that drops is opened once more."""
        preferred = device.preferred_transfer_syntax
        for part in in_associations(wanted, preferred):
            rest, attempts = list(part), 0
            while rest and attempts < 2:
                attempts += 1
                try:
                    outgoing = requestor.associate(
                        device.host,
                        device.port,
                        calling_ae_title=self.ae_title,
                        called_ae_title=device.ae_title,
                        contexts=destination_proposals(
                            ((one.sop_class_uid, one.content.transfer_syntax_uid) for one in rest), preferred
                        ),
                        limits=self.limits,
                        tls=self.tls(device),
                        on_progress=progress,
                    )
                except AnnalsError as error:
                    if progress.is_lost:
                        raise
                    _LOG.warning("Move Destination %a cannot be reached: %s", device.ae_title, error)
                    break
                sent, is_cut = 0, False
                try:
                    for one, status in self._over(outgoing, rest, originator, preferred, progress, progress):
                        sent += 1
                        yield one, status
                    outgoing.release()
                except GeneratorExit:
                    outgoing.release()
                    raise
                except FileCut:
                    # The file is at fault, not the destination: it fails alone (F14).
                    is_cut, attempts = True, attempts - 1
                except AssociationEnded as error:
                    if progress.is_lost:
                        outgoing.wire.abort_quietly(0, 0)
                        raise
                    _LOG.warning("the association to %a ended in the middle: %s", device.ae_title, error)
                finally:
                    rest = rest[sent:]
                if is_cut:
                    yield rest.pop(0), CANNOT_SEND
            for one in rest:
                yield one, CANNOT_SEND

    def _back(
        self, association: Association, wanted: Sequence[Wanted], progress: Progress
    ) -> Iterator[tuple[Wanted, int]]:
        """Send over the requestor's own association, in the syntax that it prefers if it is a known device."""
        return self._over(association, wanted, None, association.preferred, progress, None)

    def _over(
        self,
        association: Association,
        wanted: Sequence[Wanted],
        originator: requestor.Originator | None,
        preferred: str,
        progress: Callable[[], None],
        while_sending: Callable[[], None] | None,
    ) -> Iterator[tuple[Wanted, int]]:
        """Send instances over one association; what it cannot carry or cannot be read fails alone (C3.7, F14)."""
        contexts = {
            (context.abstract_syntax, context.transfer_syntax): context.id
            for context in association.contexts.values()
            if context.as_scu
        }
        accepted: dict[str, set[str]] = {}
        for sop_class, syntax in contexts:
            accepted.setdefault(sop_class, set()).add(syntax)

        @cache
        def order(sop_class: str, stored: str) -> list[str]:
            return transcoding.sending_order(stored, preferred_for(sop_class, preferred), accepted.get(sop_class, ()))

        outbox = Outbox(
            self.files,
            self.codecs,
            lambda one: order(one.sop_class_uid, one.content.transfer_syntax_uid),
            lambda begun: self._waited(begun, progress),
            self.retriever.place_now,
        )
        sub_operations = SubOperations(association, contexts, originator, self.retriever, while_sending)
        with closing(outbox.ready(wanted)) as objects:
            yield from sub_operations.statuses(objects)

    def _waited(self, begun: Future[Stored], progress: Callable[[], None]) -> Stored:
        """The result; meanwhile the requestor is told how far its retrieval is."""
        while not wait((begun,), self.limits.pending_interval_seconds).done:
            try:
                progress()
            except BaseException:
                begun.add_done_callback(close)
                raise
        try:
            return begun.result()
        except CancelledError:
            raise Unavailable("the archive is being stopped") from None


def _root(abstract_syntax: str) -> Level:
    return Level.PATIENT if abstract_syntax in (PATIENT_ROOT_MOVE, PATIENT_ROOT_GET) else Level.STUDY
