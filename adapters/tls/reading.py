"""Reading certificates and private keys that somebody uploads: whatever the bytes, an answer that names all faults."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

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

    A certificate that comes with its key may be followed by those between it and its root, in the order of TLS
    (RFC 8446 4.4.2); the root itself may end them.
    Raises :class:`InvalidInput` with every fault of both files.
    """
    faults: list[str] = []
    read = _certificates(certificate, limits, faults, is_chain=private_key is not None)
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
    """Whether the issuer's key has signed the certificate or one of those behind it, and names fit (RFC 5280 6.1)."""
    return any(_has_issued(certificate_of(issuer), one) for one in chain_of(certificate))


def rests_on(shown: Sequence[bytes], known: Certificate) -> bool:
    """Whether the known certificate is in a peer's verified chain, or has signed the last that stands there."""
    if any(hashlib.sha256(der).hexdigest() == known.fingerprint for der in shown):
        return True
    try:
        return any(_has_issued(certificate_of(known), x509.load_der_x509_certificate(der)) for der in shown)
    except _BROKEN:
        return False


_PKCS8 = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def certificate_of(certificate: Certificate) -> x509.Certificate:
    """A kept certificate, to be worked with."""
    return x509.load_pem_x509_certificate(certificate.pem.encode("ascii"))


def chain_of(certificate: Certificate) -> list[x509.Certificate]:
    """A kept certificate and those that are kept behind it."""
    return x509.load_pem_x509_certificates(certificate.pem.encode("ascii"))


def _certificates(encoded: bytes, limits: Limits, faults: list[str], *, is_chain: bool) -> list[x509.Certificate]:
    if len(encoded) > limits.certificate_file_max:
        faults.append(f"the certificate file has more than {limits.certificate_file_max} bytes")
        return []
    labels = _PEM.findall(encoded)
    if any(b"PRIVATE KEY" in label for label in labels):
        faults.append("the certificate file holds a private key too: put it into a file of its own")
    count = sum(label in (b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE") for label in labels)
    if count > 1 and not is_chain:
        faults.append(f"the certificate file holds {count} certificates: one is wanted")
        return []
    try:
        if count:
            return _chain(x509.load_pem_x509_certificates(encoded), faults)
        if encoded[:1] == _SEQUENCE:
            return [x509.load_der_x509_certificate(encoded)]
    except _BROKEN:
        faults.append("the certificate file holds a certificate that cannot be read (PKCS #7 and #12 are not)")
        return []
    faults.append("the certificate file holds no certificate in PEM or DER")
    return []


def _chain(read: list[x509.Certificate], faults: list[str]) -> list[x509.Certificate]:
    """A certificate and those between it and its root."""
    if not all(_has_issued(issuer, one) for one, issuer in pairwise(read)):
        faults.append(f"the certificate file holds {len(read)} certificates, and not each is signed by the next")
        return []
    return [one for one in read if one is read[0] or one.subject != one.issuer]


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*_BROKEN, InvalidSignature):
        return False
    return True


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


def _presented(chain: list[x509.Certificate], private_key: str) -> Presented:
    read, between = chain[0], tuple(_presented([one], "") for one in chain[1:])
    public = read.public_key()
    usages, purposes = _usages(read), _purposes(read)
    certificate = Certificate(
        "".join(one.public_bytes(serialization.Encoding.PEM).decode("ascii") for one in chain),
        hashlib.sha256(read.public_bytes(serialization.Encoding.DER)).hexdigest(),
        _digest(public),
        name_of(read.subject),
        name_of(read.issuer),
        _time(read.not_valid_before_utc),
        _time(min(one.not_valid_after_utc for one in chain)),
        is_ca(read),
    )
    kind, bits = _strength(public)
    used = read.signature_hash_algorithm
    return Presented(certificate, kind, bits, used.name if used else "", usages, purposes, private_key, between)


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


def is_ca(read: x509.Certificate) -> bool:
    """Whether a certificate says that it is a CA's (RFC 5280 4.2.1.9)."""
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
