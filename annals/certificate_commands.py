"""``annals certificate``: what speaks TLS shows and trusts; and ``annals device tls`` (SET-2, DEV-2)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from annals import certifying
from annals.options import Cfg, Data, Switch, settings_of

app = typer.Typer(help="Certificates for TLS: this server's own, and the devices'.", no_args_is_help=True)
OwnRole = Annotated[str, typer.Argument(help="ca, scp or scu.")]
DeviceTitle = Annotated[str, typer.Option("--device", help="A device's AE title.")]


def device_tls(ae_title: str, switch: Switch, data: Data = None, cfg: Cfg = None) -> None:
    """Let a device speak TLS, and only TLS, with the certificate uploaded for it; or no longer."""
    certifying.use_tls(settings_of(cfg, data), ae_title, switch is Switch.ON)


@app.command("list")
def list_command(data: Data = None, cfg: Cfg = None) -> None:
    """Print the certificates in use and what is to be said about them."""
    certifying.list_all(settings_of(cfg, data))


@app.command("upload")
def upload(
    ca: Annotated[Path | None, typer.Option(help="The root certificate that signs the pairs.")] = None,
    scp: Annotated[
        Path | None,
        typer.Option(help="The certificate for those who connect to us, and those between it and the CA behind it."),
    ] = None,
    scp_key: Annotated[Path | None, typer.Option(help="Its private key, not encrypted.")] = None,
    scu: Annotated[
        Path | None,
        typer.Option(help="The certificate for those we connect to, and those between it and the CA behind it."),
    ] = None,
    scu_key: Annotated[Path | None, typer.Option(help="Its private key, not encrypted.")] = None,
    device: Annotated[
        tuple[str, Path] | None,
        typer.Option(help="A device's AE title and its certificate, or the root that signs it.", metavar="AE FILE"),
    ] = None,
    crl: Annotated[Path | None, typer.Option(help="A revocation list of the CA or of a device's root.")] = None,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Bring certificates into use, those of this server together; they hold for new associations at once."""
    certifying.upload(settings_of(cfg, data), certifying.Uploaded(ca, (scp, scp_key), (scu, scu_key), device, crl))


@app.command("remove")
def remove(
    role: OwnRole = "",
    device: DeviceTitle = "",
    crl: Annotated[str, typer.Option(help="The issuer of a revocation list, as 'list' names it.")] = "",
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Take a certificate out of use and forget its key; or a revocation list."""
    certifying.remove(settings_of(cfg, data), role, device, crl)


@app.command("show")
def show(role: OwnRole = "", device: DeviceTitle = "", data: Data = None, cfg: Cfg = None) -> None:
    """Print a certificate in PEM, for peers that are to trust it. A private key is never given out."""
    certifying.show(settings_of(cfg, data), role, device)


@app.command("demo")
def demo(data: Data = None, cfg: Cfg = None) -> None:
    """Make a demo set in place of this server's certificates: not safe, for trying out only."""
    certifying.demo(settings_of(cfg, data))
