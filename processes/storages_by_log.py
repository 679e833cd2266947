"""What the log says of the storages now: what a process follows beside its work may be late by a second."""

from __future__ import annotations

from domain import storage
from domain.storage import Storage
from processes.ports import Log


class StoragesByLog:
    """The storages as of the moment that they are asked for; of each only the facts since the last time are read."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: dict[str, tuple[int, Storage | None]] = {}

    def now(self, name: str) -> Storage | None:
        """A storage, removed ones too; None where the log knows none of this name. Raises Unavailable."""
        version, state = self._known.get(name, (0, None))
        for recorded in self._log.stream(storage.KIND, name, version):
            version, state = recorded.version, storage.evolve(state, recorded.event)
        self._known[name] = version, state
        return state
