"""The storages of a running process: kept as the log says, and the log told what fails (STO-1, STO-4)."""

from __future__ import annotations

import logging
import threading

from adapters.files.storages import StoredFiles
from adapters.files.troubles import Notice
from annals.compose import Archive
from domain import storage
from domain.errors import AnnalsError
from domain.event import Actor

_LOG = logging.getLogger("annals.storages")
_BY = Actor("system", "storages")


class KnownStorages:
    """Follows the changes of the storages beside the work, never in its way."""

    def __init__(self, archive: Archive, files: StoredFiles) -> None:
        self._archive = archive
        self._files = files

    def follow(self, ended: threading.Event) -> None:
        """Until the end: take over what changed, see after the storages, record what fails and what recovers."""
        while not ended.wait(self._archive.limits.storage_check_seconds):
            try:
                self._files.use(self._archive.known_storages())
                self._files.look()
                self._files.tell(self._record)
            except AnnalsError as error:
                _LOG.warning("the storages stay as they were a moment ago: %s", error)
            except Exception:  # noqa: BLE001 - a thread that ended would leave the storages as they are for ever
                _LOG.exception("the storages could not be followed")

    def _record(self, notice: Notice) -> bool:
        """Record what was noticed; whether a fact came of it."""
        trouble, version = notice.trouble, notice.version
        verb, said = (
            (storage.fail, (trouble, notice.reason, version))
            if notice.reason
            else (storage.recover, (trouble, version))
        )
        return bool(self._archive.log.change(storage.KIND, notice.storage, verb, *said, fold=storage.fold, by=_BY))
