"""A pair is tried out before it comes into use: one that no peer takes would close the TLS ports to everybody."""

from __future__ import annotations

import ssl

from adapters.tls.contexts import Ask, Pair, Profile, client_context, server_context
from adapters.tls.faults import openssl_words
from domain.certificate import Certificate, Role

_FLIGHTS = 4
_NO_USE = ("NO_SHARED_CIPHER", "NO_CERTIFICATE_ASSIGNED")


def trial_fault(role: Role, shown: Certificate, private_key: str, ca: Certificate) -> str:
    """Why a peer that trusts the CA alone would not take a pair, or nothing: OpenSSL's look in a handshake in memory.

    So the whole path to the CA holds (RFC 5280 6.1), and the kind of key is one that TLS has.
    """
    pair, profile = Pair(shown.pem, private_key), Profile.RFC9325
    try:
        if role is Role.SCP:
            server = server_context(profile, pair, [], Ask.NOT)
            client = client_context(profile, None, [ca.pem], check_host=False)
        else:
            server = server_context(profile, pair, [ca.pem], Ask.REQUIRED)
            client = client_context(profile, pair, [], check_host=False)
            client.verify_mode = ssl.CERT_NONE
        _shake_hands(server, client)
    except ssl.SSLError as error:
        if error.reason in _NO_USE:
            return "its key is of no kind that TLS has: use RSA or EC P-256, P-384 or P-521"
        return openssl_words(error)
    return ""


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_FLIGHTS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
