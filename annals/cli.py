"""The command line. Each command builds what it needs in the composition root and turns errors into exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from annals import __version__, commands, settings
from annals.importing.command import import_command
from domain.errors import AnnalsError, InvalidInput

app = typer.Typer(name="annals", help="Annals, an event-sourced PACS.", no_args_is_help=True, add_completion=False)
device = typer.Typer(help="DICOM devices: the destinations of C-MOVE.", no_args_is_help=True)
app.add_typer(device, name="device")

Data = Annotated[Path | None, typer.Option("--data", help="The data folder.", envvar="ANNALS_DATA")]
Cfg = Annotated[Path | None, typer.Option("--cfg", help="A TOML file with settings.", envvar="ANNALS_CFG")]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"annals {__version__}")
        raise typer.Exit


@app.command()
def serve(
    data: Data = None,
    cfg: Cfg = None,
    role: Annotated[str, typer.Option(help="Run one role only: dimse, reader or web.")] = "",
) -> None:
    """Run the archive in the foreground."""
    # Only here: what serving needs takes a second to import, which every other command would wait for.
    from annals import serving

    raise typer.Exit(serving.serve(_settings(cfg, data), role, cfg))


@device.command("add")
def device_add(
    ae_title: str,
    host: str,
    port: int,
    description: Annotated[str, typer.Option(help="At most 128 characters.")] = "",
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Make a device known, or change its address."""
    commands.add_device(_settings(cfg, data), ae_title, host, port, description)


@device.command("list")
def device_list(data: Data = None, cfg: Cfg = None) -> None:
    """Print the known devices."""
    commands.list_devices(_settings(cfg, data))


@device.command("remove")
def device_remove(ae_title: str, data: Data = None, cfg: Cfg = None) -> None:
    """Forget a device."""
    commands.remove_device(_settings(cfg, data), ae_title)


@app.command()
def events(
    after: Annotated[int, typer.Option(help="Only facts after this position.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for new facts until Ctrl-C.")] = False,
    stream: Annotated[str, typer.Option(help="Only facts of this SOP Instance UID, AE title or device.")] = "",
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Print the log."""
    commands.print_events(_settings(cfg, data), after, follow, stream)


@app.command()
def explain(uid: str, data: Data = None, cfg: Cfg = None) -> None:
    """Print the life of a study, series or instance."""
    raise typer.Exit(commands.explain(_settings(cfg, data), uid))


@app.command()
def rebuild(name: str, data: Data = None, cfg: Cfg = None) -> None:
    """Rebuild a read model beside the serving one, then switch."""
    commands.rebuild(_settings(cfg, data), name)


app.command("import")(import_command)


def _settings(cfg: Path | None, data: Path | None) -> settings.Settings:
    loaded, warnings = settings.load(cfg, os.environ, data=data)
    for warning in warnings:
        typer.echo(f"annals: warning: {warning}", err=True)
    return loaded


def main() -> None:
    """The entry point ``annals``."""
    _run(app, "annals")


def import_main() -> None:
    """The entry point ``dcm_import``."""
    command = typer.Typer(add_completion=False)
    command.command()(import_command)
    _run(command, "dcm_import")


def _run(command: typer.Typer, name: str) -> None:
    try:
        command(prog_name=name)
    except InvalidInput as error:
        for fault in error.faults:
            typer.echo(f"{name}: {fault}", err=True)
        sys.exit(2)
    except AnnalsError as error:
        typer.echo(f"{name}: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
