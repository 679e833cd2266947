"""Telling devices of their storage commitments, with what it takes brought in at the first of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from domain.commitment import Commitment, CommitmentRequested
from domain.device import DeviceAdded
from domain.limits import Limits
from processes.commit_storage import Tell


@dataclass(frozen=True, slots=True)
class Reporting:
    """As :class:`adapters.dimse.commitment_report.Reporter`, which brings pynetdicom: many archives are never asked."""

    device: Callable[[str], DeviceAdded | None]
    tls: Callable[[DeviceAdded], ssl.SSLContext | None]
    limits: Limits
    is_stopping: Callable[[], bool]

    def reach(self, asked: CommitmentRequested) -> None:
        """See whether the device takes reports."""
        self._reporter().reach(asked)

    def __call__(self, known: Commitment) -> None:
        """Tell the device."""
        self._reporter()(known)

    def _reporter(self) -> Tell:
        from adapters.dimse.commitment_report import Reporter

        return Reporter(self.device, self.tls, self.limits, self.is_stopping)
