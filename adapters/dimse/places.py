"""The places for connections: all listeners of a process share them."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from domain.limits import Limits


@dataclass(slots=True)
class Places:
    """How many connections there are: in all, of unknown peers, and for each address."""

    limits: Limits
    lock: threading.Lock = field(default_factory=threading.Lock)
    by_address: Counter[str] = field(default_factory=Counter)
    unknown: int = 0

    def take(self, address: str, known: bool) -> bool:
        """Take a place for a connection from here; False where there is none for it."""
        with self.lock:
            if self.by_address.total() >= self.limits.associations_max:
                return False
            if self.by_address[address] >= self.limits.associations_per_address_max:
                return False
            if not known and self.unknown >= self.limits.unknown_peer_associations_max:
                return False
            if not known and self.by_address[address] >= self.limits.unknown_peer_associations_per_address_max:
                return False
            self.by_address[address] += 1
            self.unknown += not known
            return True

    def leave(self, address: str, known: bool) -> None:
        """Give a place back."""
        with self.lock:
            self.by_address[address] -= 1
            self.unknown -= not known
            if not self.by_address[address]:
                del self.by_address[address]
