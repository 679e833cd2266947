"""Whom this process shows which certificate and whom it trusts, as the certificates in use are at this moment."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from adapters.tls.contexts import Ask, CheckedContext, Pair, Profile, client_context, server_context
from adapters.tls.faults import openssl_words
from adapters.tls.keys import PrivateKeys
from annals.compose import Archive
from annals.settings import TlsSettings
from domain.certificate import Certificate, Role
from domain.device import DeviceAdded
from domain.errors import AnnalsError, Unavailable
from projections import certificates
from projections.certificates import InUse

_LOG = logging.getLogger("annals.tls")
_PATIENCE_SECONDS = 1.0


@dataclass(slots=True)
class _Seen:
    """The certificates in use at one state, and the contexts made of them so far."""

    state: tuple[int, int]
    in_use: list[InUse]
    revoked: dict[str, frozenset[str]]
    server: ssl.SSLContext | None = None
    probe: ssl.SSLContext | None = None
    clients: dict[str, ssl.SSLContext] = field(default_factory=dict)

    def check(self, context: CheckedContext) -> CheckedContext:
        """Let a context look for what the authorities have revoked."""
        if revoked := self.revoked:
            # Only here: most processes never see a certificate.
            from adapters.tls.revocation import is_revoked

            context.is_revoked = lambda chain: is_revoked(chain, revoked)
        return context

    @property
    def ca(self) -> Certificate | None:
        ca = certificates.own(self.in_use, Role.CA)
        return ca.certificate if ca else None


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise Unavailable(f"TLS cannot use our certificates: {openssl_words(error)}: upload others") from error


class Trust:
    """Asks at every connection whether the certificates have changed; while the database is away the last hold."""

    def __init__(self, archive: Archive, settings: TlsSettings) -> None:
        self._archive = archive
        self._keys = PrivateKeys(archive.database)
        self._settings = settings
        self._profile = Profile(settings.profile)
        self._lock = threading.Lock()
        self._seen: _Seen | None = None
        self._look_again_at = float("-inf")

    def server_context(self) -> ssl.SSLContext:
        """For the next peer that connects. Raises Unavailable: without a certificate no connection is taken."""
        with self._lock:
            seen = self._look()
            if seen.server is None:
                devices = certificates.of_devices(seen.in_use)
                trusted = [one.pem for one in (seen.ca, *devices.values()) if one]
                # Some clients that have none fail when they are asked for one.
                ask = Ask.OPTIONAL if devices else Ask.NOT
                if self._settings.require_client_certificate:
                    ask = Ask.REQUIRED
                pair = self._pair(seen, Role.SCP)
                with _usable():
                    seen.server = seen.check(server_context(self._profile, pair, trusted, ask))
            return seen.server

    def client_context(self, device: DeviceAdded) -> ssl.SSLContext | None:
        """For a connection to a device; None where it does not use TLS. Raises Unavailable: never in clear instead."""
        if not device.use_tls:
            return None
        with self._lock:
            seen = self._look()
            if device.ae_title not in seen.clients:
                known = certificates.of_devices(seen.in_use).get(device.ae_title)
                if known is None:
                    raise Unavailable(f"{device.ae_title!a} uses TLS and its certificate is not known: upload it")
                pair, check_host = self._pair(seen, Role.SCU), known.is_ca and self._settings.check_host_name
                with _usable():
                    context = client_context(self._profile, pair, [known.pem], check_host=check_host)
                seen.clients[device.ae_title] = seen.check(context)
            return seen.clients[device.ae_title]

    def probe_context(self) -> ssl.SSLContext:
        """For the archive's own look at its TLS ports: whether they answer, not whether their certificate is good."""
        with self._lock:
            seen = self._look()
            if seen.probe is None:
                shown = self._pair(seen, Role.SCU) if self._settings.require_client_certificate else None
                seen.probe = client_context(self._profile, shown, [], check_host=False)
                seen.probe.verify_mode = ssl.CERT_NONE
            return seen.probe

    def fault_of(self, calling_ae_title: str, shown: Sequence[bytes], device: DeviceAdded | None) -> str:
        """Why a peer is not whom it says, or nothing: a certificate belongs to one device, and who has one shows it.

        ``shown`` is the peer's verified chain of certificates, each in DER, its own first.
        """
        owners, sole = self._owners(shown)
        if calling_ae_title in owners:
            return ""
        if sole:
            return f"it shows a certificate of {min(sole)!a}"
        if device and device.use_tls:
            return "it uses TLS and shows " + ("a certificate that is not its own" if shown else "none")
        return ""

    def _owners(self, shown: Sequence[bytes]) -> tuple[set[str], set[str]]:
        """Whose certificate it is, and those of them whose it is alone: what our own CA has signed may be anyone's."""
        if not shown:
            return set(), set()
        with self._lock:
            seen = self._look()
        devices = certificates.of_devices(seen.in_use)
        if not devices:
            return set(), set()
        # Only here: most processes never see a certificate.
        from adapters.tls.reading import rests_on

        owners = {ae_title for ae_title, one in devices.items() if rests_on(shown, one)}
        ca = seen.ca.fingerprint if seen.ca else ""
        return owners, {ae_title for ae_title in owners if devices[ae_title].fingerprint != ca}

    def _pair(self, seen: _Seen, role: Role) -> Pair:
        own = certificates.own(seen.in_use, role)
        if own is None:
            raise Unavailable(f"there is no {role.name} certificate: see 'annals certificate upload'")
        key = self._keys.one(own.certificate.public_key)
        if not key:
            raise Unavailable(f"the private key of the {role.name} certificate is not there: upload the pair again")
        return Pair(own.certificate.pem, key)

    def _look(self) -> _Seen:
        if self._seen and time.monotonic() < self._look_again_at:
            return self._seen
        try:
            with self._archive.certificates.now() as connection:
                state = certificates.state(connection)
                if self._seen is None or self._seen.state != state:
                    lists = certificates.revocation_lists(connection)
                    revoked = {one.issuer: frozenset(one.revoked) for one in lists}
                    self._seen = _Seen(state, certificates.in_use(connection), revoked)
        except AnnalsError as error:
            if self._seen is None:
                raise
            # Every peer would wait for the database in turn.
            self._look_again_at = time.monotonic() + _PATIENCE_SECONDS
            _LOG.warning("certificates are used as they were: %s", error)
        assert self._seen is not None
        return self._seen
