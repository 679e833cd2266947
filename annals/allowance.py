"""How much this installation may hold, put together of its settings, its licence and its read models."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from adapters.log.log import utc_now
from domain.errors import InvalidInput, Unavailable
from domain.event import Actor
from domain.licence import least
from processes.licensing import Licensing
from processes.new_studies import NewStudies, Note
from projections.catalogue import studies

if TYPE_CHECKING:
    from annals.compose import Archive


def unnoted(_by: Actor, _why: str) -> None:
    """Where nobody is to be told whose new studies are refused."""


def licensing(archive: Archive) -> Licensing:
    """The room that brings licences into use."""
    return Licensing(archive.log, archive.settings.licence.public_key, _is_signed, utc_now, archive.limits)


def clients_max(archive: Archive) -> int | None:
    """How many devices there may be now, by the settings and by the licence in use; None for any number."""
    return least(archive.limits.clients_max, licensing(archive).allowed().clients_max)


def _is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of a key has signed a message."""
    # Only here: an open installation never needs it.
    from adapters.licence.signature import is_signed as verified

    return verified(public_key, message, signature)


def new_studies(archive: Archive, note: Note) -> NewStudies:
    """The new studies of this process."""

    def look(study_instance_uid: str, count_max: int) -> tuple[bool, int]:
        try:
            with archive.catalogue.now() as connection:
                if studies.is_there(connection, study_instance_uid):
                    return True, 0
            if not archive.catalogue.wait_for(archive.log.head()):
                raise Unavailable("which studies there are is not known now: the readers are behind, try again")
            with archive.catalogue.now() as connection:
                there = studies.is_there(connection, study_instance_uid)
                return there, studies.count(connection, count_max)
        except InvalidInput as error:
            raise Unavailable(str(error)) from None

    def alone() -> AbstractContextManager[object]:
        return archive.database.alone("begin of studies")

    return NewStudies(licensing(archive).allowed, look, alone, note, archive.limits)
