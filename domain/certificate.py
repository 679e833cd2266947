"""The streams of certificates: this server's own set, and one of each device that speaks TLS (SET-2, DEV-2).

Facts hold certificates, which are public; private keys are never in a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import ClassVar

from domain.device import ae_title_fault
from domain.errors import InvalidInput
from domain.event import Event
from domain.limits import Limits

KIND = "certificate"
SERVER = "server"
"""The key of the one stream of the server's own set."""

DEVICE_KIND = "device-certificate"
WEAK_HASHES = ("md2", "md4", "md5", "sha1")


class Role(Enum):
    """What a certificate of the server's own set is for."""

    CA = "ca"
    """Whom the server trusts: the root that has signed the others, and the peers' where they have none of their own."""
    SCP = "scp"
    """What the server shows to those who connect to it."""
    SCU = "scu"
    """What the server shows to those it connects to."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as it is kept.

    ``pem`` may hold those between it and its root behind it; ``not_after`` is the earliest of their ends.
    ``fingerprint`` is the SHA-256 of its DER form, ``public_key`` that of its SubjectPublicKeyInfo; names are RFC 4514
    texts, times are ISO 8601 in UTC.
    """

    pem: str
    fingerprint: str
    public_key: str
    subject: str
    issuer: str
    not_before: str
    not_after: str
    is_ca: bool = False


@dataclass(frozen=True, slots=True)
class CertificateInstalled(Event):
    """A certificate of the server's own set came into use. ``demo``: made at first start, not safe."""

    NAME: ClassVar[str] = "CertificateInstalled"
    role: str
    certificate: Certificate
    demo: bool = False


@dataclass(frozen=True, slots=True)
class CertificateRemoved(Event):
    """A certificate of the server's own set is no longer used."""

    NAME: ClassVar[str] = "CertificateRemoved"
    role: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class DeviceCertificateInstalled(Event):
    """A device is known by this certificate, or by those that it has signed."""

    NAME: ClassVar[str] = "DeviceCertificateInstalled"
    ae_title: str
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class DeviceCertificateRemoved(Event):
    """A device is no longer known by a certificate."""

    NAME: ClassVar[str] = "DeviceCertificateRemoved"
    ae_title: str
    fingerprint: str


FACTS = (CertificateInstalled, CertificateRemoved, DeviceCertificateInstalled, DeviceCertificateRemoved)

ServerSet = Mapping[Role, CertificateInstalled]
IsSignedBy = Callable[[Certificate, Certificate], bool]


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate that somebody uploads, with what decides whether it is taken.

    ``algorithm`` is ``RSA``, ``EC`` or another; ``usages`` names what its key may do (RFC 5280 4.2.1.3), ``purposes``
    what it is for (4.2.1.12), None where it does not say. ``private_key`` is the digest of the public half of the
    private key that came with it, ``between`` are the certificates between it and its root.
    """

    certificate: Certificate
    algorithm: str
    key_bits: int
    signature_hash: str
    usages: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    private_key: str = ""
    between: tuple[Presented, ...] = ()


def fold(events: Iterable[Event]) -> dict[Role, CertificateInstalled]:
    """The server's own set as it is now."""
    installed: dict[Role, CertificateInstalled] = {}
    for event in events:
        match event:
            case CertificateInstalled(role=role):
                installed[Role(role)] = event
            case CertificateRemoved(role=role):
                installed.pop(Role(role), None)
    return installed


def fold_device(events: Iterable[Event]) -> Certificate | None:
    """The device's certificate as it is now, or None."""
    certificate: Certificate | None = None
    for event in events:
        match event:
            case DeviceCertificateInstalled():
                certificate = event.certificate
            case DeviceCertificateRemoved():
                certificate = None
    return certificate


def install(
    installed: ServerSet,
    uploaded: Mapping[Role, Presented],
    is_signed_by: IsSignedBy,
    now: datetime,
    limits: Limits,
    demo: bool = False,
) -> list[Event]:
    """Bring certificates of the server's own set into use, together. Raises :class:`InvalidInput` with every fault.

    What is uploaded and what stays must fit: every pair is signed by the CA.
    """
    faults = [fault for role, presented in uploaded.items() for fault in faults_of(role, presented, now, limits)]
    after = {role: fact.certificate for role, fact in installed.items()}
    after |= {role: presented.certificate for role, presented in uploaded.items()}
    faults += _faults_of_chain(after, uploaded, is_signed_by)
    if faults:
        raise InvalidInput(faults)
    return [
        CertificateInstalled(role.value, presented.certificate, demo)
        for role, presented in uploaded.items()
        if role not in installed or installed[role].certificate != presented.certificate
    ]


def faults_of(role: Role, presented: Presented, now: datetime, limits: Limits) -> list[str]:
    """What is wrong with one certificate of the server's own set, whatever the others are."""
    faults = [*_faults(presented, now, limits), *_faults_in_role(role, presented)]
    for one in presented.between:
        is_ca = one.certificate.is_ca
        found = (*_faults(one, now, limits), *(() if is_ca else ("it is no CA certificate",)))
        faults += [f"{one.certificate.subject!a} between it and the CA: {fault}" for fault in found]
    return [f"{role.value}: {fault}" for fault in faults]


