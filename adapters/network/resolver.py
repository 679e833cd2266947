"""Host names as addresses: asked beside the work, remembered for a while, and kept while a name server fails."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from domain.address import is_address, normal_host
from domain.limits import Limits

_LOG = logging.getLogger("annals.network")
_THREADS = 4
_IDLE_SECONDS = 1.0

Lookup = Callable[[str], Iterable[str]]


def system_lookup(name: str) -> Iterable[str]:
    """The addresses of a name as the machine knows them (hosts file, then name servers). Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


@dataclass(slots=True)
class _Name:
    """What is known of one name. Times are of the monotonic clock."""

    addresses: frozenset[str] = frozenset()
    asked_at: float = float("-inf")
    answered_at: float = float("-inf")
    failing: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    queued: bool = False


class Resolver:
    """Answers from memory. A name is asked for anew after ``name_fresh_seconds``, by a few threads of its own.

    While that fails, the addresses of before hold for ``name_kept_seconds``; then the name has none, and whoever calls
    from there is a stranger: it fails closed. ``names_max`` names are remembered, those asked for lately.
    """

    def __init__(self, limits: Limits, lookup: Lookup = system_lookup) -> None:
        self._limits = limits
        self._lookup = lookup
        self._names: OrderedDict[str, _Name] = OrderedDict()
        self._waiting: deque[tuple[str, _Name]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0

    def addresses(self, host: str, wait_seconds: float = 0.0) -> frozenset[str]:
        """The addresses of a host as they are known now; an answer that is missing or old is waited for so long."""
        if is_address(host):
            return frozenset((normal_host(host),))
        name = self._known(normal_host(host))
        if wait_seconds > 0:
            name.done.wait(wait_seconds)
        if time.monotonic() - name.answered_at > self._limits.name_kept_seconds:
            return frozenset()
        return name.addresses

    def matches(self, host: str, address: str, wait_seconds: float = 0.0) -> bool:
        """Whether an address (in its normal form) is one of a host's."""
        return address == host or address in self.addresses(host, wait_seconds)

    def _known(self, host: str) -> _Name:
        with self._changed:
            name = self._names.get(host)
            if name is None:
                name = self._names[host] = _Name()
                while len(self._names) > self._limits.names_max:
                    self._names.popitem(last=False)
            self._names.move_to_end(host)
            now = time.monotonic()
            is_old = now - name.asked_at > self._limits.name_fresh_seconds
            if is_old and not name.queued and len(self._waiting) < self._limits.names_max:
                name.queued = True
                if now - name.answered_at > self._limits.name_kept_seconds / 2:
                    name.done = threading.Event()
                self._waiting.append((host, name))
                self._staff()
        return name

    def _staff(self) -> None:
        if self._idle >= len(self._waiting):
            self._changed.notify()
        elif self._threads < _THREADS:
            try:
                threading.Thread(target=self._ask_all, name="resolver", daemon=True).start()
            except RuntimeError:
                _LOG.error("no thread to resolve names with")
                return
            self._threads += 1

    def _ask_all(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                more = self._changed.wait_for(lambda: bool(self._waiting), _IDLE_SECONDS)
                self._idle -= 1
                if not more:
                    self._threads -= 1
                    return
                host, name = self._waiting.popleft()
            self._ask(host, name)

    def _ask(self, host: str, name: _Name) -> None:
        # Whoever asks anew, before this is told, waits for an answer of its own.
        done = name.done
        found: set[str] = set()
        fault = "it has no address"
        try:
            found = {normal_host(address) for address in self._lookup(host)}
        except OSError as error:
            fault = error.strerror or str(error)
        except Exception as error:  # noqa: BLE001 - a name that breaks its resolver must not end the thread
            fault = type(error).__name__
        with self._changed:
            name.asked_at = time.monotonic()
            name.queued = False
            if found:
                name.addresses = frozenset(sorted(found)[: self._limits.name_addresses_max])
                name.answered_at = name.asked_at
        if bool(found) is name.failing:
            name.failing = not found
            if found:
                _LOG.warning("the name %s is resolved again", host)
            else:
                _LOG.warning("the name %s cannot be resolved: %s", host, fault)
        done.set()
