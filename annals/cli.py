"""The command line. Each command builds what it needs in the composition root and turns errors into exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from annals import (
    __version__,
    admission_commands,
    certificate_commands,
    commands,
    derived_commands,
    device_checks,
    device_commands,
    ending,
    licence_commands,
    storage_commands,
    storage_upkeep,
)
from annals.importing.command import import_command
from annals.options import Cfg, Data, settings_of
from domain.errors import AnnalsError, InvalidInput

_STREAM = "Only facts about what has this name: a SOP Instance or Transaction UID, AE title, host, storage or door."
_UID = typer.Argument(help="A Study, Series or SOP Instance UID.")
_READ_MODEL = typer.Argument(help=f"One of {', '.join(commands.READ_MODELS)}.")

app = typer.Typer(
    name="annals",
    help="Annals, an event-sourced PACS.",
    no_args_is_help=True,
    add_completion=False,
    # They show local variables, passwords and patients among them.
    pretty_exceptions_enable=False,
)
app.add_typer(device_commands.app, name="device")
app.add_typer(storage_commands.app, name="storage")
for upkeep in (storage_upkeep.move, storage_upkeep.scrub, storage_upkeep.reconcile):
    storage_commands.app.command()(upkeep)
device_commands.app.command("echo")(device_checks.echo)
device_commands.app.command("rejections")(device_checks.rejections)
app.add_typer(certificate_commands.app, name="certificate")
device_commands.app.command("accept-any")(admission_commands.accept_any)
app.add_typer(derived_commands.app, name="derived")
app.add_typer(licence_commands.app, name="licence")
device_commands.app.command("tls")(certificate_commands.device_tls)


@app.callback(invoke_without_command=True)
def _about(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    product_code: Annotated[bool, typer.Option("--product-key", help="Print the product code.")] = False,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    if version:
        typer.echo(f"annals {__version__}")
        raise typer.Exit
    if product_code:
        licence_commands.print_product_code(settings_of(cfg, data))
        raise typer.Exit
    for name in ("data", "cfg"):
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE":
            raise typer.BadParameter("comes after the command", param_hint=f"--{name}")


@app.command()
def serve(
    data: Data = None,
    cfg: Cfg = None,
    role: Annotated[str, typer.Option(help="Run one role only: dicomweb, dimse, reader, web or worker.")] = "",
) -> None:
    """Run the archive in the foreground."""
    ending.exit_when_asked()
    # Only here: what serving needs takes a second to import, which every other command would wait for.
    from annals import serving

    raise typer.Exit(serving.serve(settings_of(cfg, data), role, cfg))


@app.command()
def events(
    after: Annotated[int, typer.Option(help="Only facts after this position.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for new facts until Ctrl-C.")] = False,
    stream: Annotated[str, typer.Option(help=_STREAM)] = "",
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Print the log."""
    commands.print_events(settings_of(cfg, data), after, follow, stream)


@app.command()
def explain(uid: Annotated[str, _UID], data: Data = None, cfg: Cfg = None) -> None:
    """Print the life of a study, series or instance."""
    raise typer.Exit(commands.explain(settings_of(cfg, data), uid))


@app.command()
def rebuild(name: Annotated[str, _READ_MODEL], data: Data = None, cfg: Cfg = None) -> None:
    """Rebuild a read model beside the serving one, then switch."""
    commands.rebuild(settings_of(cfg, data), name)


app.command("import")(import_command)


def main() -> None:
    """The entry point ``annals``."""
    _run(app, "annals")


def import_main() -> None:
    """The entry point ``dcm_import``."""
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(import_command)
    _run(command, "dcm_import")


def _run(command: typer.Typer, name: str) -> None:
    if not __debug__:
        typer.echo(f"{name}: Python is run without its assertions, take away -O or PYTHONOPTIMIZE", err=True)
        sys.exit(2)
    ending.interrupt_when_asked()
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
