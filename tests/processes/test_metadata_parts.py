"""How the metadata of a series is cut into parts that are read one at a time (decision 13, D21)."""

from __future__ import annotations

import zlib

from domain.limits import Limits
from processes.metadata import _Pages
from tests.edges import edges


@edges
def test_D21_a_part_has_so_many_instances_and_no_more(off: int) -> None:
    pages = _Pages(Limits(metadata_part_instances_max=4))
    digests = [str(number) for number in range(4 + off)]
    pages.add(digests, [b"{}"] * len(digests))
    assert [len(part.digests) for part in pages.all()] == [min(4, 4 + off), *[1] * max(0, off)]


@edges
def test_D21_a_part_has_so_many_bytes_and_no_more(off: int) -> None:
    pages = _Pages(Limits(metadata_part_max=100))
    lines = [b"x" * 60, b"y" * (40 + off), b"z"]
    pages.add(["1", "2", "3"], lines)
    parts = [zlib.decompress(part.lines).split(b"\n") for part in pages.all()]
    assert parts == ([lines] if off < 0 else [lines[:2], lines[2:]] if off == 0 else [lines[:1], lines[1:]])
