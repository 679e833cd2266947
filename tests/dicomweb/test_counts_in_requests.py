"""How many ranges and frames one request may name, and how large a picture (B49, B59, D21)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from api.dicomweb.frames import asked_frames
from api.dicomweb.rendering_parameters import side
from api.ranges import wanted_ranges
from domain.errors import InvalidInput
from domain.limits import Limits
from tests.edges import edges


@edges
def test_D21_B49_more_ranges_than_the_limit_are_ignored(off: int) -> None:
    """RFC 9110 14.2: a server may ignore the Range field; the whole is answered."""
    ranges = [(10 * number, 5) for number in range(4 + off)]
    named = ",".join(f"{first}-{first + size - 1}" for first, size in ranges)
    scope = {"type": "http", "method": "GET", "headers": [(b"range", f"bytes={named}".encode())]}
    assert wanted_ranges(Request(scope), 1_000, '"x"', 4) == (ranges if off <= 0 else None)


@edges
def test_D21_more_frames_than_the_limit_are_refused(off: int) -> None:
    rooms: Any = SimpleNamespace(limits=Limits(frames_a_request_max=4))
    numbers = list(range(1, 5 + off))
    scope = {"type": "http", "path_params": {"frames": ",".join(map(str, numbers))}}
    if off <= 0:
        assert asked_frames(rooms, Request(scope)) == numbers
        return
    with pytest.raises(InvalidInput, match="frames_a_request_max"):
        asked_frames(rooms, Request(scope))


@edges
def test_D21_B59_a_picture_is_asked_for_up_to_a_side_and_no_larger(off: int) -> None:
    limits = Limits(rendered_side_max=100)
    if off <= 0:
        assert side(str(100 + off), limits) == 100 + off
        return
    with pytest.raises(ValueError, match="more than 100 pixels"):
        side(str(100 + off), limits)
