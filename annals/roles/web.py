"""The role that answers HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from adapters.files.storages import StoredFiles
from annals import __version__, allowance, compose, connections
from annals.compose import Archive
from annals.lifeline import Lifeline
from annals.listening import inherited_or_own
from annals.roles.certificate_watch import CertificateWatch
from annals.roles.known_storages import KnownStorages
from annals.roles.probing import probes
from annals.roles.trust import Trust
from annals.settings import Settings
from api import licence, wire
from api.health import Check, create_app
from domain.errors import Unavailable
from processes.lag_alarm import LagAlarm
from projections.catalogue import due

_LOG = logging.getLogger("annals.roles")
_READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool"


def run(settings: Settings, dsn: str, environment: Mapping[str, str]) -> None:
    """Answer HTTP."""
    lifeline = Lifeline(environment)
    with compose.archive(settings, dsn, connections=connections.WEB) as archive:
        files = archive.files(environment)
        watch = CertificateWatch(archive)
        threading.Thread(target=watch.run, args=(lifeline.ended,), name="certificates", daemon=True).start()
        checks = {**_checks(archive, files), "certificates": watch.check}
        licences = licence.create_router(allowance.licensing(archive).install, archive.limits)
        app = create_app(checks, __version__, lifeline.ended.is_set, [licences])
        # A request that is longer under way than this is cut off; the probe of the listener ends before.
        drain_seconds = int(archive.limits.health_probe_timeout_seconds) + 1
        server = wire.server(app, archive.limits, drain_seconds)
        listening = inherited_or_own("http", settings.http.host, settings.http.port, environment)
        threading.Thread(target=KnownStorages(archive, files).follow, args=(lifeline.ended,), daemon=True).start()
        thread = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
        thread.start()
        lifeline.wait()
        server.should_exit = True
        thread.join(archive.limits.work_drain_seconds)


def _checks(archive: Archive, files: StoredFiles) -> dict[str, Check]:
    def database() -> Mapping[str, object]:
        with archive.database.connection() as connection:
            row = connection.execute(_READ_ONLY).fetchone()
            if row is None or row[0]:
                raise Unavailable("the database is read-only")
        return {}

    def storage() -> Mapping[str, object]:
        files.check_space()
        return {}

    def reading() -> Mapping[str, object]:
        lag = archive.log.head() - archive.catalogue.position()
        parked = archive.catalogue.parked()
        if lags := alarm.rings(lag):
            _LOG.warning("the catalogue lags %d positions behind the log", lag)
        with archive.catalogue.now() as connection:
            waiting, failed = map(sum, zip(*due.counts(connection).values(), strict=True))
        degraded = bool(parked or failed) or lags
        derived = {"derived_due": waiting, "derived_failed": failed}
        return {"lag": lag, "parked": parked, **derived, "degraded": degraded}

    def others_reading() -> Mapping[str, object]:
        head = archive.log.head()
        lag = max(head - model.position() for model in others)
        if lags := others_alarm.rings(lag):
            _LOG.warning("a read model lags %d positions behind the log", lag)
        parked = {model.name: count for model in others if (count := model.parked())}
        return {"lag": lag, "parked": parked, "degraded": bool(parked) or lags}

    alarm, others_alarm = (LagAlarm(archive.limits, time.monotonic) for _ in range(2))
    others = (archive.devices, archive.storages, archive.certificates, archive.rejections, archive.open_commitments)
    ports = dict(probes(archive, Trust(archive, archive.settings.tls)))
    return {"database": database, "storage": storage, **ports, "catalogue": reading, "read models": others_reading}
