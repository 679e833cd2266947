"""Which way an object is shown: as a picture, a video, a document or a report. Child processes only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from adapters.codecs.elements import FLOAT_PIXEL_DATA
from adapters.codecs.object import StoredObject
from adapters.codecs.unfit import Unacceptable, Unfit
from adapters.rendering.attributes import Attributes
from adapters.rendering.documents import DOCUMENT, document, document_type, video
from adapters.rendering.images import Picture
from adapters.rendering.messages import rendering_of
from adapters.rendering.report import CONTENT, report
from domain.frame_media import STREAMS, media_type_of
from domain.limits import Limits
from domain.rendering import ALL_FRAMES, ONLY_FRAME, TEXTS, Rendering, chosen


def show(
    stored: StoredObject,
    message: Mapping[str, Any],
    out: int,
    limits: Limits,
    more_time: Callable[[], None],
    state: StoredObject | None = None,
) -> dict[str, Any]:
    """Write what is asked for to ``out``; its media type and what its reader should know.

    ``state`` is the presentation state by which an image is shown.
    """
    asked = rendering_of(message)
    whole = Attributes(stored.source, stored.form, stored.header)
    notes: list[str] = []
    if stored.pixels is not None or any(tag in whole for tag in FLOAT_PIXEL_DATA):
        presented = Attributes(state.source, state.form, state.header) if state else None
        picture = partial(Picture, stored, limits, presented)
        media_type, pieces = _image(stored, asked, picture, more_time, notes)
    elif state is not None:
        raise Unfit("a presentation state is only of images")
    elif DOCUMENT in whole:
        media_type = _acceptable(asked, (document_type(whole),))
        pieces = document(whole)
    elif CONTENT in whole:
        media_type = _acceptable(asked, TEXTS)
        pieces = report(whole, media_type, limits)
    else:
        raise Unfit("there is nothing in this object that can be shown")
    with os.fdopen(os.dup(out), "wb") as file:
        for piece in pieces:
            file.write(piece)
            more_time()
    return {"media_type": media_type, "notes": notes}


def _image(
    stored: StoredObject,
    asked: Rendering,
    picture: Callable[[], Picture],
    more_time: Callable[[], None],
    notes: list[str],
) -> tuple[str, Iterable[bytes]]:
    if stored.syntax in STREAMS:
        if asked.frame not in (ALL_FRAMES, ONLY_FRAME):
            raise Unfit("the frames of a video are not shown one by one")
        return _acceptable(asked, (media_type_of(stored.syntax),)), video(stored)
    media_type, data, said = picture().rendered(asked, more_time)
    notes.extend(said)
    return media_type, (data,)


def _acceptable(asked: Rendering, served: tuple[str, ...]) -> str:
    found = chosen(asked.media_types, served)
    if not found:
        raise Unacceptable(f"this object is shown as {', '.join(served)}")
    return found
