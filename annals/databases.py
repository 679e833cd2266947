"""The database of an archive: the embedded server or the one of the settings, brought to this program's migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import migrations
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import check_durability, migrate
from annals import connections
from annals.settings import Settings


def embedded(settings: Settings) -> EmbeddedPostgres | None:
    """The embedded server, or None where an external database is set."""
    if settings.database.dsn:
        return None
    own = {"max_connections": str(connections.together(settings))}
    return EmbeddedPostgres(settings.data / "postgres", settings=own, run_as=settings.database.run_as)


def prepare(dsn: str) -> None:
    """Refuse a forgetful database, then bring it to this program's migrations."""
    folder = Path(next(iter(migrations.__path__)))
    migrate(dsn, folder)
    check_durability(dsn)


@contextmanager
def for_command(settings: Settings) -> Iterator[str]:
    """The DSN for a command; an embedded server that does not run is started for as long as it is used."""
    server = embedded(settings)
    if server is None:
        prepare(settings.database.dsn)
        yield settings.database.dsn
        return
    settings.data.mkdir(parents=True, exist_ok=True)
    try:
        server.start()
        prepare(server.dsn())
        yield server.dsn()
    finally:
        server.leave()
