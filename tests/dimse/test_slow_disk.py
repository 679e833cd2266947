"""A disk that takes its time: nothing is acknowledged before it has the object, and nobody else waits (F43)."""

from __future__ import annotations

import select
import threading
from pathlib import Path

from tests.dicom.encoding import CT_CLASS, INSTANCE, minimal
from tests.dicom.encoding import element as encoded
from tests.dimse.conftest import open_door, until
from tests.dimse.raw_peer import COMMAND, LAST, RawPeer, associate_request, data
from tests.dimse.test_broken_objects import CONTEXTS, store_request

SUCCESS = 0x0000


def test_F43_a_slow_disk_holds_up_its_own_answer_and_nothing_else(door_dsn: str, tmp_path: Path) -> None:
    reached, goes_on = threading.Event(), threading.Event()

    def slow(name: str) -> None:
        if name == "store.before_sync":
            reached.set()
            assert goes_on.wait(90)

    with open_door(door_dsn, tmp_path / "storage", failpoint=slow) as door:
        with RawPeer(door.port) as sender, RawPeer(door.port) as other:
            sender.established(associate_request(CONTEXTS))
            sender.say(data(3, COMMAND | LAST, store_request(CT_CLASS, INSTANCE)))
            sender.say(data(3, LAST, minimal() + encoded(0x7FE00010, "OW", bytes(512))))
            assert reached.wait(60)
            other.established()
            assert [other.echo() for _ in range(20)] == [SUCCESS] * 20
            assert select.select([sender.socket], [], [], 0) == ([], [], [])
            assert door.objects() == 0
            goes_on.set()
            assert sender.status() == SUCCESS
            assert door.objects() == 1
        until(lambda: door.temp_files() == [])
