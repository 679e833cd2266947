"""What the commands ``annals certificate ...`` do. A private key is read and kept, never shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from adapters.log.log import utc_now
from annals import compose, history, registering
from annals.compose import Archive
from annals.options import who
from annals.settings import Settings
from domain.certificate import Certificate, Role, expiry
from domain.errors import InvalidInput
from domain.event import Event
from domain.revocation import overdue_since
from projections import certificates
from projections.certificates import CERTIFICATES, DEVICE
from projections.devices import DEVICES


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The files of one upload; a pair is a certificate and its private key."""

    ca: Path | None = None
    scp: tuple[Path | None, Path | None] = (None, None)
    scu: tuple[Path | None, Path | None] = (None, None)
    device: tuple[str, Path] | None = None
    crl: Path | None = None


def upload(settings: Settings, uploaded: Uploaded) -> None:
    """Bring certificates into use: those of the server's own set together, or a device's."""
    faults = [
        f"--{name}-key: its certificate is missing: give --{name} too"
        for name, (certificate, key) in (("scp", uploaded.scp), ("scu", uploaded.scu))
        if key and not certificate
    ]
    own = {Role.CA: (uploaded.ca, None), Role.SCP: uploaded.scp, Role.SCU: uploaded.scu}
    limits = settings.as_limits()
    most = limits.certificate_file_max
    files = {
        role: (_read(certificate, most, faults), _read(key, most, faults) if key else None)
        for role, (certificate, key) in own.items()
        if certificate
    }
    of_device = _read(uploaded.device[1], most, faults) if uploaded.device else b""
    crl = _read(uploaded.crl, limits.revocation_list_file_max, faults) if uploaded.crl else b""
    if not files and not uploaded.device and not uploaded.crl:
        faults.append("nothing to upload: give --ca, --scp with --scp-key, --scu with --scu-key, --device or --crl")
    if faults:
        raise InvalidInput(faults)
    with _archive(settings) as archive:
        if files:
            _tell(archive, registering.certifier(archive).install(files, who()))
        if uploaded.device:
            with archive.certificates.now() as connection:
                others = certificates.of_devices(certificates.in_use(connection))
            _tell(archive, registering.registrar(archive).certify(uploaded.device[0], of_device, others, who()))
        if uploaded.crl:
            with archive.certificates.now() as connection:
                trusted = [one.certificate for one in certificates.in_use(connection)]
            _tell(archive, registering.certifier(archive).install_revocation_list(crl, trusted, who()))


def use_tls(settings: Settings, ae_title: str, on: bool) -> None:
    """Let a device speak TLS, with the certificate that was uploaded for it, or no longer (DEV-2)."""
    with _archive(settings) as archive:
        _tell(archive, registering.registrar(archive).use_tls(ae_title, on, who()))


def remove(settings: Settings, role: str, ae_title: str, issuer: str) -> None:
    """Take a certificate or a revocation list out of use."""
    if [bool(role), bool(ae_title), bool(issuer)].count(True) != 1:
        raise InvalidInput(["give one of ca, scp, scu, or --device AE, or --crl ISSUER"])
    with _archive(settings) as archive:
        if ae_title:
            facts = registering.registrar(archive).withdraw_certificate(ae_title, who())
        elif issuer:
            facts = registering.certifier(archive).remove_revocation_list(issuer, who())
        else:
            facts = registering.certifier(archive).remove(_role(role), who())
        if not facts:
            raise InvalidInput([f"there is none of {ae_title or role or issuer!a}: see 'annals certificate list'"])
        _tell(archive, facts)


def show(settings: Settings, role: str, ae_title: str) -> None:
    """Print a certificate in PEM, so that a peer can be made to trust it."""
    wanted = (DEVICE, ae_title) if ae_title else (_role(role).value, "")
    with _archive(settings) as archive, archive.certificates.current() as connection:
        for one in certificates.in_use(connection):
            if (one.role, one.ae_title) == wanted:
                typer.echo(one.certificate.pem, nl=False)
                return
    raise InvalidInput([f"there is no certificate of {ae_title or role!a}: see 'annals certificate list'"])


def list_all(settings: Settings) -> None:
    """Print the certificates in use, and what is to be said about them."""
    now = utc_now()
    with _archive(settings) as archive, archive.certificates.current() as connection:
        in_use = certificates.in_use(connection)
        lists = certificates.revocation_lists(connection)
    for one in in_use:
        certificate = one.certificate
        notes = [
            *(["DEMO: NOT SAFE"] if one.demo else []),
            *filter(None, [expiry(certificate, now, settings.as_limits())]),
        ]
        typer.echo(f"{one.role:<6}  {history.escaped(one.ae_title):<16}  {_described(certificate)}")
        for note in notes:
            typer.echo(f"{'':<26}{note}")
    for crl in lists:
        until = f" to {crl.next_update[:10]}" if crl.next_update else ""
        typer.echo(history.escaped(f"crl     {crl.issuer}: {len(crl.revoked)} revoked, {crl.this_update[:10]}{until}"))
        if overdue := overdue_since(crl, now):
            typer.echo(f"{'':<26}{overdue}")
    if not in_use:
        typer.echo("no certificates: the TLS ports refuse every connection")


def demo(settings: Settings) -> None:
    """Make a demo set in place of the server's own certificates."""
    with _archive(settings) as archive:
        registering.make_demo_certificates(archive, who(), anew=True)
        _settle(archive)
    typer.echo("a demo set is in use: NOT SAFE, for trying out only")


@contextmanager
def _archive(settings: Settings) -> Iterator[Archive]:
    with compose.archive_for_command(settings) as archive:
        _settle(archive)
        yield archive


def _settle(archive: Archive) -> bool:
    return compose.settle(archive, CERTIFICATES, DEVICES)


def _tell(archive: Archive, facts: Sequence[Event]) -> None:
    for fact in facts:
        typer.echo(history.escaped(f"{fact.NAME}: {history.details(fact)}"))
    if not facts:
        typer.echo("nothing to change")
    elif not _settle(archive):
        typer.echo("the readers are behind: it holds as soon as they have read it", err=True)


def _described(certificate: Certificate) -> str:
    return (
        f"{certificate.subject}, by {certificate.issuer}, {certificate.not_before[:10]} to "
        f"{certificate.not_after[:10]}, SHA-256 {certificate.fingerprint[:16]}"
    )


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError:
        raise InvalidInput([f"{name!a} is none of ca, scp, scu"]) from None


def _read(path: Path | None, most: int, faults: list[str]) -> bytes:
    """A file's content, cut where it is seen to have more than ``most`` bytes."""
    assert path
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        faults.append(f"{str(path)!a} cannot be read: {error.strerror}")
        return b""
