"""TLS contexts after the profiles of PS3.15 Annex B. Private keys reach OpenSSL through memory, not through a disk."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

_SECURITY_LEVEL = 2
"""OpenSSL's: no RSA or DH key below 2048 bits, no EC key below 224, no signature with MD5 or SHA-1."""

_DER = 2
"""``_ssl.ENCODING_DER``."""

_ECDHE_RSA = ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256")
_ECDHE_ECDSA = ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256")
_DHE = ("DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES128-GCM-SHA256")
_MODIFIED = (
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES256-CCM",
    "ECDHE-ECDSA-AES256-CCM8",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES128-CCM8",
)
# The group ffdhe2048 of RFC 7919 A.1.
_FFDHE2048 = b"""-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


class Profile(Enum):
    """The TLS profiles of PS3.15 Annex B; none goes below TLS 1.2 here."""

    BCP195 = "bcp195"
    """B.9, retired."""
    BCP195_ND = "bcp195-nd"
    """B.10, non-downgrading, retired."""
    BCP195_EXTENDED = "bcp195-extended"
    """B.11, retired: these suites and no others, so no TLS 1.3."""
    RFC9325 = "bcp195-rfc9325"
    """B.12: what RFC 9325 recommends."""
    RFC9325_MODIFIED = "bcp195-rfc9325-modified"
    """B.13: the restricted list."""

    @property
    def suites(self) -> tuple[str, ...]:
        """The cipher suites of TLS 1.2 by OpenSSL's names, the preferred first."""
        return {
            Profile.BCP195: (*_ECDHE_RSA, *_DHE),
            Profile.BCP195_ND: (*_ECDHE_RSA, *_DHE),
            Profile.BCP195_EXTENDED: (*_ECDHE_ECDSA, *_ECDHE_RSA, *_DHE),
            Profile.RFC9325: (*_ECDHE_ECDSA, *_ECDHE_RSA),
            Profile.RFC9325_MODIFIED: (*_ECDHE_ECDSA, *_ECDHE_RSA, *_MODIFIED),
        }[self]


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, followed by those between it and its root, and its private key, in PEM."""

    certificate: str
    private_key: str

    def __repr__(self) -> str:
        return "Pair(...)"


class Ask(Enum):
    """Whether a client is asked for a certificate."""

    NOT = ssl.CERT_NONE
    OPTIONAL = ssl.CERT_OPTIONAL
    REQUIRED = ssl.CERT_REQUIRED


class CheckedContext(ssl.SSLContext):
    """A context that looks for revoked certificates when a handshake is done.

    OpenSSL's own look wants a list of every issuer: a device that is trusted by its own certificate has none.
    """

    is_revoked: Callable[[Sequence[bytes]], bool] | None = None
    """Whether a certificate of a verified chain, each in DER, is revoked."""

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As the library's. Raises SSLCertVerificationError for a revoked peer, whose connection is closed."""
        shaken = super().wrap_socket(*arguments, **options)
        if self.is_revoked and self.is_revoked(verified_chain(shaken)):
            shaken.close()
            revoked = ssl.SSLCertVerificationError("certificate revoked")
            revoked.verify_message = "certificate revoked"
            raise revoked
        return shaken


def verified_chain(shaken: ssl.SSLSocket) -> tuple[bytes, ...]:
    """The verified certificates of the peer, each in DER, its own first; none where it showed none."""
    if not shaken.getpeercert(binary_form=True):
        return ()
    # Public from Python 3.13 on.
    return tuple(one.public_bytes(_DER) for one in shaken._sslobj.get_verified_chain())  # type: ignore[attr-defined]


def server_context(profile: Profile, pair: Pair, trusted: Sequence[str], ask: Ask) -> CheckedContext:
    """For those who connect to us. ``trusted`` are PEM certificates: a client's must be one or be signed by one."""
    context = CheckedContext(ssl.PROTOCOL_TLS_SERVER)
    _apply(context, profile)
    # A resumed session would not show its certificate again.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_DH_USE
    context.num_tickets = 0
    with _in_memory(_FFDHE2048) as path:
        context.load_dh_params(path)
    _show(context, pair)
    _trust(context, trusted)
    context.verify_mode = ask.value
    return context


def client_context(profile: Profile, pair: Pair | None, trusted: Sequence[str], *, check_host: bool) -> CheckedContext:
    """For those we connect to. ``check_host``: the certificate must name the host, as in the web."""
    context = CheckedContext(ssl.PROTOCOL_TLS_CLIENT)
    _apply(context, profile)
    context.check_hostname = check_host
    if pair:
        _show(context, pair)
    _trust(context, trusted)
    return context


def _apply(context: ssl.SSLContext, profile: Profile) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if profile is Profile.BCP195_EXTENDED:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{':'.join(profile.suites)}:@SECLEVEL={_SECURITY_LEVEL}")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # An end without close_notify is no fault here: PDUs say where they end. As a fault it would forbid last words.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    # A device's own certificate may be trusted where its root is not known.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_TRUSTED_FIRST


def _trust(context: ssl.SSLContext, trusted: Sequence[str]) -> None:
    if trusted:
        context.load_verify_locations(cadata="\n".join(trusted))


def _show(context: ssl.SSLContext, pair: Pair) -> None:
    with _in_memory(pair.certificate.encode()) as certificate, _in_memory(pair.private_key.encode()) as key:
        # An encrypted key would make OpenSSL ask at the terminal.
        context.load_cert_chain(certificate, key, password="")


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path to content that is on no disk: the ssl module takes files only."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
