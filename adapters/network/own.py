"""Which addresses are this machine's own?"""

from __future__ import annotations

import socket


def is_own(address: str) -> bool:
    """Whether an IP address is one of this machine: only there can be listened."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
