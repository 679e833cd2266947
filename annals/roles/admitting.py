"""Admission in the words of the DIMSE door: what the rules say becomes PDUs, statuses and facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from adapters.dimse.associate_request import AssociationRequest
from adapters.dimse.association import Association
from adapters.dimse.negotiation import (
    CALLED_AE_NOT_RECOGNISED,
    CALLING_AE_NOT_RECOGNISED,
    TEMPORARY_CONGESTION,
    Rejection,
)
from annals.roles.trust import Trust
from domain.device import Right
from domain.errors import Because, Refused, Unavailable
from domain.event import Actor
from processes.admission import Admission, TurnedAway
from processes.known_devices import KnownDevices
from processes.new_studies import Note
from processes.rejections import Rejections

_ANSWERS = {
    TurnedAway.CALLED_AE_TITLE: CALLED_AE_NOT_RECOGNISED,
    TurnedAway.CALLING_AE_TITLE: CALLING_AE_NOT_RECOGNISED,
    TurnedAway.ADDRESS: CALLING_AE_NOT_RECOGNISED,
    TurnedAway.NOT_NOW: TEMPORARY_CONGESTION,
}


def admit(admission: Admission, trust: Trust) -> Callable[[AssociationRequest], Rejection | None]:
    """The listener's question whether a peer gets an association."""

    def ask(request: AssociationRequest) -> Rejection | None:
        calling = request.calling_ae_title
        away = admission.turned_away(calling, request.called_ae_title, request.peer_address)
        if away:
            return replace(_ANSWERS[away], why=away.value)
        try:
            claimed = admission.claimed(calling, request.peer_address)
            fault = trust.fault_of(calling, request.peer_certificates, claimed)
        except Unavailable as error:
            return replace(TEMPORARY_CONGESTION, why=str(error))
        return replace(CALLING_AE_NOT_RECOGNISED, why=fault) if fault else None

    return ask


def note(rejections: Rejections) -> Callable[[Rejection, str, str, str], None]:
    """Where the listener tells of those it turned away."""

    def tell(rejection: Rejection, address: str, calling: str, called: str) -> None:
        rejections.note(address, rejection.why, answer=str(rejection), calling=calling, called=called)

    return tell


def is_registered(known: KnownDevices) -> Callable[[str, str], bool]:
    """Whether an AE title is that of a device that is registered now, and an address is where it is."""

    def ask(ae_title: str, address: str) -> bool:
        device = known.registered(ae_title)
        return device is not None and known.is_at(device, address, wait=True)

    return ask


def note_sender(rejections: Rejections) -> Note:
    """Where the room behind C-STORE tells of those whose new studies it refused."""

    def tell(by: Actor, why: str) -> None:
        rejections.note(by.address, why, answer=f"{Because.OUT_OF_RESOURCES.value:04X}", calling=by.name)

    return tell


def permit(admission: Admission, rejections: Rejections) -> Callable[[Association, tuple[Right, ...]], None]:
    """The server's question whether the peer of an association has rights."""

    def ask(association: Association, needed: tuple[Right, ...]) -> None:
        calling, address = association.calling_ae_title, association.peer_address
        try:
            admission.check(calling, address, needed)
        except Refused as refused:
            answer = f"{refused.because.value:04X}"
            rejections.note(address, str(refused), answer=answer, calling=calling, called=association.called_ae_title)
            raise

    return ask
