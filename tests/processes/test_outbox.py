"""What is made ready for a peer belongs to whoever had it, and is closed where nobody did (TS-3, C3.10)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from domain.instance import Content
from processes.outbox import Outbox
from processes.pixel_ports import Stored
from processes.retrieve import Wanted

STORED, WANTED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"


def test_C3_10_conversions_that_nobody_has_are_closed_once_and_those_had_are_left() -> None:
    made: list[int] = []

    def start(_make: Callable[[], Stored]) -> Future[Stored]:
        made.append(os.open(os.devnull, os.O_RDONLY))
        done: Future[Stored] = Future()
        done.set_result(Stored(made[-1], 0, 0, WANTED))
        return done

    codecs: Any = SimpleNamespace(parallel=2, start=start)
    files: Any = SimpleNamespace()
    outbox = Outbox(files, codecs, lambda _: [WANTED], lambda begun: begun.result())
    wanted = [Wanted("1", str(number), "2", "3", Content("d", 1, 0, STORED, "s", "p")) for number in range(6)]
    objects = outbox.ready(wanted)
    had = next(objects)[1]().descriptor
    next(objects)
    objects.close()
    assert len(made) == 4
    open_still = [descriptor for descriptor in made if _is_open(descriptor)]
    assert open_still == [had]
    os.close(had)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
