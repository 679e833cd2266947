"""``annals storage``: the folders that keep objects, and the work on them (STO-1 to STO-5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annals import compose, history
from annals.compose import Archive
from annals.options import Cfg, Data, settings_of, who
from annals.settings import Settings
from annals.storage_places import (
    free_space,
    place_faults,
    relocate,
    settle,
    warn_of_shared_partitions,
    warn_of_the_system,
)
from domain import storage
from domain.errors import InvalidInput, Unavailable
from domain.event import Actor
from domain.limits import GIB, MIB
from projections import storages
from projections.catalogue.kept import used

if TYPE_CHECKING:
    from adapters.files.upkeep import Upkeep

app = typer.Typer(help="Storages: the folders that keep objects.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The storage's name, see 'annals storage list'.")]


@app.command("add")
def add(
    name: str,
    path: Path,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not write into it yet.")] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Make the folder. Without it a missing one is refused: no disk is there.")
    ] = False,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Use an empty folder as a storage. It is written after those that are there already."""
    from adapters.files.storage import Storage

    with archive_of(settings_of(cfg, data)) as archive:
        known = archive.known_storages()
        if faults := [*filter(None, [storage.name_fault(name)]), *place_faults(path, known, name)]:
            raise InvalidInput(faults)
        if any(one.name == name and not one.removed for one in known):
            raise InvalidInput([f"name: {name} is a storage already"])
        if not create and not path.is_dir():
            raise InvalidInput([f"path: {path} is no folder: mount its disk, or --create makes it"])
        _refuse_known_folder(known, name, path)
        made = Storage.open(path, name, archive.limits, is_writable=True)
        made.close()
        wanted = storage.StorageAdded(name, str(made.storage_id), str(path), not disabled)
        archive.log.change(storage.KIND, name, storage.add, wanted, fold=storage.fold, by=who())
        settle(archive)
        typer.echo(f"storage {name} is in {history.escaped(str(path))}")
        warn_of_the_system(path)
        warn_of_shared_partitions(archive.known_storages())


@app.command("list")
def list_(data: Data = None, cfg: Cfg = None) -> None:
    """Print the storages in the order of writing, with free and used space; 0 free means that it is not there."""
    with archive_of(settings_of(cfg, data)) as archive:
        with archive.storages.current() as connection:
            known, scrubs = storages.everyone(connection), storages.scrubs(connection)
        with archive.catalogue.current() as connection:
            holds = used(connection)
        typer.echo(f"{'name':<16}  {'state':<9}  {'free':>10}  {'used':>10}  {'instances':>10}  path")
        for one, troubles in known:
            state = "removed" if one.removed else "leaving" if one.leaving else "enabled" if one.enabled else "disabled"
            count, size = (0, 0) if one.emptied else holds.get(one.name, (0, 0))
            free = 0 if one.removed else free_space(one)
            typer.echo(
                f"{one.name:<16}  {state:<9}  {_sized(free):>10}  {_sized(size):>10}  {count:>10}  "
                f"{history.escaped(one.path)}"
            )
            if one.emptied:
                typer.echo(f"{'':<16}  removed with its files")
            for trouble, reason in sorted(troubles.items()):
                typer.echo(f"{'':<16}  refuses objects ({trouble}): {history.escaped(reason)}")
            if said := _scrubbed(scrubs[one.name]):
                typer.echo(f"{'':<16}  {said}")
        temporary = archive.temporary_folder()
        free = temporary.free()
        is_low = free < archive.limits.temp_free_min
        low = ": too little, nothing is converted, no bulk data is received" if is_low else ""
        typer.echo(f"temp folder: {history.escaped(temporary.path)}, {_sized(free)} free{low}")
        warn_of_shared_partitions([one for one, _ in known])


@app.command("edit")
def edit(
    name: Name,
    path: Annotated[str, typer.Option(help="Where the storage's folder is now; it must be the same storage.")] = "",
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="A disabled one is only read.")] = None,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Say that a storage's folder has moved, or enable or disable it. Links to what it holds stay."""
    with archive_of(settings_of(cfg, data)) as archive:
        known = known_storage(archive, name)
        if path:
            relocate(archive, known, Path(path))
        change = (name, path, enabled)
        facts = archive.log.change(storage.KIND, name, storage.change, *change, fold=storage.fold, by=who())
        settle(archive)
        typer.echo(f"storage {name} is changed" if facts else "nothing to change")


