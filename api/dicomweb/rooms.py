"""What the DICOMweb services need of the archive, and who may enter them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request

from domain.device import Right
from domain.event import Actor
from domain.limits import Limits
from processes.bulk_data import BulkData
from processes.commit_storage import Commitments
from processes.find import Finder
from processes.metadata import SeriesMetadata
from processes.pixel_ports import Codecs, FrameLocator
from processes.ports import Composition, FileBeginnings, Files
from processes.presentation_states import PresentationStates
from processes.receive import Receiver
from processes.render import Renderer
from processes.retrieve import Retriever
from processes.thumbnails import Thumbnails

Authorise = Callable[[Request, Right], Actor]
"""Who asks, if that right is theirs. Raises Refused (NOT_AUTHORISED). DICOMweb's own port asks the device's address,
the console its session."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What the services that give objects out need (WADO-RS and the URI service), each shared with a DIMSE service."""

    retriever: Retriever
    finder: Finder
    files: Files
    codecs: Codecs
    locate_frames: FrameLocator
    renderer: Renderer
    presentation_states: PresentationStates
    thumbnails: Thumbnails
    metadata: SeriesMetadata
    bulk_data: BulkData
    limits: Limits


@dataclass(frozen=True, slots=True)
class Storing:
    """What the services need that take objects in (STOW-RS) and promise to keep them (storage commitment)."""

    receiver: Receiver
    files: Files
    file_beginnings: FileBeginnings
    compose: Callable[[], Composition]
    commitments: Commitments
    limits: Limits


def allowed(authorise: Authorise, right: Right) -> Any:
    """A dependency of routes: the :class:`Actor`, once the right is sure (``by: Actor = allowed(...)``)."""

    def ask(request: Request) -> Actor:
        return authorise(request, right)

    return Depends(ask)
