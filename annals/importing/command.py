"""The command ``annals import``, also ``dcm_import``: its arguments, its questions, its exit codes."""

from __future__ import annotations

import os
import ssl
import stat
import sys
from pathlib import Path
from typing import Annotated

import typer

from adapters.tls.contexts import Pair, Profile, client_context
from annals.importing.journal import Journal, default_path
from domain.address import host_fault
from domain.device import ae_title_fault
from domain.errors import InvalidInput

_INTERRUPTED = 130


def import_command(
    host: Annotated[str | None, typer.Argument(help="The server's address.")] = None,
    port: Annotated[int | None, typer.Argument(help="The server's DIMSE port.")] = None,
    path: Annotated[Path | None, typer.Argument(help="The folder, or one file.")] = None,
    aetitle: Annotated[str | None, typer.Argument(help="The server's AE title.")] = None,
    calling: Annotated[str, typer.Option(help="The AE title that the files come from.")] = "DCM_IMPORT",
    reports: Annotated[Path, typer.Option(help="The folder for the two reports.")] = Path(),
    journal: Annotated[Path | None, typer.Option(help="The file that remembers what was sent.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Send also what an earlier run has sent.")] = False,
    tls_ca: Annotated[Path | None, typer.Option(help="Speak TLS, and trust this certificate.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="With TLS: the certificate to show.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="With TLS: its private key.")] = None,
) -> None:
    """Send every DICOM file below a folder to an archive; run again to go on where it ended. Asks when run bare.

    Exit codes: 0 all sent, 1 some unreadable or not sent, 2 wrong arguments, 3 server not reachable, 130 interrupted.
    """
    if host is None:
        host, port, path, aetitle = _asked()
    if port is None or path is None or aetitle is None:
        raise InvalidInput(["give HOST PORT PATH AETITLE, all four, or none to be asked"])
    faults = [
        host_fault(host),
        "" if 1 <= port <= 65535 else f"PORT: {port} is not between 1 and 65535",
        _path_fault(path),
        ae_title_fault(aetitle),
        ae_title_fault(calling) and f"--calling: {ae_title_fault(calling)}",
        _reports_fault(reports),
    ]
    context = _tls(tls_ca, tls_certificate, tls_key, faults)
    if any(faults):
        raise InvalidInput([fault for fault in faults if fault])
    root = bytes(path.resolve())
    remembered = Journal(journal or default_path(Path.home(), host, port, aetitle, root), anew=again)
    # Only here: they bring pydicom and numpy, which no other command waits for.
    from annals.importing.run import import_folder
    from annals.importing.send import Server

    raise typer.Exit(import_folder(Server(host, port, aetitle, calling, context), root, remembered, reports))


def _tls(ca: Path | None, certificate: Path | None, key: Path | None, faults: list[str]) -> ssl.SSLContext | None:
    if ca is None:
        if certificate or key:
            faults.append("--tls-certificate and --tls-key: give --tls-ca too")
        return None
    if bool(certificate) != bool(key):
        faults.append("--tls-certificate and --tls-key: give both or none")
    files = {option: _text(option, path, faults) for option, path in _options(ca, certificate, key)}
    if any(faults):
        return None
    pair = Pair(files["--tls-certificate"], files["--tls-key"]) if certificate else None
    try:
        return client_context(Profile.RFC9325, pair, [files["--tls-ca"]], check_host=True)
    except (OSError, ValueError) as error:
        faults.append(f"--tls-*: OpenSSL does not take these files: {getattr(error, 'reason', '') or error}")
        return None


def _options(ca: Path, certificate: Path | None, key: Path | None) -> list[tuple[str, Path]]:
    given = (("--tls-ca", ca), ("--tls-certificate", certificate), ("--tls-key", key))
    return [(option, path) for option, path in given if path]


def _text(option: str, path: Path, faults: list[str]) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{option} {str(path)!a}: {getattr(error, 'strerror', None) or 'is no PEM file'}")
        return ""


def _asked() -> tuple[str, int, Path, str]:
    """Ask for the four arguments, with defaults."""
    if not sys.stdin.isatty():
        raise InvalidInput(["give HOST PORT PATH AETITLE: there is no terminal to ask at"])
    above = Path(sys.argv[0]).resolve().parent.parent
    try:
        return (
            typer.prompt("Address of the server", default="127.0.0.1"),
            typer.prompt("Port", default=3000, type=int),
            Path(typer.prompt("Folder", default=str(above))),
            typer.prompt("AE title of the server", default="ANNALS"),
        )
    except typer.Abort:
        typer.echo(err=True)
        raise typer.Exit(_INTERRUPTED) from None


def _path_fault(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"PATH: {str(path)!a}: {error.strerror}"
    return "" if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else f"PATH: {str(path)!a} is no folder and no file"


def _reports_fault(reports: Path) -> str:
    """Reports are made when they have a line, which may be hours from now: too late to learn that none can be made."""
    nearest = next(folder for folder in (reports.absolute(), *reports.absolute().parents) if os.path.exists(folder))
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    return "" if writable else f"--reports {str(reports)!a}: no report can be written there"
