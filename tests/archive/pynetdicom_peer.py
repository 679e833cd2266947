"""What pynetdicom needs to be a dependable peer of tests."""

from __future__ import annotations

import time

from pynetdicom.association import Association

_TURN_SECONDS = 0.02


def calm(association: Association) -> None:
    """Keep pynetdicom's own thread from taking the answer to the next request, which it does once in 300 times.

    It says that it rests a moment before it does; one turn later it rests.
    """
    association._reactor_checkpoint.clear()
    time.sleep(_TURN_SECONDS)
