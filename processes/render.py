"""Rendering: stored objects as a person sees them, and which of them stand for a series or a study."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from domain.errors import Because, NotAcceptable, Refused
from domain.instance import Content
from domain.rendering import Rendering
from processes.pixel_ports import Codecs, Shown, Stored
from processes.ports import Files
from processes.retrieve import Wanted
from projections.catalogue.represent import representatives
from projections.read_model import ReadModel


class Renderer:
    """What cannot be shown fails alone: the codecs run in processes of their own (B13 to B16)."""

    def __init__(self, catalogue: ReadModel, files: Files, codecs: Codecs) -> None:
        self._catalogue = catalogue
        self._files = files
        self._codecs = codecs

    def representing(self, study: str, series: str = "") -> Sequence[Wanted]:
        """The images that can stand for a study or a series, the best first (PS3.18 10.4.1.1.4)."""
        with self._catalogue.current() as connection:
            rows = representatives(connection, study, series)
        return [
            Wanted(sop_class, sop_instance, series_uid, study_uid, Content(*content))
            for sop_class, sop_instance, series_uid, study_uid, *content in rows
        ]

    def shown(self, wanted: Wanted, asked: Rendering, state: Wanted | None = None) -> Shown:
        """The object as it is asked for, by a presentation state where one is given; the caller closes its descriptor.

        Raises NotAcceptable where it cannot be shown, NotThere where it has no such frame, Unavailable or Refused
        (A700) where its storage or a codec process is not to be had now, OSError where its file cannot be read.
        """
        try:
            with self._opened(wanted) as stored:
                if state is None:
                    return self._codecs.shown(stored, asked)
                with self._opened(state) as by:
                    return self._codecs.shown(stored, asked, by)
        except Refused as refused:
            if refused.because is Because.CANNOT_PERFORM_SUB_OPERATIONS:
                raise NotAcceptable(f"the object cannot be shown: {refused}") from refused
            raise

    @contextmanager
    def _opened(self, wanted: Wanted) -> Iterator[Stored]:
        content = wanted.content
        descriptor = self._files.open(content)
        try:
            yield Stored(descriptor, content.header_size, content.size, content.transfer_syntax_uid)
        finally:
            os.close(descriptor)
