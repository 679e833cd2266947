"""What it costs to look at devices and rights: one archive with 200 devices and no others, one that accepts any."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from adapters.log.log import EventLog
from annals.compose import FACTS
from bench.objects import CT, SMALL, Batch, Uids
from bench.peers import Annals
from bench.receive import send
from bench.table import Row, Target, compared
from domain import device
from domain.device import DeviceAdded
from domain.event import Actor
from domain.limits import Limits

_DEVICES = 200
_CALLING = "STORESCU"
_TARGET = Target(0.95)
_WITHOUT_WORKER = {"ANNALS_WORKER__ENABLED": "false"}
"""What one archive derives in the background would take from the other's turn."""


class AnnalsWithDevices(Annals):
    """An archive that admits its 200 devices and no others."""

    name = "Annals, 200 devices"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings={**_WITHOUT_WORKER, "ANNALS_DIMSE__ACCEPT_ANY": "false"})

    def register(self) -> None:
        """Make the devices known, the sender last."""
        others = (DeviceAdded(f"AE{number}", f"192.0.2.{number}", 104) for number in range(1, _DEVICES))
        log = EventLog(self.dsn, FACTS, Limits())
        log.open()
        for one in (*others, DeviceAdded(_CALLING, "127.0.0.1", 104)):
            by = Actor("system", "bench")
            log.change(device.KIND, device.key_of(one), device.add, one, fold=device.fold, by=by)
        log.close()


def measure(folder: Path, quick: bool, uids: Uids, report: Callable[[Sequence[Row]], None]) -> list[Row]:
    """Small rounds in turn, so that what the machine does beside meets both alike."""
    strict, open_to_all = AnnalsWithDevices(folder / "strict"), Annals(folder / "any", settings=_WITHOUT_WORKER)
    rows: list[Row] = []
    try:
        strict.start()
        open_to_all.start()
        strict.register()
        for shape, objects in ((CT, 60), (SMALL, 200)):
            for associations in (1, 4):
                batches = [
                    Batch(folder / f"{shape.name}{associations}-{number}", shape, objects // associations, uids)
                    for number in range(associations)
                ]
                rates: dict[Annals, list[float]] = {strict: [], open_to_all: []}
                for turn in range(8 if quick else 16):
                    for batch in batches:
                        batch.renew()
                    for peer in (strict, open_to_all) if turn % 2 else (open_to_all, strict):
                        os.sync()
                        rates[peer].append(objects / send(peer, batches))
                what = f"{shape.name}, {associations} association{'s' if associations > 1 else ''}, 200 devices"
                rows.append(compared(what, "objects/s", rates[strict], "accept-any", rates[open_to_all], _TARGET))
                report(rows)
                for batch in batches:
                    batch.remove()
    finally:
        strict.stop()
        open_to_all.stop()
    return rows
