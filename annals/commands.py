"""What the commands of the command line do, but for serving."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import typer

from adapters.log.wakeups import Wakeups
from annals import compose, history
from annals.settings import Settings
from domain import admission, association, certificate, commitment, device, instance, licence, revocation, storage
from domain.attributes import Level
from domain.device import Kind
from domain.errors import InvalidInput
from domain.event import Recorded
from domain.instance import InstanceMoved, InstanceStored
from domain.storage import StorageRemoved
from projections.catalogue.select import select
from projections.engine import Reader

_STREAMS = (instance, device, admission, association, storage, certificate, revocation, licence, commitment)
READ_MODELS = {projection.name: projection for projection in compose.PROJECTIONS}
_PAGE = 500
_SHOWN_MAX = 65_536


def print_events(settings: Settings, after: int, follow: bool, stream: str) -> None:
    """Print the log, and with ``follow`` what comes; or the facts about what has one name. Raises InvalidInput."""
    if stream and follow:
        raise InvalidInput(["--follow: is not for --stream"])
    with compose.archive_for_command(settings) as archive:
        if stream:
            for kind, key in _named(stream):
                _print([fact for fact in archive.log.stream(kind, key) if fact.position > after])
            return
        wakeups = Wakeups(archive.dsn)
        if follow:
            wakeups.open()
        try:
            while True:
                seen = wakeups.seen()
                while facts := archive.log.read(after, _PAGE):
                    _print(facts)
                    after = facts[-1].position
                if not follow:
                    return
                wakeups.wait(seen, 1.0)
        except KeyboardInterrupt:
            return
        finally:
            if follow:
                wakeups.close()


def _named(name: str) -> Iterator[tuple[str, str]]:
    """The streams of what may have a name."""
    yield from ((module.KIND, name) for module in _STREAMS)
    yield certificate.DEVICE_KIND, name
    yield device.KIND, device.key(Kind.WADO, "", name)


def explain(settings: Settings, uid: str) -> int:
    """Print the life of a study, series or instance; 1 when it is not known."""
    with compose.archive_for_command(settings) as archive:
        compose.catch_up(archive)
        for level in (Level.IMAGE, Level.SERIES, Level.STUDY):
            with archive.catalogue.current() as connection:
                rows = select(connection, {level: [uid]}, _SHOWN_MAX)
                rows += select(connection, {level: [uid]}, _SHOWN_MAX, withdrawn=True)
            if rows:
                typer.echo(f"{level.name.lower()} {history.escaped(uid)}: {len(rows)} instances")
                facts = [fact for row in rows for fact in archive.log.stream(instance.KIND, row[1])]
                facts += _deletions(archive, facts)
                for line in history.life(facts):
                    typer.echo(line)
                return 0
    typer.echo(f"annals: nothing is known of {history.escaped(uid)}", err=True)
    return 1


def _deletions(archive: compose.Archive, facts: Sequence[Recorded]) -> list[Recorded]:
    """That the storages which these facts of instances name were removed with their files."""
    named = {one.event.content.storage for one in facts if isinstance(one.event, InstanceStored | InstanceMoved)}
    return [
        one
        for name in named
        for one in archive.log.stream(storage.KIND, name)
        if isinstance(one.event, StorageRemoved) and one.event.files
    ]


def rebuild(settings: Settings, name: str) -> None:
    """Rebuild a read model beside the serving one, then switch."""
    if name not in READ_MODELS:
        raise InvalidInput([f"{name!a} is not one of {', '.join(READ_MODELS)}"])
    with compose.archive_for_command(settings, connections=4, patient=True) as archive:
        began = time.monotonic()
        read = Reader(READ_MODELS[name], archive.database, archive.log, archive.limits).rebuild()
        seconds = time.monotonic() - began
    typer.echo(f"{name}: {read} facts in {seconds:.1f} s ({read / max(seconds, 0.001):.0f}/s), switched")


def _print(facts: Sequence[Recorded]) -> None:
    for fact in facts:
        typer.echo(history.line(fact))
