"""Reading certificates and private keys that somebody uploads: whatever the bytes, an answer that names all faults."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dh, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from domain.certificate import Certificate, Presented
from domain.errors import InvalidInput
from domain.limits import Limits

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_SEQUENCE = b"\x30"
_USAGES = ("digital_signature", "key_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "server_auth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client_auth",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
}
_BROKEN = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def present(certificate: bytes, private_key: bytes | None, limits: Limits) -> tuple[Presented, str]:
    """What is uploaded, and its private key as PKCS #8 PEM (empty where none came).

    Raises :class:`InvalidInput` with every fault of both files.
    """
    faults: list[str] = []
    read = _certificate(certificate, limits, faults)
    key = _private_key(private_key, limits, faults) if private_key is not None else None
    presented = None
    try:
        presented = _presented(read, _digest(key.public_key()) if key else "") if read else None
    except _BROKEN as error:
        faults.append(f"the certificate has a part that cannot be read ({type(error).__name__})")
    if faults or presented is None:
        raise InvalidInput(faults)
    encoded = b"" if key is None else key.private_bytes(*_PKCS8)
    return presented, encoded.decode("ascii")


def is_signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether the issuer's key has signed the certificate and the names fit (RFC 5280 6.1)."""
    try:
        certificate_of(certificate).verify_directly_issued_by(certificate_of(issuer))
    except (*_BROKEN, InvalidSignature):
        return False
    return True


def is_or_is_signed_by(der: bytes, known: Certificate) -> bool:
    """Whether a peer's certificate is the known one, or was signed by it."""
    if hashlib.sha256(der).hexdigest() == known.fingerprint:
        return True
    try:
        x509.load_der_x509_certificate(der).verify_directly_issued_by(certificate_of(known))
    except (*_BROKEN, InvalidSignature):
        return False
    return True


_PKCS8 = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def certificate_of(certificate: Certificate) -> x509.Certificate:
    """A kept certificate, to be worked with."""
    return x509.load_pem_x509_certificate(certificate.pem.encode("ascii"))


def _certificate(encoded: bytes, limits: Limits, faults: list[str]) -> x509.Certificate | None:
    if len(encoded) > limits.certificate_file_max:
        faults.append(f"the certificate file has more than {limits.certificate_file_max} bytes")
        return None
    labels = _PEM.findall(encoded)
    if any(b"PRIVATE KEY" in label for label in labels):
        faults.append("the certificate file holds a private key too: put it into a file of its own")
    count = sum(label in (b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE") for label in labels)
    if count > 1:
        faults.append(f"the certificate file holds {count} certificates: one is wanted")
        return None
    try:
        if count:
            return x509.load_pem_x509_certificate(encoded)
        if encoded[:1] == _SEQUENCE:
            return x509.load_der_x509_certificate(encoded)
    except _BROKEN:
        faults.append("the certificate file holds a certificate that cannot be read")
        return None
    faults.append("the certificate file holds no certificate in PEM or DER")
    return None


def _private_key(
    encoded: bytes, limits: Limits, faults: list[str]
) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None:
    if len(encoded) > limits.certificate_file_max:
        faults.append(f"the key file has more than {limits.certificate_file_max} bytes")
        return None
    if b"ENCRYPTED" in encoded:
        faults.append("the private key is encrypted: decrypt it first (openssl pkey -in KEY -out PLAIN)")
        return None
    try:
        if _PEM.search(encoded):
            key = serialization.load_pem_private_key(encoded, password=None)
        elif encoded[:1] == _SEQUENCE:
            key = serialization.load_der_private_key(encoded, password=None)
        else:
            faults.append("the key file holds no private key in PEM or DER")
            return None
    except TypeError:
        faults.append("the private key is encrypted: decrypt it first (openssl pkey -in KEY -out PLAIN)")
        return None
    except _BROKEN:
        faults.append("the key file holds a private key that cannot be read")
        return None
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        faults.append("the private key is of a kind that is not used here: use RSA or EC")
        return None
    return key


def _presented(read: x509.Certificate, private_key: str) -> Presented:
    public = read.public_key()
    usages, purposes = _usages(read), _purposes(read)
    certificate = Certificate(
        read.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        hashlib.sha256(read.public_bytes(serialization.Encoding.DER)).hexdigest(),
        _digest(public),
        name_of(read.subject),
        name_of(read.issuer),
        _time(read.not_valid_before_utc),
        _time(read.not_valid_after_utc),
        _is_ca(read),
    )
    kind, bits = _strength(public)
    used = read.signature_hash_algorithm
    return Presented(certificate, kind, bits, used.name if used else "", usages, purposes, private_key)


def _strength(public: PublicKeyTypes) -> tuple[str, int]:
    if isinstance(public, rsa.RSAPublicKey):
        return "RSA", public.key_size
    if isinstance(public, ec.EllipticCurvePublicKey):
        return "EC", public.key_size
    return type(public).__name__.strip("_").removesuffix("PublicKey"), 0


def _usages(read: x509.Certificate) -> frozenset[str] | None:
    try:
        usage = read.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return frozenset(name for name in _USAGES if getattr(usage, name))


def _purposes(read: x509.Certificate) -> frozenset[str] | None:
    try:
        usage = read.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return frozenset(_PURPOSES.get(oid, oid.dotted_string) for oid in usage)


def _is_ca(read: x509.Certificate) -> bool:
    try:
        return read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _digest(public: PublicKeyTypes | dh.DHPublicKey) -> str:
    encoded = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()


def _time(at: datetime) -> str:
    return at.isoformat()


def name_of(name: x509.Name) -> str:
    """A name as RFC 4514 text that can be printed."""
    text = name.rfc4514_string()
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
