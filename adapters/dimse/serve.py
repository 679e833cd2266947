"""One association from its first command to its end: each command goes to the service that answers it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from adapters.dimse import command
from adapters.dimse.answers import SUCCESS, normalized, status_of
from adapters.dimse.association import Association
from adapters.dimse.command import Command
from adapters.dimse.errors import AssociationEnded
from adapters.dimse.presentation import is_agreed, rights_needed
from adapters.dimse.store import StoreService
from adapters.dimse.wire import UNEXPECTED_PDU
from domain.association import KIND, AssociationAborted, abort
from domain.device import Right
from domain.errors import AnnalsError, Refused, Unavailable
from domain.event import Actor
from processes.ports import Log
from processes.receive import Receiver

_LOG = logging.getLogger("annals.dimse")
_UNRECOGNISED_OPERATION = 0x0211

Service = Callable[[Association, int, Command], None]
Permit = Callable[[Association, tuple[Right, ...]], None]
"""Raises :class:`domain.errors.Refused` where the peer of an association lacks a right now."""


def permit_all(_association: Association, _needed: tuple[Right, ...]) -> None:
    """Every peer may do everything."""


class Server:
    """Serves associations; ``services`` maps a request's Command Field to what answers it, C-STORE apart."""

    def __init__(
        self, receiver: Receiver, services: Mapping[int, Service], log: Log, permit: Permit = permit_all
    ) -> None:
        self._permit = permit
        self._receiver = receiver
        self._services = services
        self._log = log

    def __call__(self, association: Association) -> None:
        """Serve until the peer releases; an end without a release after receiving is recorded (C2.9)."""
        store = StoreService(self._receiver)
        services: dict[int, Service] = {**self._services, command.C_STORE_RQ: store, command.C_ECHO_RQ: echo}
        try:
            while (item := association.next_command()) is not None:
                context_id, request = item
                if request.field == command.C_CANCEL_RQ:
                    continue
                if request.field & command.RESPONSE:
                    association.wire.abort(UNEXPECTED_PDU, "an answer came that nobody asked for")
                context = association.contexts[context_id]
                service = services.get(request.field)
                if service and context.as_scp and is_agreed(request.field, context.abstract_syntax):
                    if self._is_permitted(association, context_id, request):
                        service(association, context_id, request)
                else:
                    association.skip_data_set()
                    association.send(context_id, request.response(_UNRECOGNISED_OPERATION))
        except AssociationEnded as ended:
            self._record_abort(association, store, ended)

    def _is_permitted(self, association: Association, context_id: int, request: Command) -> bool:
        """Looked at for each request, so that a right that is taken away ends with the request under way (DEV-5)."""
        needed = rights_needed(request.field, association.contexts[context_id].abstract_syntax)
        try:
            if needed:
                self._permit(association, needed)
        except AnnalsError as error:
            status, said = status_of(error)
            if request.field == command.N_ACTION_RQ:
                status = normalized(status)
            # Who lacks a right is told of together, where that is looked at.
            level = logging.DEBUG if isinstance(error, Refused) else logging.INFO
            _LOG.log(level, "a request of %a was refused with %04X: %s", association.calling_ae_title, status, said)
            # Before its data set is read: a peer that listens need not send it.
            association.send(context_id, request.response(status, error_comment=said))
            return False
        return True

    def _record_abort(self, association: Association, store: StoreService, ended: AssociationEnded) -> None:
        _LOG.info("association %s of %a ended early: %s", association.id, association.calling_ae_title, ended)
        if not store.stored and not store.half_received:
            return
        aborted = AssociationAborted(
            association.calling_ae_title,
            association.called_ae_title,
            store.stored,
            store.half_received,
            str(ended),
        )
        by = Actor("device", association.calling_ae_title, association.peer_address)
        try:
            self._log.change(KIND, association.id, abort, aborted, by=by, cause=association.id, new=True)
        except Unavailable as error:
            _LOG.error("the end of association %s was not recorded: %s", association.id, error)


def echo(association: Association, context_id: int, request: Command) -> None:
    """C-ECHO (PS3.7 9.1.5): answers whatever else is down."""
    association.send(context_id, request.response(SUCCESS))
