"""The command ``annals import``, also ``dcm_import``: its arguments, its questions, its exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from annals.importing.journal import default_path
from domain.device import ae_title_fault
from domain.errors import InvalidInput


def import_command(
    host: Annotated[str | None, typer.Argument(help="The server's address.")] = None,
    port: Annotated[int | None, typer.Argument(help="The server's DIMSE port.")] = None,
    path: Annotated[Path | None, typer.Argument(help="The folder, or one file.")] = None,
    aetitle: Annotated[str | None, typer.Argument(help="The server's AE title.")] = None,
    calling: Annotated[str, typer.Option(help="The AE title that the files come from.")] = "DCM_IMPORT",
    reports: Annotated[Path, typer.Option(help="The folder for the two reports.")] = Path(),
    journal: Annotated[Path | None, typer.Option(help="The file that remembers what was sent.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Send also what an earlier run has sent.")] = False,
) -> None:
    """Send every DICOM file below a folder to an archive; run again to go on where it ended. Asks when run bare.

    Exit codes: 0 all sent, 1 some unreadable or not sent, 2 wrong arguments, 3 server not reachable, 130 interrupted.
    """
    if host is None:
        host, port, path, aetitle = _asked()
    if port is None or path is None or aetitle is None:
        raise InvalidInput(["give HOST PORT PATH AETITLE, all four, or none to be asked"])
    faults = [fault for fault in (ae_title_fault(aetitle), ae_title_fault(calling)) if fault]
    if not 1 <= port <= 65535:
        faults.append(f"PORT: {port} is not between 1 and 65535")
    if not path.exists():
        faults.append(f"PATH: {str(path)!a} does not exist")
    if faults:
        raise InvalidInput(faults)
    root = bytes(path.resolve())
    where = journal or default_path(Path.home(), host, port, aetitle, root)
    if again:
        where.unlink(missing_ok=True)
    # Only here: it brings pydicom and numpy, which no other command waits for.
    from annals.importing.run import import_folder

    raise typer.Exit(import_folder((host, port, aetitle, calling), root, where, reports))


def _asked() -> tuple[str, int, Path, str]:
    """Ask for the four arguments, with defaults."""
    if not sys.stdin.isatty():
        raise InvalidInput(["give HOST PORT PATH AETITLE: there is no terminal to ask at"])
    above = Path(sys.argv[0]).resolve().parent.parent
    return (
        typer.prompt("Address of the server", default="127.0.0.1"),
        typer.prompt("Port", default=3000, type=int),
        Path(typer.prompt("Folder", default=str(above))),
        typer.prompt("AE title of the server", default="ANNALS"),
    )
