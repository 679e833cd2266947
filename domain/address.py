"""Addresses of peers: an IP address or a host name, and when two of them are the same."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


def host_fault(host: str) -> str:
    """What is wrong with a host, or nothing (DEV-1: an IP address, or a name of labels up to 63, 255 in all)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        if not host or len(host) > 255 or not all(_LABEL.match(label) for label in labels):
            return "host: neither an IP address nor a host name (letters, digits, hyphen; 63 a label, 255 in all)"
        if all(label.isdigit() for label in labels):
            return "host: looks like an IP address and is none"
        return ""
    if address.is_unspecified or address.is_multicast or normal_host(host) == "255.255.255.255":
        return "host: not the address of one machine"
    if not host.isprintable():
        return "host: its zone (what follows %) is no text"
    return ""


@lru_cache(4096)
def is_address(host: str) -> bool:
    """Whether a host is an IP address, and not a name that has to be resolved."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(4096)
def normal_host(host: str) -> str:
    """The one spelling of a host: addresses shortest and IPv4 never mapped into IPv6, names in lower case."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower().removesuffix(".")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return address.compressed


_METADATA = ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")
"""Where clouds tell a machine its secrets, beside the link-local 169.254.169.254."""


def not_called(address: str) -> str:
    """Why an IP address is never called to see whether a device is there, or nothing (B56)."""
    read = ipaddress.ip_address(normal_host(address))
    if read.is_link_local or str(read) in _METADATA:
        return "its address is link-local or tells a cloud's secrets"
    if read.is_multicast or read.is_unspecified or (read.is_reserved and not read.is_loopback):
        return "its address is not that of one machine"
    return ""
