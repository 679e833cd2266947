"""The role that answers DICOMweb."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Mapping
from functools import partial

from adapters.codecs.locating import FrameLocator
from adapters.composing.composition import Composition
from adapters.dicom.beginning import FileBeginningReader
from adapters.network.resolver import Resolver
from annals import __version__, compose, connections, viewing
from annals.lifeline import Lifeline
from annals.listening import inherited_or_own
from annals.roles.known_storages import KnownStorages
from annals.roles.sweeping import start_sweeping
from annals.settings import Settings
from api import ohif, wire
from api.dicomweb.admission import ByAddress
from api.dicomweb.app import BASE_PATH, CrossOrigin, create_app
from api.dicomweb.rooms import Retrieval, Storing
from api.dicomweb.router import create_router
from api.origin import Origin
from domain.admission import Door
from domain.errors import Because
from domain.event import Actor
from processes.admission import WebAdmission
from processes.find import Finder
from processes.known_devices import KnownDevices
from processes.presentation_states import PresentationStates
from processes.rejections import Rejections
from processes.render import Renderer
from processes.retrieve import Retriever

_LOG = logging.getLogger("annals.roles")
_CUT_SECONDS = 0.5
"""What the server takes to cut off what still goes on at the end of the drain."""


def run(settings: Settings, dsn: str, environment: Mapping[str, str]) -> None:
    """Answer DICOMweb until the end, then drain."""
    lifeline = Lifeline(environment)
    mine = settings.dicomweb
    with compose.archive(settings, dsn, connections=connections.DICOMWEB) as archive:
        files = archive.files(environment)
        known = KnownDevices(archive.devices, Resolver(archive.limits), archive.limits)
        for follow in (known.follow, KnownStorages(archive, files).follow):
            threading.Thread(target=follow, args=(lifeline.ended,), daemon=True).start()
        start_sweeping(files.sweep, lifeline.ended)
        rejections = Rejections(archive.log, archive.limits)

        def note(address: str, why: str) -> None:
            rejections.note(address, f"DICOMweb: {why}", answer="403")

        def note_sender(by: Actor, why: str) -> None:
            rejections.note(by.address, f"DICOMweb: {why}", answer=f"{Because.OUT_OF_RESOURCES.value:04X}")

        telling = threading.Thread(target=rejections.run, name="rejections", daemon=True)
        telling.start()
        codecs = archive.codecs()
        retriever = Retriever(archive.catalogue, archive.log, archive.limits)
        metadata = viewing.series_metadata(archive, files)
        retrieval = Retrieval(
            retriever,
            Finder(archive.catalogue, archive.limits),
            files,
            codecs,
            FrameLocator(archive.limits),
            Renderer(archive.catalogue, files, codecs),
            PresentationStates(metadata, retriever),
            viewing.thumbnails(archive, files, codecs),
            metadata,
            viewing.bulk_data(archive, files, codecs),
            archive.limits,
        )
        storing = Storing(
            archive.receiver(files, environment, note_sender),
            files,
            FileBeginningReader(archive.limits),
            partial(Composition, archive.limits, codecs.unpacked, archive.temporary_folder()),
            archive.commitments(files),
            archive.limits,
        )
        by_address = ByAddress(WebAdmission(known, settings.admission(Door.DICOMWEB)), note)
        app = create_app(
            create_router(retrieval, storing, by_address),
            Origin(mine.public_url, mine.hosts, [ipaddress.ip_network(one) for one in mine.trusted_proxies]),
            CrossOrigin(mine.cors_origins),
            archive.limits,
            __version__,
            ohif.create_router(mine.ohif, BASE_PATH) if mine.ohif else None,
        )
        server = wire.server(app, archive.limits, int(archive.limits.work_drain_seconds))
        listening = inherited_or_own("dicomweb", mine.host, mine.port, environment)
        thread = threading.Thread(target=server.run, args=([listening],), name="dicomweb", daemon=True)
        thread.start()
        _LOG.info("DICOMweb listens on port %d", mine.port)
        lifeline.wait()
        server.should_exit = True
        # A body that is still being written then is cut off with this process.
        thread.join(archive.limits.work_drain_seconds + _CUT_SECONDS)
        rejections.stop()
        telling.join(archive.limits.database_timeout_seconds)
        codecs.close()
        files.close()
