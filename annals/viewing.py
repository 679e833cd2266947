"""What viewers are given that is made of stored objects: metadata, thumbnails and single values (decision 13)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from processes.bulk_data import BulkData
from processes.metadata import SeriesMetadata
from processes.render import Renderer
from processes.retrieve import Retriever
from processes.thumbnails import Thumbnails
from projections.catalogue import due
from projections.derived import Derived, DerivedTables
from projections.series_metadata import SERIES_METADATA
from projections.thumbnails import THUMBNAILS

if TYPE_CHECKING:
    from adapters.codecs.transcoder import Transcoder
    from adapters.files.storages import StoredFiles
    from annals.compose import Archive

DERIVED = (SERIES_METADATA, THUMBNAILS)


def derived(archive: Archive, kind: Derived) -> DerivedTables:
    """The tables of one kind of derived data."""
    return DerivedTables(kind, archive.database)


def prepare_derived(archive: Archive, anew: Collection[str] = ()) -> None:
    """Make the tables of derived data where they are missing, or of kinds that are wanted ``anew``.

    All of such a kind is due then: in one transaction, so that no crash leaves tables for which nothing is.
    """
    for kind in DERIVED:
        tables = derived(archive, kind)
        with archive.catalogue.now() as connection:
            if tables.are_missing(connection) or kind.kind in anew:
                due.everything(connection, kind.kind)
                tables.make(connection)


def series_metadata(archive: Archive, files: StoredFiles) -> SeriesMetadata:
    """The room that makes and gives metadata."""
    # Only here: it brings pydicom.
    from adapters.dicom.json_model import JsonModel

    retriever = Retriever(archive.catalogue, archive.log, archive.limits)
    return SeriesMetadata(
        retriever, derived(archive, SERIES_METADATA), files, JsonModel(archive.limits), archive.limits
    )


def bulk_data(archive: Archive, files: StoredFiles, codecs: Transcoder) -> BulkData:
    """The room that gives single values of stored objects."""
    from adapters.dicom.json_model import JsonModel

    return BulkData(files, JsonModel(archive.limits), codecs)


def thumbnails(archive: Archive, files: StoredFiles, codecs: Transcoder) -> Thumbnails:
    """The room that makes and gives thumbnails."""
    renderer = Renderer(archive.catalogue, files, codecs)
    return Thumbnails(renderer, derived(archive, THUMBNAILS), archive.limits)
