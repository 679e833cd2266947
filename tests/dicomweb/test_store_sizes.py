"""How large the body of a store request, its metadata and its bulk data may be, however they come (B45, B47, D21)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from adapters.composing.composition import Composition
from adapters.files.temporary import TemporaryFolder
from api.dicomweb.store_answer import Outcome
from api.dicomweb.store_metadata import MetadataParts
from api.dicomweb.store_parts import Finishers, StoreBody, StoreRequest
from api.problems import HttpRefusal
from domain.errors import Because, Refused, TooLarge
from domain.event import Actor
from domain.limits import Limits
from tests.edges import edges

NOBODY: Any = None


class Counted:
    """Parts of which nothing is kept but their size."""

    def __init__(self) -> None:
        self.size = 0

    def begin(self, _fields: Mapping[str, str]) -> None:
        self.size = 0

    def take(self, data: memoryview) -> None:
        self.size += len(data)

    def outcomes(self) -> list[Any]:
        return []

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def composition() -> Iterator[Composition]:
    limits = Limits(object_size_max=100)
    opened = Composition(limits, NOBODY, TemporaryFolder(limits))
    yield opened
    opened.close()


@edges
def test_D21_B45_a_body_has_so_many_bytes_and_no_more(off: int) -> None:
    parts: Any = Counted()
    body = StoreBody(parts, None, {}, 100)
    assert body.feed(bytes(60), 60)
    assert body.feed(bytes(40 + off), 40 + off) == (off <= 0)
    assert parts.size == (100 + off if off <= 0 else 60)
    if off > 0:
        with pytest.raises(HttpRefusal) as refused:
            body.finish()
        assert refused.value.status == 413


@edges
def test_D21_B45_the_metadata_of_a_request_has_so_many_bytes_and_no_more(composition: Composition, off: int) -> None:
    """Of all its parts together."""
    limits = Limits(store_metadata_max=100)
    asked = StoreRequest(Actor("device", "WS", "192.0.2.7"), "1", "")
    parts = MetadataParts(NOBODY, composition, Finishers(limits), asked, limits)
    for document in (b"[]".ljust(60), b"[]".ljust(40 + off)):
        parts.begin({"content-type": "application/dicom+json"})
        for first in range(0, len(document), 7):
            parts.take(memoryview(document)[first : first + 7])
        parts.end()
    failures = [one.failure_reason for one in parts.outcomes()]
    assert failures == ([] if off <= 0 else [Because.OUT_OF_RESOURCES.value])


@edges
def test_D21_B20_a_bulk_data_item_has_so_many_bytes_and_no_more(composition: Composition, off: int) -> None:
    composition.begin_bulk("bulk", "application/octet-stream", "")
    composition.write(bytes(60))
    if off <= 0:
        composition.write(bytes(40 + off))
        return
    with pytest.raises(TooLarge, match="object_size_max"):
        composition.write(bytes(40 + off))
    composition.end_bulk()
    assert composition.unused() == 0


def test_an_object_whose_bulk_data_was_too_large_is_refused_for_that_also_where_it_is_but_a_frame(
    composition: Composition,
) -> None:
    for size in (50, 101):
        composition.begin_bulk("frames", "image/jpeg", "")
        with contextlib.suppress(TooLarge):
            composition.write(bytes(size))
        composition.end_bulk()
    model = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3"]},
        "7FE00010": {"vr": "OB", "BulkDataURI": "frames"},
    }
    with pytest.raises(Refused, match="object_size_max"):
        composition.compose(model)


@pytest.mark.timeout(60)
def test_I4_a_part_for_which_no_thread_can_be_had_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    finishers, outcome = Finishers(Limits(parts_in_flight_max=1)), Outcome()

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            finishers.start(lambda: outcome)
    assert finishers.start(lambda: outcome).result(60) is outcome
