"""Where storages lie: what may be the place of one, whether it is there, and moving to another place (STO-2, B54)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import typer

from adapters.files.attachment import MARKER, MOVED, link_fault, marker
from adapters.files.dismantling import Dismantling
from adapters.files.storage import Storage
from adapters.files.upkeep import Upkeep
from annals import compose, history
from annals.compose import Archive
from domain import storage
from domain.errors import InvalidInput, Unavailable
from projections.catalogue.kept import kept_in

_PAGE = 500
_RECEIVING_SECONDS = 60.0
"""For how long what is under way into the folder is waited for; processes know after storage_check_seconds."""
_PAUSE_SECONDS = 0.05


def settle(archive: Archive) -> None:
    """Let the read models know what the log says, whether or not a reader process runs."""
    compose.catch_up(archive)
    archive.storages.wait_for(archive.log.head())


def place_faults(path: Path, known: list[storage.Storage], name: str) -> list[str]:
    """What is wrong with a folder as the place of a storage (B54)."""
    others = [one.path for one in known if not one.removed and one.name != name]
    faults = (storage.path_fault(str(path)), storage.nesting_fault(str(path), others))
    return list(filter(None, faults)) or list(filter(None, [link_fault(path)]))


def relocate(archive: Archive, known: storage.Storage, new: Path) -> None:
    """See that a new path leads to the same storage, and that nothing comes into the old folder any more.

    Where both are there the new one is a copy, and must have every file.
    """
    if faults := place_faults(new, archive.known_storages(), known.name):
        raise InvalidInput(faults)
    if marker(new) != known.storage_id:
        fault = f"--path: {str(new)!a} is not the folder of {known.name}: its marker file is missing or another's"
        raise InvalidInput([fault])
    old = Path(known.path)
    # By the other name it is one that an earlier run was about to leave.
    if marker(old, MARKER, MOVED) != known.storage_id or old.samefile(new):
        return
    if known.enabled:
        raise InvalidInput([f"{known.path} is still there and written: --disable {known.name}, then copy it again"])
    copy = Upkeep(Storage.known(replace(known, path=str(new)), archive.limits))
    _leave(archive, known, copy, new)


def _leave(archive: Archive, known: storage.Storage, copy: Upkeep, new: Path) -> None:
    """Let nobody write into the folder that is left, when the copy has all that came into it."""
    with Dismantling(Path(known.path), known.storage_id) as folder:
        try:
            if missing := _missing(archive, copy):
                raise InvalidInput([f"{missing} files of {known.name} are not in {str(new)!a}: copy it again"])
            folder.take_marker_away(MOVED)
            wait_for_receivers(folder.is_received_into)
            compose.catch_up(archive)
            if missing := _missing(archive, copy):
                raise InvalidInput([f"{missing} files came into {known.path} meanwhile: copy it again"])
        except BaseException as error:
            folder.give_marker_back()
            if isinstance(error, OSError):
                raise Unavailable(history.escaped(f"{known.path}: {error}: try again")) from error
            raise


def wait_for_receivers(is_received_into: Callable[[], bool]) -> None:
    """Wait until nobody writes into a folder whose marker was taken away. Raises OSError where somebody goes on."""
    deadline = time.monotonic() + _RECEIVING_SECONDS
    while is_received_into():
        if time.monotonic() > deadline:
            raise OSError("a process still receives into it")
        time.sleep(_PAUSE_SECONDS)


def _missing(archive: Archive, storage_copy: Upkeep) -> int:
    """How many instances of a storage have no file of their length there."""
    missing, after = 0, ""
    while True:
        with archive.catalogue.current() as connection:
            page = kept_in(connection, storage_copy.name, after, _PAGE)
        if not page:
            return missing
        after = page[-1][0]
        for _, content in page:
            try:
                os.close(storage_copy.open(content))
            except OSError:
                missing += 1


def free_space(one: storage.Storage) -> int:
    """The free bytes of a storage's file system; 0 where the storage is not there."""
    if not is_there(one):
        return 0
    figures = os.statvfs(one.path)
    return figures.f_bavail * figures.f_frsize


def is_there(one: storage.Storage) -> bool:
    """Whether the folder of a storage has its marker."""
    return not one.removed and marker(Path(one.path)) == one.storage_id


def warn_of_shared_partitions(known: list[storage.Storage]) -> None:
    """Two storages on one partition fill up together (STO-2)."""
    by_device: dict[int, list[str]] = {}
    for one in known:
        if one.enabled and is_there(one):
            by_device.setdefault(os.stat(one.path).st_dev, []).append(one.name)
    for names in by_device.values():
        if len(names) > 1:
            typer.echo(f"warning: {', '.join(names)} are on one partition and fill up together", err=True)


def warn_of_the_system(path: Path) -> None:
    """A folder on the system's partition may be the place of a disk that is not mounted."""
    if path.stat().st_dev == os.stat("/").st_dev:
        typer.echo(
            f"warning: {history.escaped(str(path))} is on the system's partition: is its disk mounted?", err=True
        )
