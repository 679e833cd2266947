"""Facts and their envelope: what every stream in the log has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid5

_STREAMS = UUID("9d9a1b1e-4f0c-5a44-9b0e-0c5a9f6b7f11")


@dataclass(frozen=True, slots=True)
class Event:
    """A past-tense fact. ``NAME`` is stored with it and never changes."""

    NAME: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who or what caused a fact.

    ``kind`` is ``device``, ``user``, ``rule`` or ``system``; ``name`` is the AE title, the login, the rule with its
    version or the part of the system; ``address`` is the peer's IP address where there is one.
    """

    kind: str
    name: str
    address: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.name, self.address and f"at {self.address}")))


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is recorded around a fact.

    ``at`` is UTC. ``cause`` is the position of the fact, or the id of the request, that led to it. ``command`` is the
    id of the command that appended it, by which an ambiguous commit is recognised afterwards.
    """

    at: datetime
    by: Actor
    cause: str = ""
    reason: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Particulars:
    """Personal and free-text data that a fact names but never holds (erasure deletes the row, never the fact).

    ``content`` is ``{"patient": ..., "study": ..., "series": ...}``, each in the DICOM JSON Model (PS3.18 Annex F).
    ``digest`` is the salted SHA-256 that the fact repeats.
    """

    id: UUID
    digest: str
    content: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact as it stands in the log. Positions rise in commit order and are not contiguous."""

    position: int
    stream: UUID
    version: int
    event: Event
    envelope: Envelope
    particulars: Particulars | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A stretch of the log as one reader sees it: the wanted facts of it, oldest first, and where it ends.

    ``count`` is how many facts the stretch has, wanted or not; 0 is the end of the log.
    """

    facts: Sequence[Recorded]
    count: int
    position: int


def stream_id(kind: str, key: str) -> UUID:
    """The id of the stream of one thing, such as ``("instance", sop_instance_uid)``."""
    # A command's argument may be no text: it names a stream that nothing is in.
    return uuid5(_STREAMS, f"{kind}:{key}".encode(errors="backslashreplace").decode())
