"""The roles: what each process of the archive does from its start to its end."""

from __future__ import annotations

import importlib
import os

from annals import collector
from annals.settings import Settings

NAMES = ("dicomweb", "dimse", "reader", "web", "worker")


def run(name: str, settings: Settings, dsn: str) -> None:
    """Run one role to its end; each brings only the packages that it needs, and the supervisor none of them."""
    with collector.imports():
        role = importlib.import_module(f"annals.roles.{name}")
    role.run(settings, dsn, os.environ)