@app.command("remove")
def remove(
    name: Name,
    files: Annotated[bool, typer.Option("--files", help="Remove its object files too.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where it holds instances: nobody finds or reads them then.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete instances without asking for the name.")] = False,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Use a disabled storage no more. 'annals storage adopt' takes its folder back.

    Files stay; with ``--files`` those go that no instance needs, and it is refused while any instance is there. With
    ``--files --force`` all go, instances too, and nothing brings them back; killed, it goes on when it is begun again.
    """
    from annals.storage_removal import delete_files, holds, remove_files, use_no_more

    with archive_of(settings_of(cfg, data)) as archive:
        known = known_storage(archive, name, removed=files)
        count, size = holds(archive, name)
        if known.enabled and not known.removed:
            raise InvalidInput([f"{name} is enabled: 'annals storage edit {name} --disable' first"])
        if files and (force or known.emptied):
            typer.echo(f"storage {name} is removed with {delete_files(archive, known, count, size, ask=not yes)}")
            return
        if count and not force:
            raise InvalidInput([f"{name} holds {count} instances: 'annals storage move' first, or --force"])
        if not known.removed:
            use_no_more(archive, known, force=force)
        typer.echo(f"storage {name} is removed" + (f" with {remove_files(archive, known)}" if files else ""))


@app.command("adopt")
def adopt(path: Path, data: Data = None, cfg: Cfg = None) -> None:
    """Take the folder of a removed storage back: what it holds can be read again."""
    with archive_of(settings_of(cfg, data)) as archive:
        back = take_back(archive, path, who())
        settle(archive)
        typer.echo(f"storage {back.name} is back in {history.escaped(back.path)}")


def take_back(archive: Archive, path: Path, by: Actor) -> storage.StorageAdded:
    """Use the folder of a removed storage again; done already, nothing happens. Raises InvalidInput and Unavailable."""
    from adapters.files.attachment import MARKER, REMOVED, marker
    from adapters.files.dismantling import Dismantling

    found = marker(path, MARKER, REMOVED)
    everyone = archive.known_storages()
    known = next((one for one in everyone if one.storage_id == found), None)
    if not found:
        raise InvalidInput([f"{path} is not there, or has no marker file {MARKER}: is its disk mounted?"])
    if known is None:
        raise InvalidInput([f"{path} was never a storage here: 'annals import' takes the objects of any folder"])
    wanted = storage.StorageAdded(known.name, known.storage_id, str(path))
    is_back = not known.is_going and known.path == wanted.path
    if not is_back:
        if faults := place_faults(path, everyone, known.name):
            raise InvalidInput(faults)
        storage.add(known, wanted)
    try:
        with Dismantling(path, found) as folder:
            folder.give_marker_back()
    except OSError as error:
        raise Unavailable(history.escaped(f"{path}: {error}")) from error
    if not is_back:
        archive.log.change(storage.KIND, known.name, storage.add, wanted, fold=storage.fold, by=by)
    return wanted


@contextmanager
def archive_of(settings: Settings) -> Iterator[Archive]:
    """The archive for a command, its read models up to the log."""
    with compose.archive_for_command(settings, connections=3) as archive:
        archive.make_first_storage()
        settle(archive)
        yield archive


def known_storage(archive: Archive, name: str, *, removed: bool = False) -> storage.Storage:
    """The storage of a name; a removed one only where that is asked for. Raises InvalidInput."""
    known = next((one for one in archive.known_storages() if one.name == name and (removed or not one.removed)), None)
    if known is None:
        raise InvalidInput([f"{name!a} is not a storage: see 'annals storage list'"])
    return known


def upkeep_of(archive: Archive, known: storage.Storage) -> Upkeep:
    """The way to the files of a storage."""
    from adapters.files.storage import Storage
    from adapters.files.upkeep import Upkeep

    return Upkeep(Storage.known(known, archive.limits))


def _sized(size: int) -> str:
    """A number of bytes in words; what is not nothing never looks like it."""
    return f"{size / GIB:.1f} GiB" if not 0 < size < GIB else f"{max(0.1, size / MIB):.1f} MiB"


def _scrubbed(state: storages.ScrubState) -> str:
    """How far the scrub in the background is, in words; nothing where it has not begun."""
    ended = f"the last whole scrub ended {state.whole_ended:%Y-%m-%d}" if state.whole_ended else "none was whole yet"
    if not state.is_running and not state.whole_ended:
        return ""
    when = "in the running scrub" if state.is_running else "in the last scrub"
    return f"{state.instances} instances read again {when}, {state.unreadable} not whole; {ended}"


def _refuse_known_folder(known: list[storage.Storage], name: str, path: Path) -> None:
    from adapters.files.attachment import MARKER, REMOVED, marker

    found = marker(path, MARKER, REMOVED)
    for one in known:
        if one.storage_id == found and one.name != name:
            word = "was" if one.removed else "is"
            raise InvalidInput([f"path: {path} {word} the storage {one.name}: 'annals storage adopt' takes it back"])
