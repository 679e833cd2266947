"""What is made ready for a peer belongs to whoever had it, and is closed where nobody did (TS-3, C3.10)."""

from __future__ import annotations

import os
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from domain.errors import Because, Refused
from domain.instance import Content
from domain.limits import MIB
from processes.outbox import Outbox
from processes.pixel_ports import Conversion, Stored
from processes.retrieve import Wanted

STORED, WANTED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"


def test_C3_10_conversions_that_nobody_has_are_closed_once_and_those_had_are_left() -> None:
    made: list[int] = []

    def begin(_conversion: Conversion) -> Future[Stored]:
        made.append(os.open(os.devnull, os.O_RDONLY))
        done: Future[Stored] = Future()
        done.set_result(Stored(made[-1], 0, 0, WANTED))
        return done

    codecs: Any = SimpleNamespace(parallel=2, begin=begin)
    files: Any = SimpleNamespace()
    outbox = Outbox(files, codecs, lambda _: [WANTED], lambda begun: begun.result())
    wanted = [Wanted("1", str(number), "2", "3", Content("d", 1, 0, STORED, "s", "p")) for number in range(6)]
    objects = outbox.ready(wanted)
    had = next(objects)[1]().descriptor
    next(objects)
    objects.close()
    assert len(made) == 6
    open_still = [descriptor for descriptor in made if _is_open(descriptor)]
    assert open_still == [had]
    os.close(had)


@pytest.mark.parametrize(
    ("parallel", "size", "at_first"),
    [(2, 1_000, 32), (1, 512 * 1024, 16), (2, MIB, 16), (8, MIB, 16), (2, 10 * MIB, 3), (8, 10 * MIB, 9)],
)
def test_F45_so_much_is_begun_ahead_and_no_more(parallel: int, size: int, at_first: int) -> None:
    ahead: list[int] = []
    had = 0

    def begin(_conversion: Conversion) -> Future[Stored]:
        ahead.append(len(ahead) + 1 - had)
        done: Future[Stored] = Future()
        done.set_result(Stored(os.open(os.devnull, os.O_RDONLY), 0, size, WANTED))
        return done

    codecs: Any = SimpleNamespace(parallel=parallel, begin=begin)
    outbox = Outbox(SimpleNamespace(), codecs, lambda _: [WANTED], lambda begun: begun.result())
    wanted = [Wanted("1", str(number), "2", "3", Content("d", size, 0, STORED, "s", "p")) for number in range(40)]
    for _, ready in outbox.ready(wanted):
        if not had:
            assert len(ahead) == at_first
        os.close(ready().descriptor)
        had += 1
    assert had == len(ahead) == 40
    assert max(ahead) == at_first


def test_C3_9_what_cannot_be_had_as_preferred_is_told_once_a_retrieval_and_not_for_each_object(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def begin(conversion: Conversion) -> Future[Stored]:
        why = "12 bits" if conversion.length == 1 else "signed"
        conversion.cannot(WANTED, Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, why))
        conversion.cannot(WANTED, Refused(Because.OUT_OF_RESOURCES, "the temp folder is full"))
        done: Future[Stored] = Future()
        done.set_result(Stored(os.open(os.devnull, os.O_RDONLY), 0, 0, STORED))
        return done

    codecs: Any = SimpleNamespace(parallel=2, begin=begin)
    outbox = Outbox(SimpleNamespace(), codecs, lambda _: [WANTED, STORED], lambda begun: begun.result())
    sizes = [1] * 50 + [2] * 3
    wanted = [
        Wanted("1", str(number), "2", "3", Content("d", sizes[number], 0, STORED, "s", "p")) for number in range(53)
    ]
    with caplog.at_level("WARNING", "annals.outbox"):
        for _, ready in outbox.ready(wanted):
            os.close(ready().descriptor)
    assert [record.getMessage() for record in caplog.records] == [
        f"50 objects cannot be had in {WANTED}: 12 bits",
        f"3 objects cannot be had in {WANTED}: signed",
    ]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
