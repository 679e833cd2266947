"""The stream of one storage commitment: asked for, decided, told (PS3.4 J, PS3.18 13; correctness C5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import ClassVar

from domain.errors import Because, Refused
from domain.event import Event
from domain.identifiers import uid_fault
from domain.limits import Limits

KIND = "commitment"


class FailureReason(IntEnum):
    """Why an instance is not committed: Failure Reason (0008,1197), PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    RESOURCE_LIMITATION = 0x0213


@dataclass(frozen=True, slots=True)
class CommitmentRequested(Event):
    """Somebody asked that instances be kept safe; from then on the transaction's UID is in use.

    ``ae_title`` is who is told, empty for who comes and looks (over the web), ``called_ae_title`` whom it had called.
    ``references`` are the SOP Class UIDs of the instances, by SOP Instance UID. ``places`` are those of them that were
    asked for below their studies (PS3.18 J.1), each as ``study/series/instance``; they are answered in that form.
    """

    NAME: ClassVar[str] = "CommitmentRequested"
    transaction_uid: str
    ae_title: str
    called_ae_title: str
    references: Mapping[str, str]
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitmentDecided(Event):
    """The files were read: all instances are kept safe but the ``failed``, by SOP Instance UID with the reason."""

    NAME: ClassVar[str] = "CommitmentDecided"
    transaction_uid: str
    failed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommitmentReported(Event):
    """Who had asked was told the decision, and has said that it was understood."""

    NAME: ClassVar[str] = "CommitmentReported"
    transaction_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentGivenUp(Event):
    """Who had asked could not be told for too long; ``why`` is what happened the last time."""

    NAME: ClassVar[str] = "CommitmentGivenUp"
    transaction_uid: str
    why: str


FACTS = (CommitmentRequested, CommitmentDecided, CommitmentReported, CommitmentGivenUp)


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance that a request names; with its study and series where it stands below them."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Commitment:
    """One transaction as it is now; ``failed`` is None until it was decided."""

    requested: CommitmentRequested
    failed: Mapping[str, int] | None = None
    is_ended: bool = False

    @property
    def committed(self) -> list[str]:
        """The instances that are kept safe, by SOP Instance UID; none until it was decided."""
        return [uid for uid in self.requested.references if uid not in self.failed] if self.failed is not None else []


def fold(events: Iterable[Event]) -> Commitment | None:
    """The transaction; None where nobody has asked."""
    known: Commitment | None = None
    for event in events:
        match event:
            case CommitmentRequested():
                known = Commitment(event)
            case CommitmentDecided(failed=failed) if known:
                known = replace(known, failed=failed, is_ended=not known.requested.ae_title)
            case CommitmentReported() | CommitmentGivenUp() if known:
                known = replace(known, is_ended=True)
    return known


def request(known: Commitment | None, asked: CommitmentRequested) -> list[Event]:
    """Ask. Raises :class:`Refused` for a transaction UID that was ever used (correctness C5.4)."""
    if known is not None:
        raise Refused(Because.DUPLICATE_TRANSACTION_UID, "the Transaction UID is in use: ask with a new one")
    return [asked]


def decide(known: Commitment, failed: Mapping[str, int]) -> list[Event]:
    """Decide, or decide anew before somebody is told: what was lost since then is not promised."""
    if known.is_ended or known.failed == failed:
        return []
    return [CommitmentDecided(known.requested.transaction_uid, failed)]


def report(known: Commitment) -> list[Event]:
    """It was told and understood: the transaction UID is not used again (PS3.4 J.3.3.1.2)."""
    return [] if known.is_ended else [CommitmentReported(known.requested.transaction_uid)]


def give_up(known: Commitment, why: str) -> list[Event]:
    """Tell no more."""
    return [] if known.is_ended else [CommitmentGivenUp(known.requested.transaction_uid, why)]


def is_overdue(tried_at: datetime, now: datetime, limits: Limits) -> bool:
    """Whether somebody could not be told for so long, from the first try, that it is given up."""
    return now - tried_at > timedelta(days=limits.commitment_report_days)


def checked(transaction_uid: str, references: Iterable[tuple[str, str]], limits: Limits) -> Mapping[str, str]:
    """The SOP classes by instance of what a request names as pairs (class, instance). Raises :class:`Refused` (0115).

    A request without a Transaction UID or without instances never means all (correctness C5.5).
    """
    known: dict[str, str] = {}
    fault = uid_fault(transaction_uid)
    if fault:
        raise Refused(Because.INVALID_ARGUMENT, f"Transaction UID {fault}")
    for sop_class_uid, sop_instance_uid in references:
        if fault := uid_fault(sop_class_uid) or uid_fault(sop_instance_uid):
            raise Refused(Because.INVALID_ARGUMENT, f"a referenced UID {fault}")
        if known.setdefault(sop_instance_uid, sop_class_uid) != sop_class_uid:
            raise Refused(Because.INVALID_ARGUMENT, "an instance is referenced with two SOP classes")
        if len(known) > limits.commitment_references_max:
            raise Refused(
                Because.INVALID_ARGUMENT, f"more than {limits.commitment_references_max} instances: ask for fewer"
            )
    if not known:
        raise Refused(Because.INVALID_ARGUMENT, "no instance is referenced")
    return known


def placed(references: Iterable[Reference]) -> tuple[str, ...]:
    """The ``places`` of what a request names. Raises :class:`Refused` (0115), also for an instance in two places."""
    known: dict[str, str] = {}
    for one in references:
        place = ""
        if one.study_instance_uid or one.series_instance_uid:
            if fault := uid_fault(one.study_instance_uid) or uid_fault(one.series_instance_uid):
                raise Refused(Because.INVALID_ARGUMENT, f"the UID of a study or series {fault}")
            place = f"{one.study_instance_uid}/{one.series_instance_uid}"
        if known.setdefault(one.sop_instance_uid, place) != place:
            raise Refused(Because.INVALID_ARGUMENT, "an instance is referenced in two places")
    return tuple(f"{place}/{uid}" for uid, place in known.items() if place)


def places_of(asked: CommitmentRequested) -> Mapping[str, tuple[str, str]]:
    """Study and series by SOP Instance UID, of the instances that were asked for below them."""
    return {uid: (study, series) for study, series, uid in (place.split("/") for place in asked.places)}
