"""The composition root: every object is built once, from the settings, and handed down."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import migrations
from adapters.files.attachment import marker
from adapters.files.failpoints import failpoints
from adapters.files.temporary import TemporaryFolder
from adapters.log.log import EventLog, utc_now
from adapters.postgres.database import Database
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import check_durability, migrate
from annals.allowance import clients_max, new_studies, unnoted
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
from domain.address import host_fault
from domain.errors import InvalidInput, Unavailable
from domain.event import Actor
from domain.instance import OnDuplicate
from domain.limits import Limits
from processes.bulk_data import BulkData
from processes.call_device import DeviceCalls
from processes.certify import Certifier
from processes.commit_storage import Commitments
from processes.metadata import SeriesMetadata
from processes.new_studies import Note
from processes.receive import Receiver
from processes.register import Registrar
from processes.render import Renderer
from processes.retrieve import Retriever
from processes.storages_by_log import StoragesByLog
from processes.thumbnails import Thumbnails
from projections import devices, storages
from projections.catalogue import CATALOGUE, due
from projections.certificates import CERTIFICATES
from projections.commitments import COMMITMENTS
from projections.derived import Derived, DerivedTables
from projections.devices import DEVICES
from projections.engine import Projection, Reader, ReadModel
from projections.rejections import REJECTIONS
from projections.series_metadata import SERIES_METADATA
from projections.storages import STORAGES
from projections.thumbnails import THUMBNAILS

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
DERIVED = (SERIES_METADATA, THUMBNAILS)
DEFAULT_STORAGE = "default"
_SETTINGS = Actor("system", "settings")
_REBUILD_PATIENCE_SECONDS = 600.0
_GARBAGE_THRESHOLD = 100_000


def embedded(settings: Settings) -> EmbeddedPostgres | None:
    """The embedded server, or None where an external database is set."""
    if settings.database.dsn:
        return None
    return EmbeddedPostgres(settings.data / "postgres", run_as=settings.database.run_as)


def prepare_database(dsn: str) -> None:
    """Refuse a forgetful database, then bring it to this program's migrations."""
    folder = Path(next(iter(migrations.__path__)))
    migrate(dsn, folder)
    check_durability(dsn)


@contextmanager
def database_for_command(settings: Settings) -> Iterator[str]:
    """The DSN for a command; an embedded server that does not run is started for as long as the command takes."""
    server = embedded(settings)
    if server is None:
        prepare_database(settings.database.dsn)
        yield settings.database.dsn
        return
    settings.data.mkdir(parents=True, exist_ok=True)
    server.start()
    try:
        prepare_database(server.dsn())
        yield server.dsn()
    finally:
        server.stop()


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

    def derived(self, kind: Derived) -> DerivedTables:
        """The tables of one kind of derived data."""
        return DerivedTables(kind, self.database)

    def prepare_derived(self) -> None:
        """Make the tables of derived data where they are missing; a new kind or version is due for every series."""
        for kind in DERIVED:
            if self.derived(kind).prepare():
                with self.catalogue.now() as connection:
                    due.everything(connection, kind.kind)

    def series_metadata(self, files: StoredFiles) -> SeriesMetadata:
        """The room that makes and gives metadata."""
        # Only here: it brings pydicom.
        from adapters.dicom.json_model import JsonModel

        retriever = Retriever(self.catalogue, self.log, self.limits)
        return SeriesMetadata(retriever, self.derived(SERIES_METADATA), files, JsonModel(self.limits), self.limits)

    def bulk_data(self, files: StoredFiles, codecs: Transcoder) -> BulkData:
        """The room that gives single values of stored objects."""
        from adapters.dicom.json_model import JsonModel

        return BulkData(files, JsonModel(self.limits), codecs)

    def thumbnails(self, files: StoredFiles, codecs: Transcoder) -> Thumbnails:
        """The room that makes and gives thumbnails."""
        renderer = Renderer(self.catalogue, files, codecs)
        return Thumbnails(renderer, self.derived(THUMBNAILS), self.limits)

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
        elif known.path != str(root) and not Path(known.path).exists() and marker(root) == known.storage_id:
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
        """Where the temp files of conversions and downloads are made (STO-3)."""
        return TemporaryFolder(self.limits, self.settings.storage.temp_folder)

    def receiver(self, files: StoredFiles, environment: Mapping[str, str], note: Note = unnoted) -> Receiver:
        """The room behind C-STORE; ``note`` is told whose new studies are refused."""
        # Only here: it brings pydicom.
        from adapters.dicom.sop_classes import storable_sop_classes

        policy = OnDuplicate.REPLACE if self.settings.storage.overwrite_image else OnDuplicate.IGNORE
        is_storable = storable_sop_classes(accept_unknown=self.settings.dimse.accept_unknown_sop_classes)
        begin = new_studies(self, note)
        return Receiver(self.log, files, policy, failpoints(environment), is_storable, begin)

    def certifier(self) -> Certifier:
        """The room that changes which certificates are in use."""
        # Only here: reading certificates brings a library of its own.
        from adapters.tls.keys import PrivateKeys
        from adapters.tls.reading import is_signed_by, present
        from adapters.tls.revocation import read_list

        return Certifier(self.log, PrivateKeys(self.database), present, read_list, is_signed_by, utc_now, self.limits)

    def registrar(self) -> Registrar:
        """The room that makes devices known and forgets them."""
        from adapters.tls.reading import present

        def alone() -> AbstractContextManager[object]:
            return self.database.alone("registration of devices")

        def count_max() -> int | None:
            return clients_max(self)

        return Registrar(self.log, present, utc_now, self.limits, self._count_devices, alone, count_max)

    def commitments(self, files: StoredFiles) -> Commitments:
        """The room of storage commitment."""
        return Commitments(self.log, files, StoragesByLog(self.log), utc_now, self.limits)

    def device_calls(self) -> DeviceCalls:
        """The room that lets somebody call a device."""
        from adapters.network.own import is_own
        from adapters.network.resolver import Resolver

        settings, names = self.settings, Resolver(self.limits)
        ports = {*settings.dimse_ports.values(), settings.http.port, settings.dicomweb.port}

        def addresses(host: str) -> frozenset[str]:
            return names.addresses(host, self.limits.name_wait_seconds)

        return DeviceCalls(self.log, utc_now, self.limits, addresses, is_own, ports)

    def _count_devices(self) -> int:
        if not settle(self, DEVICES):
            raise Unavailable("how many devices there are is not known now: the readers are behind, try again")
        with self.devices.now() as connection:
            return devices.count(connection)

    def make_demo_certificates(self, by: Actor, *, anew: bool = False) -> bool:
        """Make a demo set where the server never had a certificate, or ``anew``; whether one was made."""
        if not anew and self.log.stream(certificate.KIND, certificate.SERVER):
            return False
        from adapters.tls.demo import demo_set

        names = tuple(dict.fromkeys(("localhost", *(name for name in (socket.gethostname(),) if not host_fault(name)))))
        return bool(self.certifier().install(demo_set(names, utc_now(), self.limits), by, demo=True))


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
