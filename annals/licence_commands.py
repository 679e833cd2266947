"""``annals licence`` and ``annals --product-key``: what this installation is allowed, and by which licence (LIC-1)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapters.log.log import utc_now
from annals import allowance, compose, registering
from annals.options import Cfg, Data, settings_of, who
from annals.settings import Settings
from domain.errors import InvalidInput
from domain.licence import Licence, is_supported
from domain.limits import Limits
from projections.catalogue import studies

app = typer.Typer(help="The licence of an installation that names its vendor's key.", no_args_is_help=True)


@app.command("show")
def show(data: Data = None, cfg: Cfg = None) -> None:
    """Print the product code, the licence in use, and what it allows."""
    with compose.archive_for_command(settings_of(cfg, data)) as archive:
        licensing = allowance.licensing(archive)
        typer.echo(f"product code: {licensing.product_code()}")
        in_use, what = licensing.in_use(), licensing.allowed()
        if in_use:
            typer.echo(f"licence: {_described(in_use)}")
        elif licensing.is_enforced:
            typer.echo("licence: none, this is a trial: ask the vendor for one with the product code, then")
            typer.echo("         'annals licence install FILE'")
        else:
            typer.echo("licence: none is needed, no vendor key is named")
        compose.catch_up(archive)
        typer.echo(f"clients: {registering.registrar(archive).clients()}")
        if what.studies_max is not None:
            with archive.catalogue.current() as connection:
                there = studies.count(connection, what.studies_max)
            typer.echo(f"studies: {there} of {what.studies_max} stored")


@app.command("install")
def install(
    file: Annotated[Path, typer.Argument(help="The licence file from the vendor.")], data: Data = None, cfg: Cfg = None
) -> None:
    """Bring a licence into use; it holds in every process at once."""
    settings = settings_of(cfg, data)
    document = _read(file, settings.as_limits())
    with compose.archive_for_command(settings) as archive:
        typer.echo(f"licence: {_described(allowance.licensing(archive).install(document, who()))}")


def print_product_code(settings: Settings) -> None:
    """Print what the vendor makes a licence for, and what support asks for."""
    with compose.archive_for_command(settings) as archive:
        typer.echo(allowance.licensing(archive).product_code())


def _described(licence: Licence) -> str:
    support = "support until" if is_supported(licence, utc_now().date()) else "support ended at"
    return f"{licence.clients_max} clients, {support} {licence.end_of_support}, issued at {licence.issued_at}"


def _read(file: Path, limits: Limits) -> bytes:
    """A file's content, cut where it is longer than any licence."""
    try:
        with file.open("rb") as opened:
            return opened.read(limits.licence_file_max + 1)
    except OSError as error:
        raise InvalidInput([f"licence: {str(file)!a} cannot be read: {error.strerror}"]) from None
