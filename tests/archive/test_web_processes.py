"""Some DICOMweb processes on one port: whichever takes a request, it knows what all have done (P6, P15, DEV-5)."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.stow import part10, store
from tests.dicom.encoding import minimal, text
from tests.durability import machine

ROOT = "1.2.826.0.1.3680043.8.498.77"
PROCESSES = 2


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with running_archive({**SMALL, "ANNALS_DICOMWEB__PROCESSES": str(PROCESSES)}) as running:
        yield running


def _alone(archive: Archive, door: int) -> AbstractContextManager[None]:
    """All other DICOMweb processes stand still: this one takes what is asked."""
    return machine.frozen(pid for pid in archive.processes("dicomweb") if pid != door)


def _instance(number: int) -> tuple[str, bytes]:
    uid = f"{ROOT}.9.{number}"
    elements = [(0x00100010, "PN", text("DOE^JANE")), (0x7FE00010, "OW", bytes(512))]
    return uid, part10(minimal(elements, instance=uid, series=f"{ROOT}.1.{number}", study=f"{ROOT}.{number}"), uid)


def _found(archive: Archive, number: int) -> list[str]:
    url = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web/studies/{ROOT}.{number}/instances"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return [one["00080018"]["Value"][0] for one in json.load(answer)] if answer.status == 200 else []


def test_P6_what_one_process_has_acknowledged_each_other_finds_and_gives_back(archive: Archive) -> None:
    doors = archive.processes("dicomweb")
    assert len(doors) == PROCESSES
    for number, (taker, giver) in enumerate([(doors[0], doors[1]), (doors[1], doors[0])] * 4, 1):
        uid, file = _instance(number)
        with _alone(archive, taker):
            # What stands still may be about to tell the log whom it refused, which others wait for.
            until(lambda file=file: store(archive.dicomweb_port, file).status == 200, 60, "it is stored")
        with _alone(archive, giver):
            assert _found(archive, number) == [uid]
            assert archive.dicomweb(f"studies/{ROOT}.{number}/series/{ROOT}.1.{number}/instances/{uid}") == 200


def test_DEV_5_a_right_that_is_taken_away_is_refused_by_each_process(archive: Archive) -> None:
    archive.annals("device", "wado", "add", "127.0.0.1", "--rights", "UPLOAD")
    try:
        for door in archive.processes("dicomweb"):
            with _alone(archive, door):
                until(lambda: archive.dicomweb("studies") == 403, 60, "a WADO device without FIND does not search")
    finally:
        archive.annals("device", "wado", "remove", "127.0.0.1")
    for door in archive.processes("dicomweb"):
        with _alone(archive, door):
            until(lambda: archive.dicomweb("studies") == 200, 60, "it is no device any more")


def test_P15_a_killed_process_is_started_again_while_the_others_answer(archive: Archive) -> None:
    killed, *others = archive.processes("dicomweb")
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in archive.processes("dicomweb"), 60, "it is gone")
    uid, file = _instance(100)
    assert store(archive.dicomweb_port, file).stored == [uid]

    def is_again() -> bool:
        assert _found(archive, 100) == [uid]
        doors = archive.processes("dicomweb")
        return len(doors) == PROCESSES and killed not in doors

    until(is_again, 60, "it is started again")
    (new,) = [pid for pid in archive.processes("dicomweb") if pid not in others]
    with _alone(archive, new):
        assert _found(archive, 100) == [uid]
