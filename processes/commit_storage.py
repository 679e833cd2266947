"""Storage commitment: what is promised is read from the disk first, and told until it is understood (PS3.4 J; C5, P5).

A transaction is one stream; whatever process decides or tells it folds that stream, so none is lost in a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from domain import commitment, instance
from domain.commitment import KIND, Commitment, CommitmentDecided, CommitmentRequested, FailureReason
from domain.errors import AnnalsError, NotThere, Refused, Unavailable
from domain.event import Actor, Recorded
from domain.instance import Content, DuplicateIgnored
from domain.limits import Limits
from processes import unreadable
from processes.ports import Log
from processes.storages_by_log import StoragesByLog

_LOG = logging.getLogger("annals.commitments")
_BY = Actor("system", "storage commitment")


class Kept(Protocol):
    """The files of the storages."""

    def fault_of(self, content: Content) -> str:
        """What is wrong with the bytes of an object on the disk, or nothing. Raises Refused while they are away."""
        ...


class Tell(Protocol):
    """Tells who had asked."""

    def reach(self, asked: CommitmentRequested) -> None:
        """See whether somebody is there to be told. Raises AnnalsError."""
        ...

    def __call__(self, known: Commitment) -> None:
        """Tell. Raises Refused where it was not understood, another AnnalsError where nobody could be reached."""
        ...


class Told(Enum):
    """What came of telling: nothing more to do, an answer that is no success, or nobody there."""

    DONE = "done"
    NOT_UNDERSTOOD = "not understood"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Commitments:
    """The one room in which commitments are asked for, decided and told.

    ``is_stopping`` tells that no further file is to be read: the transaction then waits, as it does after a crash.
    """

    log: Log
    files: Kept
    storages: StoragesByLog
    clock: Callable[[], datetime]
    limits: Limits
    is_stopping: Callable[[], bool] = lambda: False

    def request(self, asked: CommitmentRequested, by: Actor, cause: str = "") -> None:
        """Take a request on; after this it is never forgotten. Raises Refused (0131) for a UID in use."""
        self.log.change(
            KIND, asked.transaction_uid, commitment.request, asked, fold=commitment.fold, by=by, cause=cause, new=True
        )

    def known(self, transaction_uid: str) -> Commitment:
        """A transaction as it is now. Raises NotThere."""
        known = commitment.fold(one.event for one in self.log.stream(KIND, transaction_uid))
        if known is None:
            raise NotThere("no storage commitment was asked for under this Transaction UID")
        return known

    def decide(self, transaction_uid: str) -> Commitment:
        """Read the files of what is asked for, and record what came of it. Raises Unavailable, NotThere."""
        known = self.known(transaction_uid)
        if known.is_ended:
            return known
        failed = self._failed(known.requested)
        self.log.change(KIND, transaction_uid, commitment.decide, failed, fold=commitment.fold, by=_BY)
        return self.known(transaction_uid)

    def tell(self, transaction_uid: str, tell: Tell) -> Told:
        """Decide and tell. Raises Unavailable where it cannot be decided now."""
        known = self.known(transaction_uid)
        try:
            if known.failed is not None and not known.is_ended:
                # It could not be told before: thousands of files are not read again for somebody who is still away.
                tell.reach(known.requested)
        except AnnalsError as error:
            return self._not_told(known, error)
        known = self.decide(transaction_uid)
        if known.is_ended:
            return Told.DONE
        try:
            tell(known)
        except AnnalsError as error:
            return self._not_told(known, error)
        self.log.change(KIND, transaction_uid, commitment.report, fold=commitment.fold, by=_BY)
        return Told.DONE

    def _not_told(self, known: Commitment, error: AnnalsError) -> Told:
        uid, asker = known.requested.transaction_uid, known.requested.ae_title
        facts = self.log.stream(KIND, uid)
        tried_at = next((one.envelope.at for one in facts if isinstance(one.event, CommitmentDecided)), self.clock())
        if not commitment.is_overdue(tried_at, self.clock(), self.limits):
            _LOG.warning("%a was not told of storage commitment %s: %s", asker, uid, error)
            return Told.NOT_UNDERSTOOD if isinstance(error, Refused) else Told.NOT_REACHED
        _LOG.error("%a is not told any more of storage commitment %s: %s", asker, uid, error)
        self.log.change(KIND, uid, commitment.give_up, str(error), fold=commitment.fold, by=_BY)
        return Told.DONE

    def _failed(self, asked: CommitmentRequested) -> dict[str, int]:
        places = commitment.places_of(asked)
        failed: dict[str, int] = {}
        for uid, kind in asked.references.items():
            if self.is_stopping():
                raise Unavailable("the archive is being stopped")
            if reason := self._reason(uid, kind, places.get(uid), asked.ae_title):
                failed[uid] = reason
        if away := sum(reason == FailureReason.RESOURCE_LIMITATION for reason in failed.values()):
            _LOG.warning("%d instances of %s are not committed: their storage is away", away, asked.transaction_uid)
        return failed

    def _reason(self, sop_instance_uid: str, sop_class_uid: str, place: tuple[str, str] | None, asker: str) -> int:
        """Why an instance is not committed, 0 where it is: its log and its file are asked, no read model (D8).

        One that was asked for below another study or series than its own (``place``) is not there.
        """
        read: Content | None = None
        while True:
            facts = self.log.stream(instance.KIND, sop_instance_uid)
            known = instance.fold(one.event for one in facts)
            if known is None:
                return FailureReason.NO_SUCH_OBJECT_INSTANCE
            if place not in (None, (known.stored.study_instance_uid, known.stored.series_instance_uid)):
                return FailureReason.NO_SUCH_OBJECT_INSTANCE
            if known.stored.sop_class_uid != sop_class_uid:
                return FailureReason.CLASS_INSTANCE_CONFLICT
            content = known.stored.content
            if _sent_another(facts, content.digest, asker):
                return FailureReason.PROCESSING_FAILURE
            if content == read:
                return FailureReason.NO_SUCH_OBJECT_INSTANCE
            fault, is_away = self._read(content)
            # After the file, and by the log: what is being deleted may still have been whole.
            kept_in = self.storages.now(content.storage)
            if kept_in and kept_in.emptied:
                return FailureReason.NO_SUCH_OBJECT_INSTANCE
            if is_away or (kept_in and kept_in.is_going):
                return FailureReason.RESOURCE_LIMITATION
            if not fault:
                return 0
            # It may have been moved or replaced meanwhile: then it is read where it is now.
            read = content
            _LOG.error("instance %s is not whole: %s", sop_instance_uid, fault)
            unreadable.record(self.log, sop_instance_uid, content, fault, _BY)

    def _read(self, content: Content) -> tuple[str, bool]:
        """What is wrong with the bytes of an object, and whether its storage is away."""
        try:
            return self.files.fault_of(content), False
        except Refused:
            return "", True


def _sent_another(facts: Iterable[Recorded], digest: str, asker: str) -> bool:
    """Whether the asker sent other bytes under this UID, which were answered success and are not kept (NET-6).

    Over the web nobody has a title: then whoever sent them.
    """
    return any(
        isinstance(one.event, DuplicateIgnored)
        and one.event.digest != digest
        and (not asker or one.envelope.by.name == asker)
        for one in facts
    )
