"""What the commands of the command line do, but for serving."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import typer

from adapters.log.wakeups import Wakeups
from annals import compose, history
from annals.settings import Settings
from domain import device, instance
from domain.attributes import Level
from domain.device import DeviceAdded
from domain.errors import InvalidInput
from domain.event import Actor, Recorded
from projections import devices
from projections.catalogue.select import select
from projections.engine import Reader

_BY = Actor("user", os.environ.get("SUDO_USER") or os.environ.get("USER") or "command line")
_PAGE = 500
_SHOWN_MAX = 65_536


def add_device(settings: Settings, ae_title: str, host: str, port: int, description: str) -> None:
    """Make a device known."""
    wanted = DeviceAdded(ae_title, host, port, description)
    with compose.database_for_command(settings) as dsn, compose.archive(settings, dsn, connections=2) as archive:
        facts = archive.log.change(device.KIND, ae_title, device.add, wanted, fold=device.fold, by=_BY)
        _catch_up(archive.readers())
    typer.echo(f"{history.escaped(ae_title)} is known at {host}:{port}" if facts else "nothing to change")


def remove_device(settings: Settings, ae_title: str) -> None:
    """Forget a device."""
    with compose.database_for_command(settings) as dsn, compose.archive(settings, dsn, connections=2) as archive:
        facts = archive.log.change(device.KIND, ae_title, device.remove, ae_title, fold=device.fold, by=_BY)
        _catch_up(archive.readers())
    if not facts:
        raise InvalidInput([f"{ae_title!a} is not a known device: see 'annals device list'"])
    typer.echo(f"{history.escaped(ae_title)} is forgotten")


def list_devices(settings: Settings) -> None:
    """Print the known devices."""
    with compose.database_for_command(settings) as dsn, compose.archive(settings, dsn, connections=2) as archive:
        _catch_up(archive.readers())
        with archive.devices.current() as connection:
            for known in devices.everyone(connection):
                typer.echo(f"{known.ae_title:<16}  {known.host}:{known.port}  {history.escaped(known.description)}")


def print_events(settings: Settings, after: int, follow: bool, stream: str) -> None:
    """Print the log, and with ``follow`` what comes."""
    with compose.database_for_command(settings) as dsn, compose.archive(settings, dsn, connections=2) as archive:
        if stream:
            for kind in (instance.KIND, device.KIND, "peer"):
                _print(archive.log.stream(kind, stream))
            return
        wakeups = Wakeups(dsn)
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


def explain(settings: Settings, uid: str) -> int:
    """Print the life of a study, series or instance; 1 when it is not known."""
    with compose.database_for_command(settings) as dsn, compose.archive(settings, dsn, connections=2) as archive:
        _catch_up(archive.readers())
        for level in (Level.IMAGE, Level.SERIES, Level.STUDY):
            with archive.catalogue.current() as connection:
                rows = select(connection, {level: [uid]}, _SHOWN_MAX)
            if rows:
                typer.echo(f"{level.name.lower()} {history.escaped(uid)}: {len(rows)} instances")
                facts = [fact for row in rows for fact in archive.log.stream(instance.KIND, row[1])]
                for line in history.life(facts):
                    typer.echo(line)
                return 0
    typer.echo(f"annals: nothing is known of {history.escaped(uid)}", err=True)
    return 1


def rebuild(settings: Settings, name: str) -> None:
    """Rebuild a read model beside the serving one, then switch."""
    projections = {projection.name: projection for projection in compose.PROJECTIONS}
    if name not in projections:
        raise InvalidInput([f"{name!a} is not one of {', '.join(projections)}"])
    with (
        compose.database_for_command(settings) as dsn,
        compose.archive(settings, dsn, connections=4, patient=True) as archive,
    ):
        began = time.monotonic()
        read = Reader(projections[name], archive.database, archive.log, archive.limits).rebuild()
        seconds = time.monotonic() - began
    typer.echo(f"{name}: {read} facts in {seconds:.1f} s ({read / max(seconds, 0.001):.0f}/s), switched")


def _catch_up(readers: Sequence[Reader]) -> None:
    """Bring the read models up to the log where no reader process runs."""
    for one in readers:
        one.prepare()
        while one.step():
            pass


def _print(facts: Sequence[Recorded]) -> None:
    for fact in facts:
        typer.echo(history.line(fact))
