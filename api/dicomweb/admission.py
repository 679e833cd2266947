"""Which rights has an address? WADO devices are known by where they ask from (DEV-4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from domain.device import Right
from domain.errors import Refused
from domain.event import Actor
from processes.admission import WebAdmission

_FORWARDED = ("x-forwarded-for", "forwarded")


@dataclass(frozen=True, slots=True)
class ByAddress:
    """Admits by the asker's address. ``note`` is told of each that was refused: its address and why; may not wait."""

    admission: WebAdmission
    note: Callable[[str, str], None]

    def __call__(self, request: Request, right: Right) -> Actor:
        """Who asks. Raises :class:`Refused` (NOT_AUTHORISED)."""
        address = request.client.host if request.client else ""
        is_forwarded = not address or any(name in request.headers for name in _FORWARDED)
        try:
            return Actor("device", self.admission.check(address, right, is_forwarded=is_forwarded), address)
        except Refused as refused:
            self.note(address, str(refused))
            raise
