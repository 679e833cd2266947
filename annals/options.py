"""The options that commands have in common."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from annals import settings
from annals.supervisor import LIFELINE_VARIABLE
from domain.event import Actor

Data = Annotated[Path | None, typer.Option("--data", help="The data folder.", envvar="ANNALS_DATA")]
Cfg = Annotated[Path | None, typer.Option("--cfg", help="A TOML file with settings.", envvar="ANNALS_CFG")]


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


def settings_of(cfg: Path | None, data: Path | None) -> settings.Settings:
    """The settings; what is doubtful in them is said, but not again by each child of the supervisor."""
    read, warnings = settings.load(cfg, os.environ, data=data)
    for warning in warnings if LIFELINE_VARIABLE not in os.environ else ():
        typer.echo(f"annals: warning: {warning}", err=True)
    return read


def who() -> Actor:
    """The person at the command line."""
    return Actor("user", os.environ.get("SUDO_USER") or os.environ.get("USER") or "command line")
