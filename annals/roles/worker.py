"""The role that works in the background, at a low priority: derived data, the scrub (STO-5), commitments (P5)."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from adapters.codecs.transcoder import Transcoder
from adapters.files.storages import StoredFiles
from adapters.log.wakeups import Wakeups
from annals import compose, connections, viewing
from annals.compose import Archive
from annals.lifeline import Lifeline
from annals.roles.committing import Committing
from annals.roles.known_storages import KnownStorages
from annals.roles.reporting import Reporting
from annals.roles.scrubbing import Scrubbing
from annals.roles.trust import Trust
from annals.settings import Settings
from domain.device import DeviceAdded
from domain.errors import AnnalsError
from processes.derive import Deriver, Maker
from projections import devices

_LOG = logging.getLogger("annals.roles")
_NICENESS = 15
_LOOK_SECONDS = 1.0
_REST_FACTOR = 4
_REST_MAX_SECONDS = 5.0


def run(settings: Settings, dsn: str, environment: Mapping[str, str]) -> None:
    """Make what is due until the end, each kind in a thread of its own."""
    os.nice(_NICENESS)
    lifeline = Lifeline(environment)
    wakeups = Wakeups(dsn)
    with compose.archive(settings, dsn, connections=connections.WORKER, patient=True) as archive:
        files = archive.files(environment)
        codecs = archive.codecs()
        wakeups.open()
        threading.Thread(target=KnownStorages(archive, files).follow, args=(lifeline.ended,), daemon=True).start()
        threads = [
            threading.Thread(
                target=_derive,
                args=(Deriver(maker, archive.catalogue, archive.limits), wakeups, lifeline),
                name=maker.kind,
                daemon=True,
            )
            for maker in _makers(archive, files, codecs)
        ]
        threads.append(threading.Thread(target=Scrubbing(archive, lifeline.ended).run, name="scrub", daemon=True))
        committing = _committing(archive, files, settings, lifeline)
        threads.append(threading.Thread(target=committing.run, name="commitments", daemon=True))
        for thread in threads:
            thread.start()
        lifeline.wait()
        wakeups.close()
        # What is under way when the time is over is made again: nothing is lost.
        lifeline.join(threads, archive.limits.work_drain_seconds)
        codecs.close()


def _committing(archive: Archive, files: StoredFiles, settings: Settings, lifeline: Lifeline) -> Committing:
    trust = Trust(archive, settings.tls)

    def device(ae_title: str) -> DeviceAdded | None:
        with archive.devices.current() as connection:
            return devices.one(connection, ae_title)

    reporter = Reporting(device, trust.client_context, archive.limits, lifeline.ended.is_set)
    room = replace(archive.commitments(files), is_stopping=lifeline.ended.is_set)
    return Committing(archive.open_commitments, room, reporter, archive.limits, lifeline.ended)


def _makers(archive: Archive, files: StoredFiles, codecs: Transcoder) -> list[Maker]:
    """What is derived of every series; the kinds are those of :mod:`projections.catalogue.due`."""
    return [viewing.series_metadata(archive, files), viewing.thumbnails(archive, files, codecs)]


def _derive(deriver: Deriver, wakeups: Wakeups, lifeline: Lifeline) -> None:
    trouble = ""
    while not lifeline.ended.is_set():
        seen, began = wakeups.seen(), time.monotonic()
        try:
            if deriver.step():
                if wakeups.seen() != seen:
                    # Something is being received: leave most of the time to it.
                    lifeline.ended.wait(min(_REST_FACTOR * (time.monotonic() - began), _REST_MAX_SECONDS))
                continue
            trouble = ""
        except AnnalsError as error:
            if str(error) != trouble:
                _LOG.warning("derived data waits: %s", error)
            trouble = str(error)
        except Exception:  # noqa: BLE001 - a thread that ended would leave everything due for ever
            _LOG.exception("derived data could not be made")
        lifeline.ended.wait(_LOOK_SECONDS)
