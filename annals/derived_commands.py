"""``annals derived``: what is made of the objects in the background, and what could not be made (decision 13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from annals import compose, history, viewing
from annals.compose import Archive
from annals.options import Cfg, Data, settings_of
from domain.errors import InvalidInput
from projections.catalogue import due

app = typer.Typer(help="Derived data: metadata and thumbnails prepared for viewers.", no_args_is_help=True)
_SHOWN_MAX = 1_000
Kind = Annotated[str, typer.Argument(help=f"One of {', '.join(due.KINDS)}; all where none is named.")]


@app.command("list")
def list_(data: Data = None, cfg: Cfg = None) -> None:
    """Print how much is due, and what could not be made and why; exit code 1 where something could not."""
    with _archive(data, cfg) as archive, archive.catalogue.current() as connection:
        counts = due.counts(connection)
        failures = due.failures(connection, _SHOWN_MAX)
    for kind, (waiting, failed) in counts.items():
        typer.echo(f"{kind}: {waiting} series due, {failed} failed")
    for one in failures:
        typer.echo(history.escaped(f"{one.kind} of series {one.series_instance_uid}: {one.fault}"))
    if failures:
        raise typer.Exit(1)


@app.command("retry")
def retry(kind: Kind = "", data: Data = None, cfg: Cfg = None) -> None:
    """Make what could not be made due again."""
    with _archive(data, cfg) as archive, archive.catalogue.current() as connection:
        count = due.retry(connection, _kinds(kind))
    typer.echo(f"{count} series are due again")


@app.command("remake")
def remake(kind: Kind = "", data: Data = None, cfg: Cfg = None) -> None:
    """Drop what was made, and make it anew for every series."""
    with _archive(data, cfg) as archive:
        wanted = _kinds(kind)
        viewing.prepare_derived(archive, wanted)
    typer.echo(f"{', '.join(wanted)}: every series is due")


def _kinds(kind: str) -> list[str]:
    if kind and kind not in due.KINDS:
        raise InvalidInput([f"{kind!a} is not one of {', '.join(due.KINDS)}"])
    return [kind] if kind else list(due.KINDS)


@contextmanager
def _archive(data: Data, cfg: Cfg) -> Iterator[Archive]:
    settings = settings_of(cfg, data)
    with compose.archive_for_command(settings) as archive:
        compose.catch_up(archive)
        viewing.prepare_derived(archive)
        yield archive
