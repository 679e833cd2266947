"""A reader in a process of its own, which stops in the middle of a batch for a test to kill it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Any

from adapters.log.log import EventLog
from adapters.postgres.database import Database
from annals.compose import FACTS
from domain.association import AssociationAborted
from domain.event import Recorded
from domain.limits import Limits
from projections.engine import Projection, Reader


def _stop(connection: Any, facts: Sequence[Recorded]) -> None:
    for fact in facts[:3]:
        connection.execute("INSERT INTO seen (title, position) VALUES (%s, %s)", (str(fact.position), fact.position))
    print("three rows", flush=True)
    signal.pause()


def main(dsn: str) -> None:
    limits = Limits()
    log, database = EventLog(dsn, FACTS, limits), Database(dsn, limits, size=2)
    log.open()
    database.open()
    Reader(Projection("seen", 1, "", {AssociationAborted: _stop}), database, log, limits).step()


if __name__ == "__main__":
    main(sys.argv[1])
