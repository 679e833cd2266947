"""Sending an import's files: one association for as long as it carries what comes."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from adapters.dicom.foreign_file import ForeignFile
from adapters.dicom.native_syntaxes import converted
from adapters.dimse import requestor
from adapters.dimse.association import Association
from adapters.dimse.errors import AssociationEnded, AssociationRejected, ConnectionFailed, DimseError
from adapters.dimse.sending import CONTEXTS_MAX, carrying_syntax, proposals
from domain.errors import AnnalsError, Refused
from domain.limits import Limits

_PAUSES_SECONDS = (0.5, 2.0, 5.0)
_FULL_PAUSES_SECONDS = (5.0, 15.0, 20.0, 25.0)
"""A minute and some: a server that takes only so many new studies a minute takes one again."""

_TRIES = 2
_OUT_OF_RESOURCES = 0xA700
_WARNINGS = 0xB000


class Unreachable(AnnalsError):
    """The server takes no association, also after some waiting."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the files go, and under which name they come."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    tls: ssl.SSLContext | None = None


class Sender:
    """Sends objects over one association, which is opened again when it ends or does not carry what comes next."""

    def __init__(self, server: Server, limits: Limits, pause: Callable[[float], None] = time.sleep) -> None:
        self._server = server
        self._limits = limits
        self._pause = pause
        self._association: Association | None = None
        self._proposed: list[tuple[str, str]] = []
        self._accepted: dict[tuple[str, str], int] = {}
        self._message_id = 0
        self._is_patient = True
        self.associations = 0

    def send(self, descriptor: int, file: ForeignFile, coming: Iterable[ForeignFile]) -> str:
        """Send one object; empty where the server has it now, else why not. ``coming`` is what is likely to be next.

        A server that is out of resources is waited for, until that was in vain once. Raises :class:`Unreachable`.
        """
        coming = list(coming)
        status, said = self._send(descriptor, file, coming)
        if status != _OUT_OF_RESOURCES or not self._is_patient:
            return said
        for pause in _FULL_PAUSES_SECONDS:
            self._pause(pause)
            status, said = self._send(descriptor, file, coming)
            if status != _OUT_OF_RESOURCES:
                return said
        self._is_patient = False
        return said

    def _send(self, descriptor: int, file: ForeignFile, coming: Iterable[ForeignFile]) -> tuple[int | None, str]:
        """The server's status, None where it gave none, and why it has not the object."""
        said = ""
        for _ in range(_TRIES):
            association = self._carrying(file, coming)
            try:
                return self._store(association, descriptor, file)
            except AssociationEnded as ended:
                said = str(ended)
                self._association = None
            except OSError as error:
                return None, f"cannot be read: {error.strerror}"
        return None, f"the association ended twice: {said}"

    def close(self) -> None:
        """Release the association."""
        if self._association:
            self._association.release()
            self._association = None

    def abort(self) -> None:
        """Abort the association: it may be in the middle of a message."""
        if self._association:
            self._association.abort()
            self._association = None

    def _carrying(self, file: ForeignFile, coming: Iterable[ForeignFile]) -> Association:
        kind = (file.sop_class_uid, file.transfer_syntax_uid)
        if self._association and kind in self._proposed:
            return self._association
        self.close()
        kinds = dict.fromkeys([kind, *((one.sop_class_uid, one.transfer_syntax_uid) for one in coming)])
        kinds.update(dict.fromkeys(reversed(self._proposed)))
        self._proposed = list(kinds)[:CONTEXTS_MAX]
        self._association = self._open(proposals(self._proposed))
        self._accepted = {
            (context.abstract_syntax, context.transfer_syntax): context.id
            for context in self._association.contexts.values()
        }
        return self._association

    def _open(self, contexts: Sequence[tuple[str, Sequence[str]]]) -> Association:
        error: DimseError = ConnectionFailed("no connection")
        # A server that never answered is more likely misnamed than restarting.
        pauses = _PAUSES_SECONDS if self.associations else ()
        for pause in (*pauses, None):
            try:
                association = requestor.associate(
                    self._server.host,
                    self._server.port,
                    calling_ae_title=self._server.calling_ae_title,
                    called_ae_title=self._server.called_ae_title,
                    contexts=contexts,
                    limits=self._limits,
                    tls=self._server.tls,
                )
            except AssociationRejected as rejected:
                if rejected.result == 1:
                    raise Unreachable(f"{self._where()}: {rejected}") from None
                error = rejected
            except DimseError as failed:
                error = failed
            else:
                self.associations += 1
                return association
            if pause is not None:
                self._pause(pause)
        raise Unreachable(f"{self._where()}: {error}")

    def _store(self, association: Association, descriptor: int, file: ForeignFile) -> tuple[int | None, str]:
        syntax = carrying_syntax(self._accepted, file.sop_class_uid, file.transfer_syntax_uid)
        if syntax is None:
            return None, f"the server does not accept {file.sop_class_uid} in {file.transfer_syntax_uid}"
        offset, length, own = file.offset, file.length, os.dup(descriptor)
        try:
            if syntax != file.transfer_syntax_uid:
                own, offset, length = converted(own, offset, length, file.transfer_syntax_uid, syntax, self._limits)
            self._message_id = self._message_id % 0xFFFF + 1
            status, said = requestor.store(
                association,
                self._accepted[(file.sop_class_uid, syntax)],
                self._message_id,
                sop_class_uid=file.sop_class_uid,
                sop_instance_uid=file.sop_instance_uid,
                fd=own,
                offset=offset,
                length=length,
            )
        except Refused as refused:
            return None, str(refused)
        finally:
            os.close(own)
        if status == 0 or status & 0xF000 == _WARNINGS:
            return status, ""
        return status, f"the server answered {status:04X}{': ' if said else ''}{said}"

    def _where(self) -> str:
        return f"{self._server.called_ae_title} at {self._server.host}:{self._server.port}"
