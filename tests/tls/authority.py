"""Certificates of every kind, good and bad, made with the cryptography library."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PURPOSES = {
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "email": ExtendedKeyUsageOID.EMAIL_PROTECTION,
}
BOTH = ("server_auth", "client_auth")


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    def files(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The certificate's and the key's path."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return certificate, key


def key_pem(key: Key, password: bytes = b"") -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@lru_cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same few keys in all tests: making one takes long."""
    return rsa.generate_private_key(65537, bits)


def issue(
    name: str,
    signer: Issued | None = None,
    *,
    key: Key | None = None,
    ca: bool = False,
    days: tuple[float, float] = (-1, 30),
    purposes: tuple[str, ...] = BOTH,
    usage: bool = True,
    hosts: tuple[str, ...] = ("localhost",),
    path_length: int | None = None,
    more: tuple[x509.ExtensionType, ...] = (),
) -> Issued:
    """A certificate by a signer, or self-signed; valid from and to these days from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    names = [x509.DNSName(host) for host in hosts] + [
        x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1") if hosts
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(signer.certificate.subject if signer else _name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if usage:
        builder = builder.add_extension(
            x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True
        )
    if not ca:
        if purposes:
            extended = x509.ExtendedKeyUsage([PURPOSES[purpose] for purpose in purposes])
            builder = builder.add_extension(extended, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=True)
    return Issued(builder.sign(signer.key if signer else key, hashes.SHA256()), key)


def authority(name: str = "Test CA", **more: object) -> Issued:
    """A root."""
    return issue(name, ca=True, **more)  # type: ignore[arg-type]


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
