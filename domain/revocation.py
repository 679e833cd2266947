"""The stream of an authority's revocation list: whom it no longer vouches for (RFC 5280 5; B65)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from domain.errors import InvalidInput
from domain.event import Event

KIND = "revocation-list"


@dataclass(frozen=True, slots=True)
class RevocationListInstalled(Event):
    """An authority's list came into use in place of the one before.

    ``issuer`` is its RFC 4514 name and the key of the stream, ``revoked`` the serial numbers in lower-case hex; times
    are ISO 8601 in UTC, ``next_update`` empty where the list does not say. ``fingerprint`` is the SHA-256 of its DER.
    """

    NAME: ClassVar[str] = "RevocationListInstalled"
    issuer: str
    revoked: tuple[str, ...]
    this_update: str
    next_update: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class RevocationListRemoved(Event):
    """An authority's list is no longer used."""

    NAME: ClassVar[str] = "RevocationListRemoved"
    issuer: str


FACTS = (RevocationListInstalled, RevocationListRemoved)


def fold(events: Iterable[Event]) -> RevocationListInstalled | None:
    """The list in use, or None."""
    used: RevocationListInstalled | None = None
    for event in events:
        match event:
            case RevocationListInstalled():
                used = event
            case RevocationListRemoved():
                used = None
    return used


def install(used: RevocationListInstalled | None, uploaded: RevocationListInstalled, now: datetime) -> list[Event]:
    """Bring a list into use. Raises :class:`InvalidInput` for one that is old or not yet to be used."""
    faults = []
    if datetime.fromisoformat(uploaded.this_update) > now:
        faults.append(f"crl: it is not valid before {uploaded.this_update}")
    if overdue := overdue_since(uploaded, now):
        faults.append(f"crl: {overdue}")
    if used and datetime.fromisoformat(uploaded.this_update) < datetime.fromisoformat(used.this_update):
        faults.append(f"crl: it is older than the one in use, of {used.this_update}")
    if faults:
        raise InvalidInput(faults)
    return [] if used == uploaded else [uploaded]


def remove(used: RevocationListInstalled | None) -> list[Event]:
    """Take a list out of use; one that is not there is nothing."""
    return [RevocationListRemoved(used.issuer)] if used else []


def overdue_since(used: RevocationListInstalled, now: datetime) -> str:
    """What is to be said of a list that its authority meant to have replaced by now, or nothing."""
    if used.next_update and datetime.fromisoformat(used.next_update) < now:
        return f"a newer one was due on {used.next_update[:10]}"
    return ""
