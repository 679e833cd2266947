"""``annals device``: the devices by command (DEV-1, DEV-4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from annals import compose, history, registering
from annals.options import Cfg, Data, settings_of, who
from annals.settings import Settings
from domain import device
from domain.device import PREFERRED_TRANSFER_SYNTAXES, WADO_RIGHTS, DeviceAdded, Kind
from domain.errors import InvalidInput
from processes.register import Wanted, unknown
from projections import devices

app = typer.Typer(help="Devices: who may talk to the archive, and what it may do.", no_args_is_help=True)
wado = typer.Typer(help="WADO devices: who may use DICOMweb and WADO, known by address.", no_args_is_help=True)
app.add_typer(wado, name="wado")

_RIGHTS = "Of UPLOAD, MWL, DOWNLOAD and FIND, with commas between; '' for none."
Description = Annotated[str | None, typer.Option(help="At most 128 characters.")]
Rights = Annotated[str | None, typer.Option(help=f"{_RIGHTS} A new device has all.")]
Preferred = Annotated[
    str | None,
    typer.Option("--preferred-transfer-syntax", help="UID for C-GET and C-MOVE to the device; '' for as it is stored."),
]


@app.command("add")
def add(
    ae_title: str,
    host: str,
    port: int,
    description: Description = None,
    rights: Rights = None,
    preferred: Preferred = None,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Make a DICOM device known, or change the one with this AE title: what is not named stays."""

    def wanted(known: DeviceAdded | None) -> DeviceAdded:
        known = replace(known, host=host, port=port) if known else DeviceAdded(ae_title, host, port)
        return _with(known, description, rights, preferred)

    _save(settings_of(cfg, data), ae_title, wanted)


@app.command("edit")
def edit(
    ae_title: str,
    host: Annotated[str | None, typer.Option(help="IP address or host name.")] = None,
    port: Annotated[int | None, typer.Option()] = None,
    description: Description = None,
    rights: Rights = None,
    preferred: Preferred = None,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Change what is named of a known DICOM device."""

    def changed(known: DeviceAdded | None) -> DeviceAdded:
        if known is None:
            raise InvalidInput([unknown(ae_title)])
        moved = replace(known, host=known.host if host is None else host, port=known.port if port is None else port)
        return _with(moved, description, rights, preferred)

    _save(settings_of(cfg, data), ae_title, changed)


@app.command("list")
def list_all(data: Data = None, cfg: Cfg = None) -> None:
    """Print the known devices, and how many there may be."""
    settings = settings_of(cfg, data)
    with compose.archive_for_command(settings) as archive:
        compose.catch_up(archive)
        with archive.devices.current() as connection:
            for known in devices.everyone(connection):
                typer.echo(_line(known))
        typer.echo(f"clients: {registering.registrar(archive).clients()}")


@app.command("remove")
def remove(ae_title: str, data: Data = None, cfg: Cfg = None) -> None:
    """Forget a DICOM device."""
    _remove(settings_of(cfg, data), Kind.DICOM, ae_title)


@wado.command("add")
def add_wado(
    host: str,
    description: Description = None,
    rights: Annotated[str | None, typer.Option(help="Of UPLOAD, DOWNLOAD and FIND, with commas between.")] = None,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Make a WADO device known, or change the one at this address: what is not named stays."""
    new = DeviceAdded("", host, 0, rights=WADO_RIGHTS, kind=Kind.WADO)
    _save(settings_of(cfg, data), device.key_of(new), lambda known: _with(known or new, description, rights, None))


@wado.command("remove")
def remove_wado(host: str, data: Data = None, cfg: Cfg = None) -> None:
    """Forget a WADO device."""
    _remove(settings_of(cfg, data), Kind.WADO, host)


def _with(
    known: DeviceAdded,
    description: str | None,
    rights: str | None,
    preferred: str | None,
) -> DeviceAdded:
    named = {
        "description": description,
        "rights": None if rights is None else device.rights_of(filter(None, map(str.strip, rights.split(",")))),
        "preferred_transfer_syntax": preferred,
    }
    return replace(known, **{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]


def _save(settings: Settings, key: str, wanted: Wanted) -> None:
    with compose.archive_for_command(settings) as archive:
        facts = registering.registrar(archive).save(key, wanted, who())
        compose.catch_up(archive)
    for fact in facts:
        assert isinstance(fact, DeviceAdded)
        typer.echo(_line(fact))
    if not facts:
        typer.echo("nothing to change")


def _remove(settings: Settings, kind: Kind, name: str) -> None:
    with compose.archive_for_command(settings) as archive:
        facts = registering.registrar(archive).remove(kind, name, name, who())
        compose.catch_up(archive)
    if not facts:
        raise InvalidInput([unknown(name)])
    typer.echo(f"{history.escaped(name)} is forgotten")


def _line(known: DeviceAdded) -> str:
    where = known.host if known.kind == Kind.WADO else f"{_bracketed(known.host)}:{known.port}"
    parts = [
        f"{known.kind:<5}",
        f"{known.ae_title:<16}",
        where,
        "rights " + (",".join(known.rights) or "none"),
        PREFERRED_TRANSFER_SYNTAXES[known.preferred_transfer_syntax] if known.preferred_transfer_syntax else "",
        "TLS" if known.use_tls else "",
        known.description,
    ]
    return history.escaped("  ".join(part for part in parts if part))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