def remove(installed: ServerSet, role: Role) -> list[Event]:
    """Take a certificate out of use; one that is not there is nothing. The CA goes last."""
    if role not in installed:
        return []
    if role is Role.CA and (others := [one.value for one in installed if one is not Role.CA]):
        raise InvalidInput([f"ca: {' and '.join(others)} rest on it: remove them first"])
    return [CertificateRemoved(role.value, installed[role].certificate.fingerprint)]


def install_for_device(
    current: Certificate | None,
    ae_title: str,
    presented: Presented,
    others: Mapping[str, Certificate],
    now: datetime,
    limits: Limits,
) -> list[Event]:
    """Know a device by a certificate: its own, or the root that signs its own. Raises :class:`InvalidInput`.

    ``others`` are the other devices' by AE title: a device's own certificate belongs to one AE title.
    """
    faults = [*filter(None, [ae_title_fault(ae_title)]), *_faults(presented, now, limits)]
    if not presented.certificate.is_ca:
        if presented.purposes is not None and not presented.purposes & {"server_auth", "client_auth", "any"}:
            faults.append("it is for neither TLS clients nor TLS servers (extended key usage)")
        faults += [
            f"it is the certificate of {other!a} already"
            for other, known in others.items()
            if other != ae_title and known.fingerprint == presented.certificate.fingerprint
        ]
    if faults:
        raise InvalidInput([f"certificate of {ae_title!a}: {fault}" for fault in faults])
    if current == presented.certificate:
        return []
    return [DeviceCertificateInstalled(ae_title, presented.certificate)]


def remove_for_device(current: Certificate | None, ae_title: str) -> list[Event]:
    """Forget a device's certificate; forgetting none is nothing."""
    return [] if current is None else [DeviceCertificateRemoved(ae_title, current.fingerprint)]


def expiry(certificate: Certificate, now: datetime, limits: Limits) -> str:
    """What is to be said about a certificate's dates, or nothing while its end is further than the limit."""
    end = datetime.fromisoformat(certificate.not_after)
    days = (end - now).total_seconds() / 86_400
    if days <= 0:
        return f"has expired on {end:%Y-%m-%d}"
    return f"expires on {end:%Y-%m-%d}" if days <= limits.certificate_expiry_warning_days else ""


def _faults(presented: Presented, now: datetime, limits: Limits) -> list[str]:
    certificate = presented.certificate
    begin, end = datetime.fromisoformat(certificate.not_before), datetime.fromisoformat(certificate.not_after)
    faults = []
    if now < begin:
        faults.append(f"it is not valid before {begin:%Y-%m-%d %H:%M} UTC")
    if now > end:
        faults.append(f"it has expired on {end:%Y-%m-%d %H:%M} UTC")
    least = {"RSA": limits.rsa_key_bits_min, "EC": limits.ec_key_bits_min}.get(presented.algorithm)
    if least is None:
        faults.append(f"its key is of the kind {presented.algorithm}: use RSA or EC")
    elif presented.key_bits < least:
        faults.append(f"its {presented.algorithm} key has {presented.key_bits} bits: use at least {least}")
    if presented.signature_hash in WEAK_HASHES:
        faults.append(f"it is signed with {presented.signature_hash.upper()}: use SHA-256 or better")
    return faults


def _faults_in_role(role: Role, presented: Presented) -> list[str]:
    faults = []
    usages, purposes = presented.usages, presented.purposes
    if role is Role.CA:
        if not presented.certificate.is_ca:
            faults.append("it is no CA certificate (basic constraints do not say CA)")
        if usages is not None and "key_cert_sign" not in usages:
            faults.append("its key may not sign certificates (key usage)")
        if presented.private_key:
            faults.append("a private key came with it: keep the CA's key elsewhere")
        return faults
    if usages is not None and "digital_signature" not in usages:
        faults.append("its key may not sign handshakes (key usage)")
    purpose = "server_auth" if role is Role.SCP else "client_auth"
    if purposes is not None and not purposes & {purpose, "any"}:
        faults.append(f"it is not for TLS {'servers' if role is Role.SCP else 'clients'} (extended key usage)")
    if not presented.private_key:
        faults.append("its private key is missing")
    elif presented.private_key != presented.certificate.public_key:
        faults.append("the private key does not belong to it")
    return faults


def _faults_of_chain(
    after: Mapping[Role, Certificate], uploaded: Mapping[Role, Presented], is_signed_by: IsSignedBy
) -> list[str]:
    pairs = {role: certificate for role, certificate in after.items() if role is not Role.CA}
    ca = after.get(Role.CA)
    if ca is None:
        return [f"{role.value}: there is no CA certificate: upload the one that signed it too" for role in pairs]
    return [
        f"{role.value}: it is not signed by the CA {ca.subject!a}"
        if role in uploaded
        else f"{role.value}: the present certificate is not signed by the new CA: upload {role.value} too, or remove it"
        for role, certificate in pairs.items()
        if not is_signed_by(certificate, ca)
    ]
