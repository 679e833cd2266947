"""Revocation lists (RFC 5280 5): reading one that somebody uploads, and whether a chain of certificates is on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from adapters.tls.reading import chain_of, is_ca, name_of
from domain.certificate import WEAK_HASHES, Certificate
from domain.errors import InvalidInput
from domain.limits import Limits
from domain.revocation import RevocationListInstalled

Revoked = Mapping[str, frozenset[str]]
"""For each issuer's name the serial numbers that it has revoked, in lower-case hex."""

_BROKEN = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def read_list(encoded: bytes, trusted: Iterable[Certificate], limits: Limits) -> RevocationListInstalled:
    """A list in PEM or DER that one of the trusted authorities has signed. Raises :class:`InvalidInput`."""
    if len(encoded) > limits.revocation_list_file_max:
        raise InvalidInput([f"crl: the file has more than {limits.revocation_list_file_max} bytes"])
    try:
        pem = b"-----BEGIN X509 CRL-----" in encoded
        read = x509.load_pem_x509_crl(encoded) if pem else x509.load_der_x509_crl(encoded)
        faults = list(_faults(read, trusted, limits))
        serials = () if faults else tuple(sorted(f"{one.serial_number:x}" for one in read))
    except _BROKEN:
        raise InvalidInput(["crl: the file holds no revocation list in PEM or DER that can be read"]) from None
    if faults:
        raise InvalidInput(faults)
    return RevocationListInstalled(
        name_of(read.issuer),
        serials,
        read.last_update_utc.isoformat(),
        read.next_update_utc.isoformat() if read.next_update_utc else "",
        hashlib.sha256(read.public_bytes(serialization.Encoding.DER)).hexdigest(),
    )


def is_revoked(chain: Sequence[bytes], revoked: Revoked) -> bool:
    """Whether a certificate of a chain, each in DER, is on its issuer's list."""
    read = [x509.load_der_x509_certificate(der) for der in chain]
    return any(f"{one.serial_number:x}" in revoked.get(name_of(one.issuer), ()) for one in read)


def _faults(read: x509.CertificateRevocationList, trusted: Iterable[Certificate], limits: Limits) -> Iterable[str]:
    # An issuing CA's too, where it stands between a pair and the CA: it is who revokes what it has signed.
    authorities = [one for known in trusted for one in chain_of(known) if is_ca(one)]
    named = [one for one in authorities if one.subject == read.issuer]
    if not any(_has_signed(one, read) for one in named):
        yield (
            "crl: it is not signed by the CA, one between it and our own certificates, or the root of a device: "
            f"its issuer is {name_of(read.issuer)!a}"
        )
    used = read.signature_hash_algorithm
    if used is None or used.name in WEAK_HASHES:
        yield "crl: it is signed with a weak hash: use SHA-256 or better"
    if len(read) > limits.revocations_max:
        yield f"crl: it has more than {limits.revocations_max} entries"
    # Critical ones change what the list says: of whom it speaks, or that it is a part only (RFC 5280 5.2).
    if odd := [one.oid.dotted_string for one in read.extensions if one.critical]:
        yield f"crl: it speaks of a part of the certificates only, or in a way that is not known here: {odd}"


def _has_signed(authority: x509.Certificate, read: x509.CertificateRevocationList) -> bool:
    key = authority.public_key()
    try:
        return read.is_signature_valid(key)  # type: ignore[arg-type]
    except _BROKEN:
        return False
