"""Storage commitment: what is promised is read from the disk first, and told until it is understood (PS3.4 J; C5, P5).

A transaction is one stream; whatever process decides or tells it folds that stream, so none is lost in a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain import commitment, instance
from domain.commitment import KIND, Commitment, CommitmentRequested, FailureReason
from domain.errors import AnnalsError, NotThere, Refused
from domain.event import Actor
from domain.instance import Content
from domain.limits import Limits
from processes.ports import Log

_LOG = logging.getLogger("annals.commitments")
_BY = Actor("system", "storage commitment")


class Kept(Protocol):
    """The files of the storages."""

    def fault_of(self, content: Content) -> str:
        """What is wrong with the bytes of an object on the disk, or nothing. Raises Refused while they are away."""
        ...


Tell = Callable[[Commitment], None]
"""Tells who had asked. Raises AnnalsError where it could not, or where it was not understood."""


@dataclass(frozen=True, slots=True)
class Commitments:
    """The one room in which commitments are asked for, decided and told."""

    log: Log
    files: Kept
    clock: Callable[[], datetime]
    limits: Limits

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

    def tell(self, transaction_uid: str, tell: Tell) -> bool:
        """Decide and tell; whether nothing more is to be done. Raises Unavailable where it cannot be decided now."""
        known = self.decide(transaction_uid)
        if known.is_ended:
            return True
        try:
            tell(known)
        except AnnalsError as error:
            return self._not_told(known, error)
        self.log.change(KIND, transaction_uid, commitment.report, fold=commitment.fold, by=_BY)
        return True

    def _not_told(self, known: Commitment, error: AnnalsError) -> bool:
        uid, asker = known.requested.transaction_uid, known.requested.ae_title
        asked_at = self.log.stream(KIND, uid)[0].envelope.at
        if not commitment.is_overdue(asked_at, self.clock(), self.limits):
            _LOG.warning("%a was not told of storage commitment %s: %s", asker, uid, error)
            return False
        _LOG.error("%a is not told any more of storage commitment %s: %s", asker, uid, error)
        self.log.change(KIND, uid, commitment.give_up, str(error), fold=commitment.fold, by=_BY)
        return True

    def _failed(self, asked: CommitmentRequested) -> dict[str, int]:
        places = commitment.places_of(asked)
        reasons = {uid: self._reason(uid, kind, places.get(uid)) for uid, kind in asked.references.items()}
        return {uid: reason for uid, reason in reasons.items() if reason}

    def _reason(self, sop_instance_uid: str, sop_class_uid: str, place: tuple[str, str] | None) -> int:
        """Why an instance is not committed, 0 where it is: its log and its file are asked, no read model (D8).

        One that was asked for below another study or series than its own (``place``) is not there.
        """
        read: Content | None = None
        while True:
            known = instance.fold(one.event for one in self.log.stream(instance.KIND, sop_instance_uid))
            if known is None:
                return FailureReason.NO_SUCH_OBJECT_INSTANCE
            if place not in (None, (known.stored.study_instance_uid, known.stored.series_instance_uid)):
                return FailureReason.NO_SUCH_OBJECT_INSTANCE
            if known.stored.sop_class_uid != sop_class_uid:
                return FailureReason.CLASS_INSTANCE_CONFLICT
            content = known.stored.content
            if content == read:
                return FailureReason.NO_SUCH_OBJECT_INSTANCE
            try:
                fault = self.files.fault_of(content)
            except Refused as error:
                _LOG.warning("instance %s is not committed now: %s", sop_instance_uid, error)
                return FailureReason.RESOURCE_LIMITATION
            if not fault:
                return 0
            # It may have been moved or replaced meanwhile: then it is read where it is now.
            read = content
            _LOG.error("instance %s is not whole: %s", sop_instance_uid, fault)
            self.log.change(
                instance.KIND,
                sop_instance_uid,
                instance.find_unreadable,
                fault,
                content,
                fold=instance.fold,
                by=_BY,
            )
