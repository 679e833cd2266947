"""Presentation states: which stored images they show, by their metadata (PS3.3 C.11.11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from domain.attributes import Level
from domain.errors import NotAcceptable
from domain.rendering import ALL_FRAMES, can_present
from processes.metadata import SeriesMetadata
from processes.retrieve import Retriever, Wanted

_SERIES, _IMAGES, _INSTANCE, _FRAMES = "00081115", "00081140", "00081155", "00081160"


@dataclass(frozen=True, slots=True)
class Presented:
    """A frame of an image, from 1 on or :data:`ALL_FRAMES`, and the state that it is shown by, if by any."""

    image: Wanted
    frame: int
    state: Wanted | None = None


class PresentationStates:
    """The room that knows what a presentation state refers to."""

    def __init__(self, metadata: SeriesMetadata, retriever: Retriever) -> None:
        self._metadata = metadata
        self._retriever = retriever

    def presented(self, state: Wanted) -> list[Presented]:
        """The frames that the state is for, in its order, of the images of its study that are here.

        Raises NotAcceptable where images are not shown by states of its class, or none of them is here.
        """
        if not can_present(state.sop_class_uid):
            raise NotAcceptable("images are not shown by presentation states of this class")
        references = [
            (one, _values(one, _INSTANCE))
            for line in chain.from_iterable(self._metadata.lines([state]))
            for series in _items(orjson.loads(line), _SERIES)
            for one in _items(series, _IMAGES)
        ]
        uids = [uid for _, named in references for uid in named if isinstance(uid, str)]
        under = {Level.STUDY: [state.study_instance_uid], Level.IMAGE: list(dict.fromkeys(uids))}
        images = {one.sop_instance_uid: one for one in self._retriever.under(under)} if uids else {}
        found = [
            Presented(images[uid], frame, state)
            for one, named in references
            for uid in named
            if uid in images
            for frame in _frames(one)
        ]
        if not found:
            raise NotAcceptable("none of the images that the presentation state refers to is here")
        return found


def _items(data_set: Mapping[str, Any], tag: str) -> Iterator[Mapping[str, Any]]:
    yield from (item for item in data_set.get(tag, {}).get("Value", ()) if item)


def _values(item: Mapping[str, Any], tag: str) -> list[Any]:
    values: list[Any] = item.get(tag, {}).get("Value", [])
    return values


def _frames(item: Mapping[str, Any]) -> list[int]:
    """The frame numbers of a reference; without any it is for all."""
    numbers = [number for number in _values(item, _FRAMES) if isinstance(number, int) and number > 0]
    return numbers or [ALL_FRAMES]
