"""What a URL of the studies service names (PS3.18 10.1): the instances there, and the URL of one."""

from __future__ import annotations

from api.dicomweb.rooms import Rooms
from api.problems import HttpRefusal
from domain.attributes import Level
from domain.errors import InvalidInput
from domain.identifiers import uid_fault
from processes.retrieve import Wanted

_LEVELS = (Level.STUDY, Level.SERIES, Level.IMAGE)


def found(rooms: Rooms, *uids: str) -> list[Wanted]:
    """The instances under a study, a series of it or an instance of that, in reading order.

    Raises InvalidInput for what is no UID, 404 where there is nothing, Refused (A701) for more than can be counted.
    """
    faults = [
        f"{level.name.lower()}: {fault}" for level, uid in zip(_LEVELS, uids, strict=False) if (fault := uid_fault(uid))
    ]
    if faults:
        raise InvalidInput(faults)
    wanted = rooms.retriever.under({level: (uid,) for level, uid in zip(_LEVELS, uids, strict=False)})
    if not wanted:
        # Never told apart: unknown, elsewhere, taken away (B52).
        raise HttpRefusal(404, "there is no such study, series or instance")
    return wanted


def url_of(service: str, wanted: Wanted) -> str:
    """The URL of an instance."""
    return (
        f"{service}/studies/{wanted.study_instance_uid}/series/{wanted.series_instance_uid}"
        f"/instances/{wanted.sop_instance_uid}"
    )
