"""pynetdicom as a dependable peer of tests."""

from __future__ import annotations

import threading
import time
from typing import Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

_PATIENCE_SECONDS = 120


class Checkpoint:
    """Where an association's own thread rests while a request is under way; tells truly whether it does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = False
        self.is_resting = False

    def set(self) -> None:
        """Let the thread go on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Let the thread rest when it comes by."""
        with self._changed:
            self._open = False

    def wait(self) -> None:
        """Come by."""
        with self._changed:
            while not self._open:
                self.is_resting = True
                self._changed.wait()
            self.is_resting = False


def _is_paused(association: Association) -> bool:
    checkpoint = association._reactor_checkpoint
    mine = threading.current_thread() is association
    return mine or association._kill or (isinstance(checkpoint, Checkpoint) and checkpoint.is_resting)


def rest(association: Association) -> None:
    """Let the association's thread rest before a message is sent by hand."""
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)


def install() -> None:
    """Let every association of pynetdicom in this process be dependable.

    Its own thread says that it rests before it does, and once in 300 times takes the answer to a request. On a busy
    machine an answer may take longer than pynetdicom would wait.
    """
    make: Any = Association.__init__
    begin: Any = ApplicationEntity.__init__

    def made(association: Any, *args: Any, **kwargs: Any) -> None:
        make(association, *args, **kwargs)
        association._reactor_checkpoint = Checkpoint()
        association._reactor_checkpoint.set()

    def begun(entity: Any, *args: Any, **kwargs: Any) -> None:
        begin(entity, *args, **kwargs)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _PATIENCE_SECONDS

    Association.__init__ = made  # type: ignore[method-assign]
    ApplicationEntity.__init__ = begun  # type: ignore[method-assign]
    # What pynetdicom sets here is the fault: it is not believed.
    Association._is_paused = property(_is_paused, lambda _association, _value: None)  # type: ignore[assignment]
