"""The role that speaks DIMSE: receive, find and give back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from adapters.dimse.command import C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, N_ACTION_RQ
from adapters.dimse.commitment_request import CommitmentService
from adapters.dimse.find import FindService
from adapters.dimse.identifier import IdentifierReader
from adapters.dimse.listener import Doorkeeper, Listener
from adapters.dimse.places import Places
from adapters.dimse.presentation import accept_extended, supported_by_worklist, supported_contexts
from adapters.dimse.retrieve import RetrieveService
from adapters.dimse.serve import Server, Service
from adapters.network.resolver import Resolver
from annals import compose, connections
from annals.lifeline import Lifeline
from annals.listening import inherited_or_own
from annals.roles import admitting
from annals.roles.known_storages import KnownStorages
from annals.roles.sweeping import start_sweeping
from annals.roles.trust import Trust
from annals.settings import Settings
from domain.address import normal_host
from domain.admission import Door
from processes.admission import Admission
from processes.find import Finder
from processes.known_devices import KnownDevices
from processes.rejections import Rejections
from processes.retrieve import Retriever

_LOG = logging.getLogger("annals.roles")


def run(settings: Settings, dsn: str, environment: Mapping[str, str]) -> None:
    """Receive, find and give back until the end, then drain."""
    lifeline = Lifeline(environment)
    with compose.archive(settings, dsn, connections=connections.of_dimse(settings)) as archive:
        files = archive.files(environment)
        known = KnownDevices(archive.devices, Resolver(archive.limits), archive.limits)
        admission = Admission(
            known,
            settings.dimse.ae_title,
            settings.admission(Door.DIMSE),
            settings.dimse.check_called_ae_title,
            frozenset({normal_host(settings.dimse.host)}),
        )
        codecs = archive.codecs()
        rejections = Rejections(archive.log, archive.limits)
        trust = Trust(archive, settings.tls)
        retrieve = RetrieveService(
            Retriever(archive.catalogue, archive.log, archive.limits),
            admission.destination,
            files,
            codecs,
            settings.dimse.ae_title,
            archive.limits,
            IdentifierReader(archive.limits),
            trust.client_context,
        )
        services: dict[int, Service] = {
            C_FIND_RQ: FindService(Finder(archive.catalogue, archive.limits), settings.dimse.ae_title, archive.limits),
            C_MOVE_RQ: retrieve.move,
            C_GET_RQ: retrieve.get,
            N_ACTION_RQ: CommitmentService(
                archive.commitments(files),
                admitting.is_registered(known),
                IdentifierReader(archive.limits),
                archive.limits,
            ),
        }
        server = Server(
            archive.receiver(files, environment, admitting.note_sender(rejections)),
            services,
            archive.log,
            admitting.permit(admission, rejections),
        )
        keeper = Doorkeeper(
            supported_contexts(settings.dimse.accept_unknown_sop_classes),
            admitting.admit(admission, trust),
            known.is_address,
            accept_extended,
            admitting.note(rejections),
            note_stranger=rejections.note,
            preferred=admission.preferred_syntax,
        )
        over_tls = replace(keeper, tls=trust.server_context)
        keepers = {
            "dimse": keeper,
            "dimse-tls": over_tls,
            "worklist": replace(keeper, supported=supported_by_worklist),
            "worklist-tls": replace(over_tls, supported=supported_by_worklist),
        }
        places = Places(archive.limits)
        listeners = [
            Listener(
                inherited_or_own(name, settings.dimse.host, port, environment),
                keepers[name],
                server,
                archive.limits,
                places,
            )
            for name, port in settings.dimse_ports.items()
        ]
        accepting = [
            threading.Thread(target=listener.serve_forever, name="accept", daemon=True) for listener in listeners
        ]
        for thread in accepting:
            thread.start()
        following = KnownStorages(archive, files).follow
        threading.Thread(target=following, args=(lifeline.ended,), name="storages", daemon=True).start()
        threading.Thread(target=known.follow, args=(lifeline.ended,), name="devices", daemon=True).start()
        telling = threading.Thread(target=rejections.run, name="rejections", daemon=True)
        telling.start()
        start_sweeping(files.sweep, lifeline.ended)
        for name, port in settings.dimse_ports.items():
            _LOG.info("DIMSE listens on port %d as %s (%s)", port, settings.dimse.ae_title, name)
        lifeline.wait()
        for listener in listeners:
            listener.stop_accepting()
        for thread in accepting:
            thread.join()
        _drain(listeners, archive.limits.work_drain_seconds)
        rejections.stop()
        telling.join(archive.limits.database_timeout_seconds)
        codecs.close()
        files.close()


def _drain(listeners: Sequence[Listener], timeout_seconds: float) -> None:
    with ThreadPoolExecutor(len(listeners) or 1, "drain") as pool:
        if not all(pool.map(lambda listener: listener.drain(timeout_seconds), listeners)):
            _LOG.error("associations were still open at the end of the drain time")
