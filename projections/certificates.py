"""Which certificates are in use: this server's own, and the devices'?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.certificate import (
    Certificate,
    CertificateInstalled,
    CertificateRemoved,
    DeviceCertificateInstalled,
    DeviceCertificateRemoved,
    Role,
)
from domain.event import Recorded
from domain.revocation import RevocationListInstalled, RevocationListRemoved
from projections.engine import Projection

TABLES = """
CREATE TABLE certificate (
    role text NOT NULL,
    ae_title text NOT NULL,
    pem text NOT NULL,
    fingerprint text NOT NULL,
    public_key text NOT NULL,
    subject text NOT NULL,
    issuer text NOT NULL,
    not_before text NOT NULL,
    not_after text NOT NULL,
    is_ca boolean NOT NULL,
    demo boolean NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (role, ae_title)
);
CREATE TABLE revocation_list (
    issuer text PRIMARY KEY,
    revoked text[] NOT NULL,
    this_update text NOT NULL,
    next_update text NOT NULL,
    fingerprint text NOT NULL,
    position bigint NOT NULL
);
"""
DEVICE = "device"

_REPLACE = """
INSERT INTO certificate VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (role, ae_title) DO UPDATE SET
    pem = excluded.pem, fingerprint = excluded.fingerprint, public_key = excluded.public_key,
    subject = excluded.subject, issuer = excluded.issuer, not_before = excluded.not_before,
    not_after = excluded.not_after, is_ca = excluded.is_ca, demo = excluded.demo, position = excluded.position
"""
_FORGET = "DELETE FROM certificate WHERE role = %s AND ae_title = %s"
_REPLACE_LIST = """
INSERT INTO revocation_list VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (issuer) DO UPDATE SET
    revoked = excluded.revoked, this_update = excluded.this_update, next_update = excluded.next_update,
    fingerprint = excluded.fingerprint, position = excluded.position
"""
_FORGET_LIST = "DELETE FROM revocation_list WHERE issuer = %s"
_LISTS = "SELECT issuer, revoked, this_update, next_update, fingerprint FROM revocation_list ORDER BY issuer"
_STATE = """
SELECT count(*), coalesce(max(position), 0)
FROM (SELECT position FROM certificate UNION ALL SELECT position FROM revocation_list) AS everything
"""
_ALL = """
SELECT role, ae_title, demo, pem, fingerprint, public_key, subject, issuer, not_before, not_after, is_ca
FROM certificate ORDER BY role = 'device', role, ae_title
"""


@dataclass(frozen=True, slots=True)
class InUse:
    """A certificate in use: ``role`` is a :class:`Role`'s value, or ``device`` with that device's AE title."""

    role: str
    ae_title: str
    demo: bool
    certificate: Certificate


def install(connection: Any, run: Sequence[Recorded]) -> None:
    """Certificates of the server's own set that came into use."""
    for recorded in run:
        event = recorded.event
        assert isinstance(event, CertificateInstalled)
        _replace(connection, event.role, "", event.certificate, event.demo, recorded.position)


def install_for_device(connection: Any, run: Sequence[Recorded]) -> None:
    """Certificates by which devices are known."""
    for recorded in run:
        event = recorded.event
        assert isinstance(event, DeviceCertificateInstalled)
        _replace(connection, DEVICE, event.ae_title, event.certificate, False, recorded.position)


def remove(connection: Any, run: Sequence[Recorded]) -> None:
    """Certificates that are no longer in use."""
    for event in (recorded.event for recorded in run):
        match event:
            case CertificateRemoved():
                connection.execute(_FORGET, (event.role, ""))
            case DeviceCertificateRemoved():
                connection.execute(_FORGET, (DEVICE, event.ae_title))


def install_list(connection: Any, run: Sequence[Recorded]) -> None:
    """Revocation lists that came into use."""
    for recorded in run:
        event = recorded.event
        assert isinstance(event, RevocationListInstalled)
        connection.execute(
            _REPLACE_LIST,
            (
                event.issuer,
                list(event.revoked),
                event.this_update,
                event.next_update,
                event.fingerprint,
                recorded.position,
            ),
        )


def remove_list(connection: Any, run: Sequence[Recorded]) -> None:
    """Revocation lists that are no longer in use."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, RevocationListRemoved)
        connection.execute(_FORGET_LIST, (event.issuer,))


CERTIFICATES = Projection(
    "certificates",
    2,
    TABLES,
    {
        CertificateInstalled: install,
        CertificateRemoved: remove,
        DeviceCertificateInstalled: install_for_device,
        DeviceCertificateRemoved: remove,
        RevocationListInstalled: install_list,
        RevocationListRemoved: remove_list,
    },
)


def state(connection: Any) -> tuple[int, int]:
    """What differs after every change of the certificates and lists in use; cheap, to be asked for each connection."""
    # A position is never given twice, so of two sets with as many certificates one has a newer one.
    count, newest = connection.execute(_STATE).fetchone()
    return count, newest


def in_use(connection: Any) -> list[InUse]:
    """All certificates in use, the server's own first."""
    rows = connection.execute(_ALL).fetchall()
    return [InUse(role, ae_title, demo, Certificate(*rest)) for role, ae_title, demo, *rest in rows]


def revocation_lists(connection: Any) -> list[RevocationListInstalled]:
    """The revocation lists in use, by issuer."""
    rows = connection.execute(_LISTS).fetchall()
    return [RevocationListInstalled(issuer, tuple(revoked), *rest) for issuer, revoked, *rest in rows]


def own(certificates: Sequence[InUse], role: Role) -> InUse | None:
    """The server's own certificate for a role."""
    return next((one for one in certificates if one.role == role.value), None)


def of_devices(certificates: Sequence[InUse]) -> dict[str, Certificate]:
    """The devices' certificates by AE title."""
    return {one.ae_title: one.certificate for one in certificates if one.role == DEVICE}


def _replace(connection: Any, role: str, ae_title: str, certificate: Certificate, demo: bool, position: int) -> None:
    values = (
        certificate.pem,
        certificate.fingerprint,
        certificate.public_key,
        certificate.subject,
        certificate.issuer,
        certificate.not_before,
        certificate.not_after,
        certificate.is_ca,
    )
    connection.execute(_REPLACE, (role, ae_title, *values, demo, position))
