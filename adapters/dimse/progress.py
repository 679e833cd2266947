"""How far a retrieval is, in the responses to its request (PS3.7 9.1.3, 9.1.4; correctness C3.3, C3.4, C3.6)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.dimse.answers import PENDING
from adapters.dimse.association import Association
from adapters.dimse.command import Command
from adapters.dimse.encoding import RecordEncoder
from adapters.dimse.errors import AssociationEnded
from processes.retrieve import Tally

_FAILED_UIDS = "00080058"
_UID_LIST_BYTES_MAX = 65_534


@dataclass(slots=True)
class Progress:
    """Tells the requestor how far its retrieval is, at most once in an interval: without it clients give up (C3.6)."""

    association: Association
    context_id: int
    request: Command
    tally: Tally
    interval_seconds: float
    due: float = 0.0
    is_lost: bool = False

    def __call__(self) -> None:
        now = time.monotonic()
        if self.tally.remaining and now >= self.due:
            try:
                self.association.send(self.context_id, counted(self.request, PENDING, self.tally, self.tally.remaining))
            except AssociationEnded:
                self.is_lost = True
                raise
            self.due = now + self.interval_seconds


def counted(request: Command, status: int, tally: Tally, remaining: int | None) -> Command:
    """The response that tells the counts; ``remaining`` is None where the standard has it left out (C3.3)."""
    return request.response(
        status,
        remaining=remaining,
        completed=tally.completed,
        failed=tally.failed,
        warning=tally.warning,
    )


def failed_list(uids: Sequence[str], transfer_syntax: str) -> bytes:
    """Failed SOP Instance UID List (0008,0058) and nothing beside it, cut to what the VR's length field can tell."""
    room = _UID_LIST_BYTES_MAX
    listed = []
    for uid in uids:
        room -= len(uid) + 1
        if room < 0:
            break
        listed.append(uid)
    return RecordEncoder().encode_bare({_FAILED_UIDS: {"vr": "UI", "Value": listed}}, transfer_syntax)
