"""One established association, on either side: messages in, messages out (PS3.7 6.3, PS3.8 9.3.5, Annex E).

All of it is one state, in which each message may be the end of another.
"""

from __future__ import annotations

import contextlib
import struct
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from adapters.dicom.syntaxes import encoding_of
from adapters.dimse.agreed import Context, Parties
from adapters.dimse.command import C_CANCEL_RQ, RESPONSE, Command, MalformedCommand
from adapters.dimse.errors import AssociationEnded, FileCut
from adapters.dimse.file_message import FileMessage, FilePdus
from adapters.dimse.pdv import COMMAND, LAST, MalformedPdu, fragments, largest_value, split
from adapters.dimse.wire import ABORT, INVALID_PDU_PARAMETER, P_DATA, RELEASE_RP, RELEASE_RQ, UNEXPECTED_PDU, Wire
from domain.errors import Because, Refused
from domain.limits import KIB, Limits

_RELEASE_PDU_RP = struct.pack(">BxI4x", RELEASE_RP, 4)
_RELEASE_PDU_RQ = struct.pack(">BxI4x", RELEASE_RQ, 4)


class _Released(Exception):
    pass


@dataclass(slots=True, eq=False)
class Association:
    """Messages of one association. Used by one thread; only :meth:`drain` may be called from another."""

    wire: Wire
    parties: Parties
    contexts: Mapping[int, Context]
    peer_max_pdu: int
    limits: Limits
    extended: Mapping[str, bytes] = field(default_factory=dict)
    preferred: str = ""
    """The transfer syntax in which the peer prefers to be sent objects, when the association was negotiated."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    _pdvs: Iterator[tuple[int, int, memoryview]] = field(default_factory=lambda: iter(()))
    _data_set_context: int | None = None
    _cancelled: set[int] = field(default_factory=set)
    _waiting: bool = False
    _draining: bool = False
    _file_pdus: FilePdus | None = None

    @property
    def calling_ae_title(self) -> str:
        """The AE title of the side that asked for the association."""
        return self.parties.calling_ae_title

    @property
    def called_ae_title(self) -> str:
        """The AE title that was asked for."""
        return self.parties.called_ae_title

    @property
    def peer_address(self) -> str:
        """The peer's IP address."""
        return self.parties.peer_address

    def next_command(self) -> tuple[int, Command] | None:
        """The next message's context id and command set, between two operations; None when the peer has released.

        Raises :class:`AssociationEnded`. What is left of the last message's data set is passed over first.
        """
        if self._data_set_context is not None:
            self.skip_data_set()
        self._waiting = True
        try:
            if self._draining:
                self.wire.abort(0, "the server is stopping")
            return self._next_message()
        finally:
            self._waiting = False

    def _next_message(self) -> tuple[int, Command] | None:
        """As :meth:`next_command`, also in the middle of an operation, which goes on where the server is stopping."""
        if self._data_set_context is not None:
            self.skip_data_set()
        encoded = b""
        first: int | None = None
        begun = 0.0
        try:
            while True:
                context_id, flags, value = self._next_pdv(
                    self.limits.association_idle_timeout_seconds if first is None else self.limits.dimse_timeout_seconds
                )
                if not flags & COMMAND:
                    self.wire.abort(INVALID_PDU_PARAMETER, "a data set came before its command set")
                if first is not None and context_id != first:
                    self.wire.abort(INVALID_PDU_PARAMETER, "a command set came in two presentation contexts")
                if first is None:
                    begun = self.wire.waited_seconds
                first = context_id
                self._check_rate(begun, len(encoded), "a command set")
                if len(encoded) + len(value) > self.limits.command_set_max:
                    self.wire.abort(INVALID_PDU_PARAMETER, "a command set is too long")
                encoded += value
                if flags & LAST:
                    break
        except _Released:
            if encoded:
                self.wire.abort(UNEXPECTED_PDU, "release was asked for in the middle of a message")
            self.wire.end_with(_RELEASE_PDU_RP)
            return None
        try:
            command = Command.decode(encoded)
        except MalformedCommand as error:
            self.wire.abort(INVALID_PDU_PARAMETER, str(error))
            raise
        if command.has_data_set:
            self._data_set_context = first
        if command.field != C_CANCEL_RQ and not command.field & RESPONSE:
            # Many peers number every request 1: a cancel holds for the request before it, not for this one.
            self._cancelled.discard(command.message_id)
        return first, command

    def read_data_set(self, sink: Callable[[memoryview], None]) -> int:
        """Hand the current message's data set to ``sink`` in pieces; returns its length in bytes.

        What ``sink`` raises passes on; the rest can be passed over with :meth:`skip_data_set`.
        """
        total = 0
        begun = self.wire.waited_seconds
        while (context := self._data_set_context) is not None:
            try:
                context_id, flags, value = self._next_pdv(self.limits.dimse_timeout_seconds)
            except _Released:
                self.wire.abort(UNEXPECTED_PDU, "release was asked for in the middle of a data set")
                raise
            if flags & COMMAND or context_id != context:
                self.wire.abort(INVALID_PDU_PARAMETER, "another message came in the middle of a data set")
            if flags & LAST:
                self._data_set_context = None
            total += len(value)
            self._check_rate(begun, total, "a data set")
            sink(value)
        return total

    def skip_data_set(self) -> int:
        """Pass over what is left of the current message's data set."""
        passed = 0

        def pass_over(value: memoryview) -> None:
            nonlocal passed
            passed += len(value)
            if passed > self.limits.object_size_max:
                self.wire.abort(0, "a data set that was refused does not end")

        return self.read_data_set(pass_over)

    def read_small_data_set(self, maximum: int) -> bytes:
        """The current message's data set in memory. Raises :class:`Refused` past ``maximum`` bytes."""
        pieces: list[bytes] = []
        room = maximum

        def keep(value: memoryview) -> None:
            nonlocal room
            room -= len(value)
            if room < 0:
                raise Refused(Because.CANNOT_UNDERSTAND, "the data set is too long")
            pieces.append(bytes(value))

        self.read_data_set(keep)
        return b"".join(pieces)

    def send(self, context_id: int, command: Command, data_set: bytes | None = None) -> None:
        """Send one message."""
        command.has_data_set = data_set is not None
        buffers = fragments(context_id, COMMAND, memoryview(command.encode()), self._pdv_size, last=True)
        if data_set is not None:
            buffers += fragments(context_id, 0, memoryview(data_set), self._pdv_size, last=True)
        self.wire.write(buffers)

    def begin_file(self, context_id: int, command: Command, fd: int, offset: int, length: int) -> FileMessage:
        """Make a message ready whose data set is a part of a file. It is sent before another one is begun.

        Raises OSError where the file's beginning cannot be read.
        """
        command.has_data_set = True
        if self._file_pdus is None:
            self._file_pdus = FilePdus(self._pdv_size)
        pdus = fragments(context_id, COMMAND, memoryview(command.encode()), self._pdv_size, last=True)
        # A deflated data set may have come without its padding (PS3.5 A.5); fragments are even (PS3.8 E.1).
        is_deflated = encoding_of(self.contexts[context_id].transfer_syntax).deflated
        return FileMessage(self._file_pdus, context_id, pdus, fd, offset, length, length % 2 if is_deflated else 0)

    def send_file(self, message: FileMessage, on_progress: Callable[[], None] | None = None) -> None:
        """Send a message that was begun; ``on_progress`` is called while it goes on.

        A file that cannot be read to its end ends the association with :class:`FileCut`: the peer waits for the
        rest, and only an abort tells it that none comes.
        """
        try:
            for buffers in message.pieces():
                self.wire.write(buffers)
                if on_progress:
                    on_progress()
        except FileCut:
            with contextlib.suppress(AssociationEnded):
                self.wire.abort(0, "a file cannot be read")
            raise

    def is_cancelled(self, message_id: int) -> bool:
        """Whether the peer has sent C-CANCEL for this message; looks, does not wait. Raises when the peer is gone."""
        while message_id not in self._cancelled and self.wire.readable():
            item = self._next_message()
            if item is None:
                raise AssociationEnded("the peer released in the middle of an operation")
            if item[1].field != C_CANCEL_RQ:
                self.wire.abort(UNEXPECTED_PDU, "a request came before the last one was answered")
            self._note_cancel(item[1])
        return message_id in self._cancelled

    def response_to(self, message_id: int, meanwhile: Callable[[], None] | None = None) -> Command:
        """Wait for the response to our request; a C-CANCEL that comes in between is kept for :meth:`is_cancelled`.

        ``meanwhile`` is called every ``pending_interval_seconds`` until something comes.
        """
        if meanwhile:
            self.wire.wait(
                self.limits.association_idle_timeout_seconds, self.limits.pending_interval_seconds, meanwhile
            )
        while True:
            item = self._next_message()
            if item is None:
                raise AssociationEnded("the peer released instead of answering")
            command = item[1]
            if command.field == C_CANCEL_RQ:
                self._note_cancel(command)
            elif command.field & RESPONSE and command.message_id_responded_to == message_id:
                return command
            else:
                self.wire.abort(UNEXPECTED_PDU, "an answer came that nobody asked for")

    def release(self) -> None:
        """Ask for release and wait for it; an end of another kind is as good."""
        deadline = time.monotonic() + self.limits.dimse_timeout_seconds
        try:
            self.wire.write([_RELEASE_PDU_RQ])
            while time.monotonic() < deadline:
                kind, _ = self.wire.read(self.limits.pdu_timeout_seconds)
                if kind in (RELEASE_RP, ABORT):
                    break
                if kind == RELEASE_RQ:
                    self.wire.write([_RELEASE_PDU_RP])
        except AssociationEnded:
            return
        finally:
            self.wire.close()

    def abort(self) -> None:
        """Abort as the service user."""
        self.wire.abort_quietly(0, 0)

    def drain(self) -> None:
        """End after the message that is being served; at once when none is."""
        self._draining = True
        if self._waiting:
            self.wire.stop_reading()

    def _check_rate(self, begun: float, received: int, what: str) -> None:
        """A message may not trickle: small PDUs one by one would each be in time (D19, B24)."""
        waited = self.wire.waited_seconds - begun
        if waited > self.limits.dimse_timeout_seconds + received / self.limits.pdu_rate_min:
            self.wire.abort(0, f"{what} comes too slowly")

    def _note_cancel(self, command: Command) -> None:
        if len(self._cancelled) < KIB and command.message_id_responded_to is not None:
            self._cancelled.add(command.message_id_responded_to)

    @property
    def _pdv_size(self) -> int:
        return largest_value(self.peer_max_pdu)

    def _next_pdv(self, idle_seconds: float) -> tuple[int, int, memoryview]:
        while True:
            for pdv in self._pdvs:
                return pdv
            try:
                kind, body = self.wire.read(idle_seconds)
            except AssociationEnded:
                if self._draining:
                    raise AssociationEnded("the server is stopping") from None
                raise
            if kind == P_DATA:
                try:
                    self._pdvs = iter(split(body, self.contexts))
                except MalformedPdu as error:
                    self.wire.abort(INVALID_PDU_PARAMETER, str(error))
            elif kind == RELEASE_RQ:
                raise _Released
            elif kind == ABORT:
                self.wire.close()
                raise AssociationEnded("the peer aborted")
            else:
                self.wire.abort(UNEXPECTED_PDU, "a PDU that has no place in an established association")
