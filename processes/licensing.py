"""What this installation is allowed: its product code, and the licence in use, asked of the log where it matters."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from domain import licence
from domain.errors import InvalidInput
from domain.event import Actor
from domain.licence import CODE_CHARACTERS, INSTALLATION, KIND, OPEN, Allowed, Installation, Licence
from domain.limits import Limits
from processes.ports import Log

IsSigned = Callable[[bytes, bytes, bytes], bool]
"""Whether the owner of a public key has made, of a message, a signature."""

_BY = Actor("system", "first start")


@dataclass(frozen=True, slots=True)
class Licensing:
    """The one place where licences are brought into use and asked for.

    Without ``vendor_key`` (an Ed25519 public key) nothing is enforced and nothing is read. A licence is looked at anew
    each time it matters: its signature holds, or the trial does, whatever else wrote to the log.
    """

    log: Log
    vendor_key: bytes
    is_signed: IsSigned
    clock: Callable[[], datetime]
    limits: Limits

    @property
    def is_enforced(self) -> bool:
        """Whether this installation names its vendor's key (LIC-2)."""
        return bool(self.vendor_key)

    def product_code(self) -> str:
        """The product code, made now where there is none yet."""
        if code := self._known().product_code:
            return code
        made = licence.product_code(secrets.randbelow(len(CODE_CHARACTERS)) for _ in range(64))
        self.log.change(KIND, INSTALLATION, licence.name, made, fold=licence.fold, by=_BY)
        return self._known().product_code

    def in_use(self) -> Licence | None:
        """The licence in use, or None."""
        known = self._known() if self.vendor_key else Installation()
        if known.installed is None:
            return None
        try:
            read = self._read(known.installed.document.encode())
        except InvalidInput:
            # Of a vendor that the settings name no more.
            return None
        return read if read.product_code == known.product_code else None

    def allowed(self) -> Allowed:
        """What this installation is allowed now."""
        return licence.allowed(self.in_use()) if self.vendor_key else OPEN

    def install(self, document: bytes, by: Actor) -> Licence:
        """Bring a licence into use, everywhere at once; the same again is nothing. Raises InvalidInput, all faults."""
        if not self.vendor_key:
            raise InvalidInput(["licence: this installation names no vendor key: it is open and needs none"])
        read = self._read(document)
        self.product_code()
        self.log.change(
            KIND, INSTALLATION, licence.install, read, document.decode(), self.clock(), fold=licence.fold, by=by
        )
        return read

    def _read(self, document: bytes) -> Licence:
        signed = licence.read(document, self.limits)
        if not self.is_signed(self.vendor_key, signed.message, signed.signature):
            raise InvalidInput(["licence: is not signed by this installation's vendor: ask for it again"])
        return signed.licence

    def _known(self) -> Installation:
        return licence.fold(one.event for one in self.log.stream(KIND, INSTALLATION))
