"""Thumbnails: one a series made in the background, or when it is asked for earlier, and given out without its image."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from domain.errors import NotAcceptable, NotThere
from domain.limits import Limits
from domain.rendering import JPEG, Rendering
from processes.pixel_ports import Shown
from processes.render import Renderer
from processes.retrieve import Wanted
from projections import thumbnails
from projections.derived import DerivedTables

_LOG = logging.getLogger("annals.thumbnails")


class Thumbnails:
    """The room of thumbnails. Fills :class:`processes.derive.Maker`.

    Those of one size are kept: :attr:`kept`. The one that stands for a study is that of one of its series.
    """

    kind = thumbnails.THUMBNAILS.kind

    def __init__(self, renderer: Renderer, tables: DerivedTables, limits: Limits) -> None:
        self._renderer = renderer
        self._tables = tables
        self.kept = Rendering((JPEG,), size=(limits.thumbnail_side,) * 2)

    def make(self, study_instance_uid: str, series_instance_uid: str) -> None:
        """Let a series have its thumbnail. One in which nothing can be shown has none: that is no failure (B14)."""
        candidates = self._renderer.representing(study_instance_uid, series_instance_uid)
        try:
            os.close(self.of(candidates).descriptor)
        except NotThere:
            with self._tables.connection() as connection:
                thumbnails.forget(connection, study_instance_uid, series_instance_uid)

    def of(self, candidates: Sequence[Wanted]) -> Shown:
        """The thumbnail of the first of these images that can be shown; the caller closes its descriptor.

        Raises NotThere where none can, otherwise as :meth:`processes.render.Renderer.shown` does.
        """
        for one in candidates:
            if picture := self._picture(one):
                return _in_memory(picture)
        for one in candidates:
            try:
                shown = self._renderer.shown(one, self.kept)
            except NotAcceptable as error:
                _LOG.info("instance %s has no thumbnail: %s", one.sop_instance_uid, error)
                continue
            with self._tables.connection() as connection:
                picture = os.pread(shown.descriptor, shown.length, 0)
                thumbnails.keep(connection, *_series(one), one.content.digest, picture)
            return shown
        raise NotThere("there is nothing of which a thumbnail could be made")

    def _picture(self, one: Wanted) -> bytes:
        with self._tables.connection() as connection:
            return thumbnails.kept(connection, *_series(one), one.content.digest)


def _series(one: Wanted) -> tuple[str, str]:
    return one.study_instance_uid, one.series_instance_uid


def _in_memory(picture: bytes) -> Shown:
    descriptor = os.memfd_create("thumbnail")
    os.write(descriptor, picture)
    return Shown(JPEG, descriptor, len(picture))
