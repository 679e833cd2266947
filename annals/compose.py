"""The composition root: every object is built once, from the settings, and handed down."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.files.attachment import marker
from adapters.files.failpoints import failpoints
from adapters.files.temporary import TemporaryFolder
from adapters.log.log import EventLog, utc_now
from adapters.postgres.database import Database
from annals import databases
from annals.allowance import new_studies, unnoted
from annals.settings import Settings
from domain import (
    admission,
    association,
    certificate,
    commitment,
    device,
    device_call,
    instance,
    licence,
    quarantine,
    rejection,
    revocation,
    storage,
)
from domain.errors import InvalidInput
from domain.event import Actor
from domain.instance import OnDuplicate
from domain.limits import Limits
from processes.commit_storage import Commitments
from processes.new_studies import Note
from processes.receive import Receiver
from processes.storages_by_log import StoragesByLog
from projections import storages
from projections.catalogue import CATALOGUE
from projections.certificates import CERTIFICATES
from projections.commitments import COMMITMENTS
from projections.devices import DEVICES
from projections.engine import Projection, Reader
from projections.read_model import ReadModel
from projections.rejections import REJECTIONS
from projections.storages import STORAGES

if TYPE_CHECKING:
    from adapters.codecs.transcoder import Transcoder
    from adapters.files.storages import StoredFiles

FACTS = (
    *instance.FACTS,
    *device.FACTS,
    *device_call.FACTS,
    *admission.FACTS,
    *association.FACTS,
    *quarantine.FACTS,
    *storage.FACTS,
    *certificate.FACTS,
    *revocation.FACTS,
    *rejection.FACTS,
    *licence.FACTS,
    *commitment.FACTS,
)
PROJECTIONS = (CATALOGUE, DEVICES, STORAGES, CERTIFICATES, REJECTIONS, COMMITMENTS)
DEFAULT_STORAGE = "default"
_SETTINGS = Actor("system", "settings")
_REBUILD_PATIENCE_SECONDS = 600.0
_GARBAGE_THRESHOLD = 100_000


@dataclass(slots=True)
class Archive:
    """What the roles share: the log, a pool of connections and the read models."""

    settings: Settings
    limits: Limits
    dsn: str
    log: EventLog
    database: Database
    catalogue: ReadModel
    devices: ReadModel
    storages: ReadModel
    certificates: ReadModel
    rejections: ReadModel
    open_commitments: ReadModel

    def readers(self) -> list[Reader]:
        """One reader for each projection."""
        return [Reader(projection, self.database, self.log, self.limits) for projection in PROJECTIONS]

    def files(self, environment: Mapping[str, str]) -> StoredFiles:
        """The storages; the first of them by the log, where no reader has made the read model yet."""
        # Only here: the indexer brings pydicom and numpy, half a second that no command but serving needs.
        from adapters.dicom.index import Indexer
        from adapters.files.storages import StoredFiles

        indexer = Indexer(self.limits, crop_accession_number=self.settings.storage.crop_accession_number)
        files = StoredFiles([], self.limits, indexer, failpoints(environment))
        try:
            known = self.known_storages()
        except InvalidInput:
            known = []
        files.use(known or self._first_storage())
        return files

    def known_storages(self) -> list[storage.Storage]:
        """The storages in the order of writing, the removed ones too."""
        with self.storages.now() as connection:
            return [one for one, _ in storages.everyone(connection)]

    def make_first_storage(self) -> None:
        """The folder of the settings becomes the first storage; moved with its data folder it is found again.

        Raises InvalidInput where the folder cannot be one.
        """
        from adapters.files.storage import Storage

        root = self.settings.storage_root.absolute()
        known = next(iter(self._first_storage()), None)
        if known is None:
            made = Storage.open(root, DEFAULT_STORAGE, self.limits)
            made.close()
            added = storage.StorageAdded(DEFAULT_STORAGE, str(made.storage_id), str(root))
            self.log.change(storage.KIND, DEFAULT_STORAGE, storage.add, added, fold=storage.fold, by=_SETTINGS)
        elif known.removed or known.path == str(root) or Path(known.path).exists():
            return
        elif marker(root) == known.storage_id:
            moved = (DEFAULT_STORAGE, str(root), None)
            self.log.change(storage.KIND, DEFAULT_STORAGE, storage.change, *moved, fold=storage.fold, by=_SETTINGS)

    def _first_storage(self) -> list[storage.Storage]:
        """The first storage by the log, for as long as the read model does not know it."""
        known = storage.fold(one.event for one in self.log.stream(storage.KIND, DEFAULT_STORAGE))
        return [known] if known else []

    def codecs(self) -> Transcoder:
        """The child processes that decode and encode; none is started until it is needed."""
        from adapters.codecs.transcoder import Transcoder

        as_instance = self.settings.transcoding.lossy_as_derived
        return Transcoder(self.limits, folder=self.temporary_folder(), lossy_as_instance=as_instance)

    def temporary_folder(self) -> TemporaryFolder:
        """Where the temp files of conversions, downloads and bulk data are made (STO-3)."""
        return TemporaryFolder(self.limits, self.settings.storage.temp_folder)

    def receiver(self, files: StoredFiles, environment: Mapping[str, str], note: Note = unnoted) -> Receiver:
        """The room behind C-STORE; ``note`` is told whose new studies are refused."""
        # Only here: it brings pydicom.
        from adapters.dicom.sop_classes import storable_sop_classes

        policy = OnDuplicate.REPLACE if self.settings.storage.overwrite_image else OnDuplicate.IGNORE
        is_storable = storable_sop_classes(accept_unknown=self.settings.dimse.accept_unknown_sop_classes)
        begin = new_studies(self, note)
        return Receiver(self.log, files, policy, failpoints(environment), is_storable, begin)

    def commitments(self, files: StoredFiles) -> Commitments:
        """The room of storage commitment."""
        return Commitments(self.log, files, StoragesByLog(self.log), utc_now, self.limits)


@contextmanager
def archive(settings: Settings, dsn: str, *, connections: int = 10, patient: bool = False) -> Iterator[Archive]:
    """Connect everything; ``patient`` is for work whose statements may take long."""
    # Facts are trees of plain data: looking for cycles in them at every turn costs a reader half its pace.
    gc.set_threshold(_GARBAGE_THRESHOLD, 20, 100)
    limits = settings.as_limits()
    log = EventLog(dsn, FACTS, limits)
    patience = _REBUILD_PATIENCE_SECONDS if patient else None
    database = Database(dsn, limits, size=connections, patience_seconds=patience)
    log.open()
    database.open()
    try:
        yield Archive(
            settings,
            limits,
            dsn,
            log,
            database,
            ReadModel(CATALOGUE.name, database, log, limits),
            ReadModel(DEVICES.name, database, log, limits),
            ReadModel(STORAGES.name, database, log, limits),
            ReadModel(CERTIFICATES.name, database, log, limits),
            ReadModel(REJECTIONS.name, database, log, limits),
            ReadModel(COMMITMENTS.name, database, log, limits),
        )
    finally:
        database.close()
        log.close()


@contextmanager
def archive_for_command(settings: Settings, *, connections: int = 2, patient: bool = False) -> Iterator[Archive]:
    """The archive as a command sees it, whether or not it runs (:func:`annals.databases.for_command`)."""
    with (
        databases.for_command(settings) as dsn,
        archive(settings, dsn, connections=connections, patient=patient) as one,
    ):
        yield one


def catch_up(archive: Archive) -> None:
    """Bring the read models up to the log where no reader process runs."""
    settle(archive, *PROJECTIONS)


def settle(archive: Archive, *projections: Projection) -> bool:
    """Bring read models up to the log, whether or not a reader process runs; whether they are, after a bounded wait."""
    head = archive.log.head()
    for projection in projections:
        reader = Reader(projection, archive.database, archive.log, archive.limits)
        reader.prepare()
        while reader.step():
            pass
    models = [ReadModel(one.name, archive.database, archive.log, archive.limits) for one in projections]
    return all(model.wait_for(head) for model in models)
