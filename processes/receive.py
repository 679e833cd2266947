"""Receiving an instance: the one room behind C-STORE and STOW.

The order is fixed: bytes under their final name and durable, then the fact, then the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

from domain import instance, quarantine
from domain.errors import Because, Refused, Unavailable
from domain.event import Actor, Event, Particulars
from domain.instance import Content, DuplicateIgnored, DuplicateRefused, InstanceReplaced, InstanceStored, OnDuplicate
from domain.quarantine import InstanceQuarantined
from processes import unreadable
from processes.new_studies import Begin, any_study
from processes.ports import Failpoints, Files, Header, Incoming, Log
from processes.storages_by_log import StoragesByLog

_LOG = logging.getLogger("annals.receive")


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an instance: ``facts`` is empty when it was already stored with the same content."""

    header: Header
    facts: tuple[Event, ...]

    @property
    def ignored(self) -> bool:
        """Whether other content under a known UID was ignored (NET-6)."""
        return any(isinstance(fact, DuplicateIgnored) for fact in self.facts)


class Receiver:
    """Takes finished incoming objects into the archive."""

    def __init__(
        self,
        log: Log,
        files: Files,
        on_duplicate: OnDuplicate,
        failpoint: Failpoints,
        is_storable: Callable[[str], bool],
        begin_study: Begin = any_study,
    ) -> None:
        """``is_storable`` tells whether instances of a SOP class are stored (NET-5), ``begin_study`` may refuse one."""
        self._log = log
        self._files = files
        self._on_duplicate = on_duplicate
        self._failpoint = failpoint
        self._is_storable = is_storable
        self._begin_study = begin_study
        self._storages = StoragesByLog(log)

    def open(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str
    ) -> Incoming:
        """Begin to receive; raises 0122 and A700 before any data where nothing can be kept (NET-5, NET-8)."""
        if not self._is_storable(sop_class_uid):
            raise Refused(Because.SOP_CLASS_NOT_SUPPORTED, "instances of this SOP class are not stored")
        return self._files.receive(sop_class_uid, sop_instance_uid, transfer_syntax_uid, source_ae_title)

    def finish(
        self,
        incoming: Incoming,
        *,
        by: Actor,
        cause: str = "",
        study_instance_uid: str = "",
        warnings: Sequence[str] = (),
    ) -> Received:
        """Make a whole object part of the archive; after the return it survives power loss.

        With ``study_instance_uid`` an object of another study is refused with A900. ``warnings`` are recorded before
        those of the data set. Raises :class:`Refused` (nothing is kept) and :class:`Unavailable` (nothing is
        acknowledged; the file may stay as an orphan without a fact, which the reconciliation finds).
        """
        try:
            header = incoming.header()
        except Refused:
            if incoming.quarantined:
                self._record_quarantine(incoming.quarantined, by, cause)
            raise
        if study_instance_uid not in ("", header.study_instance_uid):
            raise Refused(Because.IDENTIFIER_DOES_NOT_MATCH, "the object is not of the study that the request names")
        with self._begin_study(header.study_instance_uid, by):
            return self._keep(incoming, header, by, cause, warnings)

    def _keep(self, incoming: Incoming, header: Header, by: Actor, cause: str, warnings: Sequence[str]) -> Received:
        content = incoming.keep()
        self._failpoint("receive.kept")
        particulars = self._log.particulars_for(header.particulars)
        stored = InstanceStored(
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            series_instance_uid=header.series_instance_uid,
            study_instance_uid=header.study_instance_uid,
            content=content,
            particulars=str(particulars.id),
            particulars_digest=particulars.digest,
            attributes=header.attributes,
            warnings=(*warnings, *header.warnings),
        )
        record = partial(
            self._log.change,
            instance.KIND,
            header.sop_instance_uid,
            self._store,
            stored,
            header,
            fold=instance.fold,
            by=by,
            cause=cause,
            particulars=(particulars,),
        )
        facts = record(new=True)
        self._failpoint("receive.recorded")
        for fact in facts:
            if isinstance(fact, DuplicateRefused):
                raise self._refused(incoming, stored, fact.difference)
        if not facts and self._is_lost(incoming, header, stored, by, cause):
            facts = record()
        if any(isinstance(fact, InstanceReplaced) for fact in facts):
            _LOG.info("replaced instance %s", header.sop_instance_uid)
        return Received(header, tuple(facts))

    def _record_quarantine(self, quarantined: InstanceQuarantined, by: Actor, cause: str) -> None:
        """The refusal stands whatever becomes of this fact: nothing was promised to the sender."""
        try:
            self._log.change(
                quarantine.KIND, quarantined.path, quarantine.quarantine, quarantined, by=by, cause=cause, new=True
            )
        except Unavailable as error:
            _LOG.error("%s of %s has no fact: %s", quarantined.path, quarantined.storage, error)

    def _store(self, known: instance.Instance | None, stored: InstanceStored, header: Header) -> list[Event]:
        # By the log: whoever follows the storages may be late, and say of what is being deleted that it is there.
        if known and (place := self._storages.now(known.stored.content.storage)) and place.is_going:
            if stored.content.storage == place.name:
                raise Refused(Because.OUT_OF_RESOURCES, f"storage {place.name}: was removed while this was received")
            # Whatever comes is the first that there is where the bytes were deleted, or else all that can be read.
            known = None if place.emptied else replace(known, unreadable=True)
        return instance.store(known, stored, self._on_duplicate, self._same_patient(known, header))

    def _same_patient(self, known: instance.Instance | None, header: Header) -> bool:
        if known is None:
            return True
        rows: Mapping[UUID, Particulars] = self._log.particulars([UUID(known.stored.particulars)])
        return all(
            _patient_id(row.content.get("patient", {})) == _patient_id(header.particulars.get("patient", {}))
            for row in rows.values()
        )

    def _is_lost(self, incoming: Incoming, header: Header, stored: InstanceStored, by: Actor, cause: str) -> bool:
        """Nothing happened. A copy beside the first one goes again, or takes its place where that one is not whole.

        Whether the first one, in another transfer syntax, is not whole: then this one is to be stored after all.
        """
        uid, new = stored.sop_instance_uid, stored.content
        known = self._state(uid)
        if instance.is_refused(known, stored, self._same_patient(known, header)):
            raise self._refused(incoming, stored, "identity")
        place = known.place_of(new.digest, new.transfer_syntax_uid) if known else None
        if place in (None, new):
            return False
        self._failpoint("receive.repeated")
        try:
            if not (fault := self._fault_of(place, new)):
                incoming.take_back(lambda: self._is_needed(uid, new))
                return False
            _LOG.error("instance %s is not whole in %s: %s", uid, place.storage, fault)
            if place.transfer_syntax_uid != new.transfer_syntax_uid:
                unreadable.record(self._log, uid, place, fault, by)
                return True
            self._log.change(instance.KIND, uid, instance.move, new, place, fold=instance.fold, by=by, cause=cause)
        except (Refused, Unavailable, OSError) as error:
            _LOG.warning("a second copy of %s stays in %s for the reconciliation: %s", uid, new.storage, error)
        return False

    def _refused(self, incoming: Incoming, stored: InstanceStored, difference: str) -> Refused:
        """The refusal of what contradicts the instance; nothing of it stays."""
        uid, new = stored.sop_instance_uid, stored.content
        try:
            incoming.take_back(lambda: self._is_needed(uid, new))
        except (Refused, OSError) as error:
            _LOG.warning("a refused duplicate of %s stays in %s for the reconciliation: %s", uid, new.storage, error)
        said = f"SOP Instance UID is stored already with another {difference}"
        return Refused(Because.IDENTIFIER_DOES_NOT_MATCH, said)

    def _fault_of(self, place: Content, new: Content) -> str:
        if (place.storage, place.path) == (new.storage, new.path):
            return "another file has its name, whose header is not of the same length"
        return self._files.fault_of(place)

    def _is_needed(self, sop_instance_uid: str, content: Content) -> bool:
        """Where the log does not answer it is."""
        try:
            known = self._state(sop_instance_uid)
        except Unavailable:
            return True
        return known is None or known.needs(content)

    def _state(self, sop_instance_uid: str) -> instance.Instance | None:
        return instance.fold(recorded.event for recorded in self._log.stream(instance.KIND, sop_instance_uid))


def _patient_id(patient: Mapping[str, Any]) -> tuple[Any, Any]:
    return _value(patient, "00100021"), _value(patient, "00100020")


def _value(attributes: Mapping[str, Any], tag: str) -> Any:
    values = attributes.get(tag, {}).get("Value") or [None]
    return values[0]
