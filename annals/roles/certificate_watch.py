"""Telling in time that a certificate ends, and at all that a demo one is used: log lines, and a detail of readiness."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from adapters.log.log import utc_now
from annals.compose import Archive
from domain.certificate import expiry
from domain.errors import AnnalsError
from domain.revocation import overdue_since
from projections import certificates

_LOG = logging.getLogger("annals.tls")
_SAID_AGAIN_SECONDS = 24 * 3600.0


class CertificateWatch:
    """Looks at the certificates in use."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._seen: list[str] = []

    def warnings(self) -> list[str]:
        """What is to be said of the certificates in use."""
        with self._archive.certificates.now() as connection:
            in_use = certificates.in_use(connection)
            lists = certificates.revocation_lists(connection)
        now = utc_now()
        said = []
        if demo := [one.role for one in in_use if one.demo]:
            said.append(f"demo certificates are used for {', '.join(demo)}: not safe, upload your own")
        ends = ((one.ae_title or one.role, expiry(one.certificate, now, self._archive.limits)) for one in in_use)
        said += [f"the revocation list of {one.issuer!a}: {due}" for one in lists if (due := overdue_since(one, now))]
        return [*said, *(f"the certificate of {name!a} {end}" for name, end in ends if end)]

    def check(self) -> Mapping[str, object]:
        """For readiness: what was seen last. A store without TLS succeeds whatever there is to say."""
        return {"warnings": self._seen, "degraded": bool(self._seen)}

    def run(self, ended: threading.Event) -> None:
        """Look until the end; say what is new at once, and what stays once a day."""
        said_at = float("-inf")
        while True:
            try:
                seen = self.warnings()
                if seen != self._seen or time.monotonic() - said_at > _SAID_AGAIN_SECONDS:
                    said_at = time.monotonic()
                    for said in seen:
                        _LOG.warning("%s", said)
                self._seen = seen
            except AnnalsError as error:
                _LOG.warning("the certificates could not be looked at: %s", error)
            if ended.wait(self._archive.limits.certificate_watch_seconds):
                return
