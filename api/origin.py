"""Who asks, and under which URL this server is reached: from the connection, the settings and trusted proxies only."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import Scope

from api.problems import HttpRefusal
from domain.address import normal_host

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?\Z")
_BASE, _MOUNT = "annals.base", "annals.mount"


@dataclass(frozen=True, slots=True)
class Origin:
    """The rules: ``public_url`` replaces what requests say; ``hosts`` lists further names of this server, ``*`` any.

    An IP address, ``localhost`` and the machine's own name need no listing; a foreign name is refused, since with it a
    web page elsewhere could ask in the name of the workstation that shows it (DNS rebinding, B43).
    ``trusted_proxies`` are networks whose X-Forwarded headers are believed (correctness C7.15).
    """

    public_url: str = ""
    hosts: Sequence[str] = ()
    trusted_proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()

    def establish(self, scope: Scope) -> None:
        """Put the asker's address and the public base into the scope. Raises :class:`HttpRefusal` (400)."""
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        host = headers.get(b"host", b"").decode("latin-1")
        scheme = scope["scheme"]
        address = normal_host(scope["client"][0]) if scope["client"] else ""
        if self._is_trusted(address):
            address = self._asker(headers.get(b"x-forwarded-for", b"").decode("latin-1"), address)
            host = _last(headers.get(b"x-forwarded-host")) or host
            forwarded = _last(headers.get(b"x-forwarded-proto")).lower()
            scheme = forwarded if forwarded in ("http", "https") else scheme
        if not self._is_ours(host):
            raise HttpRefusal(400, "the Host is not a name of this server: list it in the setting hosts")
        if scope["client"]:
            scope["client"] = (address, scope["client"][1])
        scope["scheme"] = scheme
        scope[_BASE] = self.public_url.rstrip("/") or f"{scheme}://{host}"

    def _is_trusted(self, address: str) -> bool:
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self.trusted_proxies)

    def _asker(self, forwarded: str, address: str) -> str:
        """The nearest address that is not a trusted proxy's: what stands to its left anyone may have written."""
        for one in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
            try:
                address = normal_host(str(ipaddress.ip_address(one.strip("[]"))))
            except ValueError:
                raise HttpRefusal(400, "X-Forwarded-For does not name an address") from None
            if not self._is_trusted(address):
                break
        return address

    def _is_ours(self, host: str) -> bool:
        if not _HOST.match(host):
            return False
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        try:
            ipaddress.ip_address(name)
        except ValueError:
            public = urlsplit(self.public_url).hostname or ""
            known = {"localhost", socket.gethostname().lower(), public.lower(), *map(str.lower, self.hosts)}
            return "*" in known or name.lower() in known
        return True


def service_root(request: Request) -> str:
    """The public URL under which the routes are mounted that answer this request, without a slash at its end."""
    return f"{request.scope[_BASE]}{request.scope[_MOUNT]}"


def target(request: Request) -> str:
    """The public URL of what is asked for, without its query."""
    return f"{request.scope[_BASE]}{request.scope['path']}"


def set_mount(request: Request, prefix: str) -> None:
    """Remember the path below which the routes are mounted that answer this request."""
    request.scope[_MOUNT] = prefix


def _last(value: bytes | None) -> str:
    return (value or b"").decode("latin-1").split(",")[-1].strip()
