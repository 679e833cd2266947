"""Appends to the log in a process of its own, which tests kill: one line an acknowledged fact."""

from __future__ import annotations

import sys
import threading

from adapters.log.log import EventLog
from annals.compose import FACTS
from domain.association import AssociationAborted, abort
from domain.errors import Unavailable
from domain.event import Actor
from domain.limits import Limits


def main(dsn: str, name: str, threads: int, count: int) -> None:
    log = EventLog(dsn, FACTS, Limits())
    log.open()
    said = threading.Lock()

    def append(thread: int) -> None:
        for number in range(count):
            key = f"{name}/{thread}/{number}"
            fact = AssociationAborted(key, "ANNALS", 1, 0, "test")
            try:
                log.change("peer", key, abort, fact, by=Actor("system", name))
            except Unavailable:
                continue
            with said:
                print(key, flush=True)

    running = [threading.Thread(target=append, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    log.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
