"""Receiving a Part 10 file as a stream (STOW-RS): its own header is read and dropped, the rest is as by C-STORE."""

from __future__ import annotations

from processes.ports import FileBeginning, FileBeginnings, Incoming
from processes.receive import Receiver

_FIRST_LOOK = 4 * 1024


class IncomingFile:
    """One file on its way in. Nothing is on disk before the file has told which object it holds.

    After a refusal it takes no more; :meth:`discard` must be called in the end, whatever happened.
    """

    def __init__(self, receiver: Receiver, beginnings: FileBeginnings, source_ae_title: str = "") -> None:
        self._receiver = receiver
        self._beginnings = beginnings
        self._source_ae_title = source_ae_title
        self._held = bytearray()
        self._look_at = _FIRST_LOOK
        self._incoming: Incoming | None = None
        self.beginning: FileBeginning | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the file. Raises :class:`domain.errors.Refused`."""
        if self._incoming is not None:
            self._incoming.write(data)
            return
        if self._held:
            self._held += data
            data = bytes(self._held)
        while len(data) >= self._look_at:
            if self._begin(data, self._look_at, is_all=False):
                return
            self._look_at *= 4
        if not self._held:
            self._held += data

    def whole(self) -> Incoming:
        """The file has ended: the object, ready for :meth:`Receiver.finish`. Raises Refused."""
        if self._incoming is None:
            held = bytes(self._held)
            self._begin(held, len(held), is_all=True)
        assert self._incoming is not None
        return self._incoming

    def discard(self) -> None:
        """Remove what is not kept; safe to call at any time."""
        self._held.clear()
        if self._incoming is not None:
            self._incoming.discard()

    def _begin(self, held: bytes | memoryview, look_at: int, *, is_all: bool) -> bool:
        """Open an object by the first bytes of what came until now; whether they were enough."""
        beginning = self._beginnings(bytes(held[:look_at]), is_all=is_all)
        if beginning is None:
            return False
        self.beginning = beginning
        self._incoming = self._receiver.open(
            beginning.sop_class_uid,
            beginning.sop_instance_uid,
            beginning.transfer_syntax_uid,
            self._source_ae_title,
        )
        self._held.clear()
        self._incoming.write(memoryview(held)[beginning.offset :])
        return True
