"""Senders that begin studies without end, against a whole archive (B21d)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom.uid import generate_uid

from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.floods import OUT_OF_RESOURCES, post, rejections, send

QUOTA = 20
WHY = "new_studies_a_minute_max"


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with running_archive({**SMALL, "ANNALS_LIMITS__NEW_STUDIES_A_MINUTE_MAX": str(QUOTA)}) as running:
        yield running


def told(archive: Archive, times: int) -> tuple[int, int]:
    """Facts and log lines once so many refusals were told of."""
    until(lambda: rejections(archive, WHY)[2] >= times, 50, "the flood is told of")
    return rejections(archive, WHY)[:2]


def test_B21d_a_sender_of_new_studies_without_end_is_refused_past_its_quota_and_told_of_once(archive: Archive) -> None:
    flood = [generate_uid() for _ in range(QUOTA + 50)]
    statuses = send(archive, flood, "WILD")
    assert statuses == [0] * QUOTA + [OUT_OF_RESOURCES] * 50
    assert send(archive, flood[:5], "WILD") == [0] * 5, "studies that have begun go on"
    assert send(archive, [generate_uid()], "CALM") == [0], "another sender is not harmed"
    assert told(archive, 1) == (1, 1), "at its begin; the rest is told of together when the minute is over"

    several = post(archive, [generate_uid() for _ in range(QUOTA + 10)])
    assert several.status == 202
    assert list(several.failed.values()) == [OUT_OF_RESOURCES] * 10
    alone = post(archive, [generate_uid()])
    assert (alone.status, alone.headers["Retry-After"]) == (503, "1")
    assert alone.failed.popitem()[1] == OUT_OF_RESOURCES
    assert post(archive, flood[:3]).status == 200, "also those that came through the other door"
    assert told(archive, 2) == (2, 2)
    assert "refused with A700" not in archive.log_lines()
    assert "store request" not in archive.log_lines()
