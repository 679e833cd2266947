"""Whether the DIMSE ports answer: each enabled port is asked a C-ECHO over its own way, as a peer would ask it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from adapters.dimse import requestor
from adapters.dimse.negotiation import VERIFICATION
from annals.compose import Archive
from annals.roles.trust import Trust
from api.health import Check
from domain.transcoding import IMPLICIT

_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def probes(archive: Archive, trust: Trust) -> Iterator[tuple[str, Check]]:
    """A check for each enabled port, by the name of its socket."""
    for name, port in archive.settings.dimse_ports.items():
        yield name, _probe(archive, port, trust.probe_context if name.endswith("-tls") else lambda: None)


def _probe(archive: Archive, port: int, tls: Callable[[], ssl.SSLContext | None]) -> Check:
    settings = archive.settings.dimse
    seconds = archive.limits.health_probe_timeout_seconds
    # The listening socket outlives its processes, so that an unserved connection stands still instead of failing.
    patience = replace(
        archive.limits,
        connect_timeout_seconds=seconds,
        tls_handshake_timeout_seconds=seconds,
        dimse_timeout_seconds=seconds,
    )

    def check() -> Mapping[str, object]:
        association = requestor.associate(
            _LOOPBACK.get(settings.host, settings.host),
            port,
            calling_ae_title=settings.ae_title,
            called_ae_title=settings.ae_title,
            contexts=[(VERIFICATION, (IMPLICIT,))],
            limits=patience,
            tls=tls(),
        )
        requestor.echo(association)
        association.release()
        return {}

    return check
