"""The C-STORE sub-operations of a retrieval over one association (PS3.4 C.4.2.3, C.4.3.3; correctness C3.5, C3.7)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass

from adapters.dimse.association import Association
from adapters.dimse.errors import AssociationEnded, FileCut
from adapters.dimse.file_message import FileMessage
from adapters.dimse.requestor import Originator, store_answer, store_request
from domain.errors import AnnalsError
from processes.outbox import Ready
from processes.pixel_ports import Stored
from processes.retrieve import Retriever, Wanted

CANNOT_SEND = 0xA702
_MESSAGE_IDS = 0xFFFF


@dataclass(frozen=True, slots=True)
class SubOperations:
    """Sends objects over one association; what cannot be had or read fails alone (C3.7, F14).

    ``contexts`` are the ids of those in which we are SCU, by SOP class and transfer syntax; ``while_sending`` is
    called while an object is sent and answered, where somebody else is to be told of it.
    """

    association: Association
    contexts: Mapping[tuple[str, str], int]
    originator: Originator | None
    retriever: Retriever
    while_sending: Callable[[], None] | None

    def statuses(self, objects: Iterable[tuple[Wanted, Ready]]) -> Generator[tuple[Wanted, int], None, None]:
        """Each object with the status that answers its C-STORE. Raises :class:`AssociationEnded`.

        While the peer digests one, the next is opened and its beginning read.
        """
        sent: tuple[Wanted, int] | None = None
        for number, (one, ready) in enumerate(objects):
            message_id = number % _MESSAGE_IDS + 1
            if sent and not ready.is_at_hand:
                yield self._answered(*sent)
                sent = None
            stored = self._had(one, ready)
            try:
                message = self._begun(one, stored, message_id) if stored else None
                if sent:
                    yield self._answered(*sent)
                    sent = None
                if message is None:
                    yield one, CANNOT_SEND
                    continue
                self._send(one, message)
                sent = one, message_id
            finally:
                if stored:
                    stored.reuse(stored.descriptor)
        if sent:
            yield self._answered(*sent)

    def _had(self, wanted: Wanted, ready: Ready) -> Stored | None:
        try:
            return ready()
        except AssociationEnded:
            raise
        except AnnalsError as error:
            # Its storage is away, or no syntax fits: nothing is known against the object.
            self.retriever.note_unsent(wanted, error)
        except OSError as error:
            self.retriever.note_unreadable(wanted, error)
        return None

    def _begun(self, wanted: Wanted, stored: Stored, message_id: int) -> FileMessage | None:
        uid = stored.own_uid or wanted.sop_instance_uid
        request = store_request(message_id, wanted.sop_class_uid, uid, self.originator)
        context_id = self.contexts[(wanted.sop_class_uid, stored.transfer_syntax_uid)]
        try:
            return self.association.begin_file(context_id, request, stored.descriptor, stored.offset, stored.length)
        except OSError as error:
            self.retriever.note_unreadable(wanted, error)
            return None

    def _send(self, wanted: Wanted, message: FileMessage) -> None:
        try:
            self.association.send_file(message, self.while_sending)
        except FileCut as error:
            self.retriever.note_unreadable(wanted, error)
            raise

    def _answered(self, wanted: Wanted, message_id: int) -> tuple[Wanted, int]:
        status, _ = store_answer(self.association, message_id, self.while_sending)
        return wanted, status
