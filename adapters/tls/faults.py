"""What went wrong with TLS, in words that say what to do."""

from __future__ import annotations

import ssl

_REASONS = {
    "HTTP_REQUEST": "it speaks HTTP, not TLS",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "it offers no TLS version that is allowed (1.2, 1.3)",
    "VERSION_TOO_LOW": "it offers no TLS version that is allowed (1.2, 1.3)",
    "NO_SHARED_CIPHER": "it offers no cipher suite of the TLS profile",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "EE_KEY_TOO_SMALL": "its certificate's key is too small",
    "CA_KEY_TOO_SMALL": "a key in its certificate chain is too small",
    "CA_MD_TOO_WEAK": "its certificate is signed with a weak hash",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust our certificate (unknown CA)",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it does not accept our kind of certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it holds our certificate for expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it holds our certificate for revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate and we have none",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refused the handshake (certificate or cipher suites)",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it takes no TLS version that is allowed (1.2, 1.3)",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "it takes none of our cipher suites",
}


def tls_fault(error: OSError) -> str:
    """Why no TLS connection came about, or was lost; about the peer, as "it"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
        return "it closed the connection in the handshake"
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", f"TLS error {error.reason or type(error).__name__}")
    if isinstance(error, TimeoutError):
        return "no handshake came about in time"
    return error.strerror or type(error).__name__


def openssl_words(error: ssl.SSLError) -> str:
    """What OpenSSL says of a certificate, a key or both."""
    said = getattr(error, "verify_message", "") or error.reason or type(error).__name__
    return str(said).replace("_", " ").lower()
