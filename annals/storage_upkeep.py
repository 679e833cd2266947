"""``annals storage move``, ``scrub`` and ``reconcile``: long work on a storage, each to be begun again (STO-5)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import typer

from adapters.files.failpoints import failpoints
from annals import history
from annals.compose import Archive
from annals.options import Cfg, Data, settings_of, who
from annals.storage_commands import Name, archive_of, known_storage, upkeep_of
from domain import storage
from domain.errors import InvalidInput
from domain.event import Actor
from processes.move_storage import Clocks, Move, Outcome
from processes.ports import FoundFile
from processes.reconcile import Reconciliation


def move(source: Name, target: Name, data: Data = None, cfg: Cfg = None) -> None:
    """Move everything that a disabled storage holds into an enabled one. Started again, it goes on where it was."""
    with archive_of(settings_of(cfg, data)) as archive:
        from_, to = known_storage(archive, source), known_storage(archive, target)
        if from_.enabled:
            raise InvalidInput([f"{source} is enabled: 'annals storage edit {source} --disable' first"])
        if source == target:
            raise InvalidInput([f"{source} is where everything is already"])
        if not to.enabled:
            raise InvalidInput([f"{target} is disabled, and so not written: 'annals storage edit {target} --enable'"])
        outcome: Counter[Outcome] = Counter()
        for one in moving(archive, from_, to, who(), os.environ).run():
            outcome[one.outcome] += 1
            if one.outcome not in (Outcome.MOVED, Outcome.REMOVED):
                what = f"{one.sop_instance_uid or one.path} {one.outcome.value} {one.fault}"
                typer.echo(history.escaped(what.rstrip()), err=True)
        typer.echo(
            f"{outcome[Outcome.MOVED]} instances moved from {source} to {target}, "
            f"{outcome[Outcome.FAILED]} could not be, {outcome[Outcome.REMOVED]} files were there already, "
            f"{outcome[Outcome.UNKNOWN]} are unknown ('annals storage reconcile {source}')"
        )
        exit_with_faults(outcome[Outcome.FAILED])


def moving(
    archive: Archive, source: storage.Storage, target: storage.Storage, by: Actor, environment: Mapping[str, str]
) -> Move:
    """The work of moving everything from one storage into another."""
    return Move(
        archive.catalogue,
        archive.log,
        upkeep_of(archive, source),
        upkeep_of(archive, target),
        archive.files(environment).is_whole,
        by=by,
        grace_seconds=archive.limits.moved_file_grace_seconds,
        clocks=Clocks(time.monotonic, time.time, time.sleep),  # noqa: TID251
        failpoint=failpoints(environment),
    )


def scrub(
    name: Name,
    after: Annotated[str, typer.Option(help="Go on after this SOP Instance UID.")] = "",
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Read every object again and compare it with its digest, within ``scrub_rate_max``."""
    from processes.scrub import Pace, scrub

    with archive_of(settings_of(cfg, data)) as archive:
        outcome: Counter[str] = Counter()
        last = after
        try:
            for one in scrub(
                archive.catalogue,
                archive.log,
                upkeep_of(archive, known_storage(archive, name)),
                after=after,
                by=who(),
                pace=Pace(archive.limits.scrub_rate_max, time.monotonic, time.sleep),
            ):
                outcome["faults" if one.fault else "whole"] += 1
                last = one.sop_instance_uid
                if one.fault:
                    typer.echo(f"{last}: {history.escaped(one.fault)}", err=True)
        except KeyboardInterrupt:
            typer.echo(f"interrupted: go on with --after {last}", err=True)
            raise
        typer.echo(f"{outcome['whole']} instances of {name} are whole, {outcome['faults']} are not")
        exit_with_faults(outcome["faults"])


def reconcile(
    name: Name,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Bring back or link again what is missing, record what is gone, put files aside."),
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Make instances of whole files that no fact knows, as if received now.")
    ] = False,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Compare a storage with the log: files that no fact knows, and facts whose file is gone."""
    with archive_of(settings_of(cfg, data)) as archive:
        known = known_storage(archive, name)
        left = 0
        for one in reconciling(archive, known, who(), os.environ, mend=mend, adopt=adopt).run():
            left += not one.done
            typer.echo(history.escaped(f"{one.what}: {one.sop_instance_uid or '(unreadable)'} {one.path} {one.done}"))
        typer.echo(f"{name}: {left} differences left")
        exit_with_faults(left)


def reconciling(
    archive: Archive, known: storage.Storage, by: Actor, environment: Mapping[str, str], *, mend: bool, adopt: bool
) -> Reconciliation:
    """The work of comparing a storage with the log."""
    from adapters.dicom.index import Indexer
    from adapters.files.adopting import LyingObject
    from adapters.files.storage import Storage

    files = archive.files(environment)
    receiver = archive.receiver(files, environment)
    opened = Storage.known(known, archive.limits)
    indexer = Indexer(archive.limits, crop_accession_number=archive.settings.storage.crop_accession_number)

    def take_in(file: FoundFile) -> str:
        assert file.content
        receiver.finish(LyingObject(opened, file.content, indexer), by=by, cause=f"reconcile {known.name}")
        return "adopted"

    return Reconciliation(
        archive.catalogue,
        archive.log,
        upkeep_of(archive, known),
        files.is_whole,
        by=by,
        older_than=time.time() - archive.limits.orphan_grace_seconds,  # noqa: TID251
        mend=mend,
        adopt=take_in if adopt else None,
    )


def exit_with_faults(faults: int) -> None:
    """Exit code 1 where something is wrong."""
    if faults:
        raise typer.Exit(1)
