"""Removing the files of a storage that is no longer used: those that no instance needs, or all (F40, STO-2)."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from adapters.files.attachment import ForeignFolder
from adapters.files.dismantling import Dismantling
from adapters.files.failpoints import failpoints
from adapters.files.storage import Storage
from adapters.files.upkeep import Upkeep
from annals import compose, history
from annals.compose import Archive
from annals.options import who
from annals.storage_places import settle, wait_for_receivers
from domain import instance, storage
from domain.errors import InvalidInput, Unavailable
from processes.ports import FoundFile
from projections.catalogue import CATALOGUE, withdrawn
from projections.catalogue.kept import kept_in, used

_TOLD_MAX = 20
_NOBODY_WRITES = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EROFS, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EUCLEAN)
)


def use_no_more(archive: Archive, known: storage.Storage, *, force: bool) -> None:
    """Record that a storage is removed, as soon as nobody writes into it any more (I1); its files stay.

    Without ``force`` it is taken back where anything came into it meanwhile. Raises InvalidInput and Unavailable.
    """
    _withdraw(archive, known.name)
    try:
        with _closed(known) as folder:
            settle(archive)
            count, _ = holds(archive, known.name)
            if count and not force:
                if folder:
                    folder.give_marker_back()
                back = storage.StorageAdded(known.name, known.storage_id, known.path, enabled=False)
                archive.log.change(storage.KIND, known.name, storage.add, back, fold=storage.fold, by=who())
                raise InvalidInput([f"{count} instances came into {known.name} meanwhile: move them first, or --force"])
    except OSError as error:
        again = f"'annals storage remove {known.name}' goes on, 'annals storage adopt {known.path}' takes it back"
        raise Unavailable(history.escaped(f"{known.path}: {error}; {again}")) from error
    record(archive, known.name, files=False)


@contextmanager
def _closed(known: storage.Storage) -> Iterator[Dismantling | None]:
    """The folder of a storage when nobody writes into it any more; nothing where it is away or broken: nobody can."""
    with ExitStack() as opened:
        folder: Dismantling | None = None
        try:
            folder = opened.enter_context(Dismantling(Path(known.path), known.storage_id, failpoints(os.environ)))
            folder.take_marker_away()
            wait_for_receivers(folder.is_received_into)
        except OSError as error:
            if not isinstance(error, ForeignFolder) and error.errno not in _NOBODY_WRITES:
                raise
            folder = None
        yield folder


def holds(archive: Archive, name: str) -> tuple[int, int]:
    """How many instances a storage holds, and their bytes."""
    with archive.catalogue.current() as connection:
        return used(connection).get(name, (0, 0))


def remove_files(archive: Archive, known: storage.Storage) -> str:
    """Remove what no instance needs and history knows; what was done, in words.

    What is younger than the grace may be on its way into the log, and what no fact knows may be wanted: both stay, and
    with them the folder. Raises Unavailable.
    """
    older_than = time.time() - archive.limits.orphan_grace_seconds  # noqa: TID251
    outcome: Counter[bool] = Counter()
    try:
        with Dismantling(Path(known.path), known.storage_id) as folder:
            upkeep = Upkeep(Storage.known(known, archive.limits, marker=folder.marker))
            for file in upkeep.found():
                is_gone = _is_spare(archive, file) and upkeep.remove(
                    file.path,
                    older_than,
                    lambda file=file: not _is_spare(archive, file),  # type: ignore[misc]
                )
                outcome[is_gone] += 1
            if not outcome[False] and folder.remove_empty():
                return f"{outcome[True]} files, and its folder is empty"
    except OSError as error:
        raise Unavailable(history.escaped(f"{known.path}: {error}")) from error
    return f"{outcome[True]} files; {outcome[False]} stay, unknown to the log or in use"


def delete_files(archive: Archive, known: storage.Storage, count: int, size: int, *, ask: bool) -> str:
    """Remove a storage with all its files, those of ``count`` instances of ``size`` bytes too; what was done, in words.

    The facts are first: nobody finds what goes; then the marker: nobody writes. Begun again, it goes on.
    Raises InvalidInput where its folder is not there or it is not wanted, and Unavailable.
    """
    try:
        folder = Dismantling(Path(known.path), known.storage_id, failpoints(os.environ))
    except OSError as error:
        where = f"{known.path} has nothing of {known.name}, or is not there"
        raise InvalidInput([history.escaped(f"{where}: {error.strerror or error}")]) from error
    with folder:
        if not known.emptied:
            if ask:
                _ask(known.name, count, size)
            record(archive, known.name, files=True)
        try:
            folder.take_marker_away()
            wait_for_receivers(folder.is_received_into)
            if _holds_any(archive, known.name):
                # What had its final name already when the fact was written, and its own fact later.
                record(archive, known.name, files=True)
            removed, foreign = folder.remove()
        except OSError as error:
            again = f"'annals storage remove {known.name} --files' goes on"
            raise Unavailable(history.escaped(f"{known.path}: {error}; {again}")) from error
    for name in foreign[:_TOLD_MAX]:
        typer.echo(history.escaped(f"{known.path}/{name} is not the storage's, and stays"), err=True)
    return f"{removed} files" + (f"; {len(foreign)} that are not its own stay" if foreign else "; its folder is empty")


def _ask(name: str, count: int, size: int) -> None:
    typer.echo(f"{count} instances of {size} bytes in {name} are deleted for ever")
    if typer.prompt("Type the storage's name to go on") != name:
        raise InvalidInput(["that is not its name: nothing is removed"])


def record(archive: Archive, name: str, *, files: bool) -> None:
    """Record that a storage is removed, after what it holds was withdrawn."""
    _withdraw(archive, name)
    archive.log.change(storage.KIND, name, storage.remove, name, files, fold=storage.fold, by=who())
    settle(archive)


def _withdraw(archive: Archive, name: str) -> None:
    """Withdraw what a storage holds, in steps: searches wait for one at most."""
    after = ""
    while True:
        with archive.catalogue.current() as connection:
            until = withdrawn.step(connection, name, after, archive.limits.withdrawal_step)
        archive.log.change(storage.KIND, name, storage.withdraw, name, after, until, fold=storage.fold, by=who())
        compose.settle(archive, CATALOGUE)
        if not until:
            break
        after = until


def _holds_any(archive: Archive, name: str) -> bool:
    """Whether anything in a storage can be found."""
    settle(archive)
    with archive.catalogue.current() as connection:
        return bool(kept_in(connection, name, "", 1))


def _is_spare(archive: Archive, file: FoundFile) -> bool:
    """Whether history knows a file, and it is not what its instance is made of now."""
    if file.content is None:
        return False
    facts = archive.log.stream(instance.KIND, file.sop_instance_uid)
    known = instance.fold(recorded.event for recorded in facts)
    if known is None:
        return False
    current = known.stored.content
    digests = {current.digest, *(one.digest for one in known.earlier), *known.ignored, *known.refused}
    is_current = (current.storage, current.path) == (file.content.storage, file.path)
    return file.content.digest in digests and not is_current
