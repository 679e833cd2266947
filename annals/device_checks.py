"""``annals device echo`` and ``rejections``: devices as they are out there (DEV-3, DEV-4, B29)."""

from __future__ import annotations

import ssl
from typing import Annotated

import typer

from annals import compose, history, registering
from annals.options import Cfg, Data, settings_of, who
from annals.settings import Settings
from domain import device
from domain.device import DeviceAdded, Kind
from domain.errors import InvalidInput
from processes.register import unknown
from projections import rejections as rejections_model


def echo(
    name: Annotated[str, typer.Argument(help="The AE title of a DICOM device, or the address of a WADO device.")],
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Call a known device with C-ECHO, or look whether a WADO device's machine is there; exit code 1 if not."""
    # Only here: what speaks DIMSE takes a moment to import, which the other commands would wait for.
    from adapters.dimse.verification import reach, verify

    settings = settings_of(cfg, data)
    known, address, tls = _known(settings, name)
    limits = settings.as_limits()
    if known.kind == Kind.WADO:
        result = reach(address, limits)
    else:
        result = verify(known, calling_ae_title=settings.dimse.ae_title, limits=limits, tls=tls, address=address)
    where = known.host if known.kind == Kind.WADO else f"{known.host} port {known.port}"
    typer.echo(history.escaped(f"{name} at {where}: {result.outcome}: {result.said} ({result.seconds * 1000:.0f} ms)"))
    if result.implementation_class_uid:
        typer.echo(f"implementation {result.implementation_class_uid} {result.implementation_version_name}".rstrip())
    if not result.answered:
        raise typer.Exit(1)


def rejections(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the latest first.")] = 50,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Print who was turned away, how often, and why."""
    settings = settings_of(cfg, data)
    with compose.archive_for_command(settings) as archive:
        compose.catch_up(archive)
        with archive.rejections.current() as connection:
            found = rejections_model.latest(connection, limit)
    for one in found:
        calling, called = (", ".join(titles) or "unknown" for titles in (one.calling_ae_titles, one.called_ae_titles))
        answer = f" ({one.answer})" if one.answer else ""
        at = one.last_at.isoformat(timespec="seconds")
        told = f"{at}  {one.address}  {one.times} times  {one.why}{answer}  calling {calling}  called {called}"
        typer.echo(history.escaped(told))


def _known(settings: Settings, name: str) -> tuple[DeviceAdded, str, ssl.SSLContext | None]:
    """The device, where to call it, and how where it uses TLS. Raises Unavailable: it is never called in clear.

    Raises Refused where it may not be called.
    """
    from annals.roles.trust import Trust

    with compose.archive_for_command(settings) as archive:
        for key in (name, device.key(Kind.WADO, "", name)):
            known = device.fold(recorded.event for recorded in archive.log.stream(device.KIND, key))
            if known is not None:
                compose.catch_up(archive)
                address = registering.device_calls(archive).address_of(known, who())
                return known, address, Trust(archive, settings.tls).client_context(known)
    raise InvalidInput([unknown(name)])
