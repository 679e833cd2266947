"""A demo set of certificates, so that a fresh archive speaks TLS. Not safe: nobody vouches for it."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from domain.certificate import Role
from domain.limits import Limits

_EXPONENT = 65537
_BEFORE = timedelta(minutes=5)


def demo_set(host_names: tuple[str, ...], now: datetime, limits: Limits) -> dict[Role, tuple[bytes, bytes | None]]:
    """PEM certificates and private keys: a CA, and the pairs that it has signed. The CA's own key is thrown away."""
    # RSA: some of DCMTK's profiles offer no suite for another kind of key.
    ca_key = rsa.generate_private_key(_EXPONENT, limits.rsa_key_bits_min)
    ca_name = _name("Annals demo CA (not safe)")
    authority = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _begun(ca_name, ca_name, ca_key.public_key(), now, limits)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    made: dict[Role, tuple[bytes, bytes | None]] = {Role.CA: (_pem(ca), None)}
    for role, purpose in ((Role.SCP, ExtendedKeyUsageOID.SERVER_AUTH), (Role.SCU, ExtendedKeyUsageOID.CLIENT_AUTH)):
        key = rsa.generate_private_key(_EXPONENT, limits.rsa_key_bits_min)
        certificate = (
            _begun(_name(f"Annals demo {role.name} (not safe)"), ca_name, key.public_key(), now, limits)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in host_names]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        made[role] = (_pem(certificate), private)
    return made


def _begun(
    subject: x509.Name, issuer: x509.Name, public: rsa.RSAPublicKey, now: datetime, limits: Limits
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + timedelta(days=limits.demo_certificate_days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
