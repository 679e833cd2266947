"""The composition root: every object is built once, from the settings, and handed down."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import migrations
from adapters.files.failpoints import failpoints
from adapters.log.log import EventLog
from adapters.postgres.database import Database
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import check_durability, migrate
from annals.settings import Settings
from domain import association, device, instance
from domain.instance import OnDuplicate
from domain.limits import Limits
from processes.receive import Receiver
from projections.catalogue import CATALOGUE
from projections.devices import DEVICES
from projections.engine import Reader, ReadModel

if TYPE_CHECKING:
    from adapters.files.storages import StoredFiles

FACTS = (*instance.FACTS, *device.FACTS, *association.FACTS)
PROJECTIONS = (CATALOGUE, DEVICES)
DEFAULT_STORAGE = "default"
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

    def readers(self) -> list[Reader]:
        """One reader for each projection."""
        return [Reader(projection, self.database, self.log, self.limits) for projection in PROJECTIONS]

    def files(self, environment: Mapping[str, str]) -> StoredFiles:
        """The storages."""
        # Only here: the indexer brings pydicom and numpy, half a second that no command but serving needs.
        from adapters.dicom.index import Indexer
        from adapters.files.storage import Storage
        from adapters.files.storages import StoredFiles

        failpoint = failpoints(environment)
        storage = Storage.open(self.settings.storage_root, DEFAULT_STORAGE, self.limits, failpoint)
        indexer = Indexer(self.limits, crop_accession_number=self.settings.storage.crop_accession_number)
        return StoredFiles([storage], self.limits, indexer, failpoint)

    def receiver(self, files: StoredFiles, environment: Mapping[str, str]) -> Receiver:
        """The room behind C-STORE."""
        policy = OnDuplicate.REPLACE if self.settings.storage.overwrite_image else OnDuplicate.IGNORE
        return Receiver(self.log, files, policy, failpoints(environment))


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
        )
    finally:
        database.close()
        log.close()
