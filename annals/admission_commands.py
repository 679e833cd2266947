"""``annals device accept-any``: what callers that are not registered may do (NET-4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from annals import compose
from annals.options import Cfg, Data, Switch, settings_of, who
from domain import admission
from domain.admission import AdmissionChanged, Door
from domain.device import rights_of
from domain.event import Event


def accept_any(
    switch: Annotated[Switch | None, typer.Argument(help="Without it, what holds now is shown.")] = None,
    door: Annotated[Door, typer.Option(help="Which door.")] = Door.DIMSE,
    rights: Annotated[
        str | None, typer.Option(help="Of UPLOAD, MWL (not at DICOMweb), DOWNLOAD and FIND; '' for none.")
    ] = None,
    this_machine: Annotated[
        Switch | None, typer.Option(help="Whether callers on this machine (loopback) may do everything.")
    ] = None,
    data: Data = None,
    cfg: Cfg = None,
) -> None:
    """Admit callers that are not registered, or registered devices only; holds at once, open associations included."""
    settings = settings_of(cfg, data)

    def verb(known: AdmissionChanged | None) -> list[Event]:
        now = known or settings.admission(door)
        wanted = replace(
            now,
            accept_any=now.accept_any if switch is None else switch is Switch.ON,
            rights=now.rights if rights is None else rights_of(filter(None, map(str.strip, rights.split(",")))),
            trusts_this_machine=now.trusts_this_machine if this_machine is None else this_machine is Switch.ON,
        )
        return [] if wanted == now else admission.change(known, wanted)

    with compose.archive_for_command(settings) as archive:
        archive.log.change(admission.KIND, door.value, verb, fold=admission.fold, by=who())
        compose.catch_up(archive)
        for one in Door:
            known = admission.fold(recorded.event for recorded in archive.log.stream(admission.KIND, one.value))
            source = "set by command" if known else "as in the settings"
            typer.echo(f"{one.value:<8}  {_said(known or settings.admission(one))}  ({source})")


def _said(granted: AdmissionChanged) -> str:
    if not granted.accept_any:
        return "registered devices only"
    here = "; all on this machine" if granted.trusts_this_machine else ""
    return f"accepts any, with rights {','.join(granted.rights) or 'none'}{here}"
