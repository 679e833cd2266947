"""The bench's own parts: new objects for every round, ratios by round, targets met on the right side."""

from __future__ import annotations

import math
from pathlib import Path

import pydicom

from bench.facts import Study
from bench.objects import HUGE, SMALL, Batch, Uids
from bench.table import Row, Target, compared, percentile


def test_every_round_sends_objects_that_were_never_sent(tmp_path: Path) -> None:
    batch = Batch(tmp_path / "batch", SMALL, 5, Uids(), series_size=3)
    seen = set()
    for _ in range(2):
        read = [pydicom.dcmread(file) for file in sorted(batch.folder.iterdir())]
        assert {one.StudyInstanceUID for one in read} == {batch.study_instance_uid}
        assert len({one.SeriesInstanceUID for one in read}) == 2
        assert all(one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID for one in read)
        assert all(one.SOPInstanceUID.is_valid for one in read)
        seen |= {one.SOPInstanceUID for one in read}
        batch.renew()
    assert len(seen) == 10


def test_the_huge_object_is_a_whole_part_10_file(tmp_path: Path) -> None:
    batch = Batch(tmp_path / "batch", HUGE, 1, Uids())
    file = next(batch.folder.iterdir())
    read = pydicom.dcmread(file, defer_size=1024)
    assert int(read.NumberOfFrames) * read.Rows * read.Columns * 2 == HUGE.pixel_bytes
    assert file.stat().st_size == batch.bytes
    assert file.stat().st_blocks * 512 < 2**20


def test_a_ratio_is_the_median_over_the_rounds() -> None:
    row = compared("receive", "objects/s", [100, 300, 200], "peer", [100, 100, 50], Target(3))
    assert (row.ours, row.theirs, row.ratio) == (200, 100, 3)
    assert str(row) == "| receive | 200 objects/s | peer | 100 objects/s | 3.00 | ≥ 3 | yes |"


def test_a_round_in_which_the_peer_failed_is_told_and_not_counted() -> None:
    once = compared("receive", "objects/s", [100, 300, 200], "peer", [100, math.nan, 100], Target(3))
    assert str(once) == (
        "| receive | 200 objects/s | peer (1 of 3 rounds failed) | 100 objects/s | 1.50 | ≥ 3 | **no** |"
    )
    never = compared("receive", "objects/s", [100, 300], "peer", [math.nan, math.nan], Target(3))
    assert str(never) == "| receive | 200 objects/s | peer (failed) | - | - | - | - |"


def test_a_target_has_a_side() -> None:
    assert "| ≤ 5 | yes |" in str(Row("start", "s", 4.0, target=Target(5, at_most=True)))
    assert "| ≤ 5 | **no** |" in str(Row("start", "s", 6.0, target=Target(5, at_most=True)))
    assert "| ≥ 5 | **no** |" in str(Row("rebuild", "facts/s", 4.0, target=Target(5)))


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(100)), 0.95) == 95
    assert percentile([7], 0.99) == 7


def test_a_made_up_study_is_the_same_again() -> None:
    one = Study(12_345)
    assert (one.patient_name, one.uid, one.study_date) == (
        Study(12_345).patient_name,
        Study(12_345).uid,
        Study(12_345).study_date,
    )
    assert Study(12_344).patient_id == one.patient_id != Study(12_346).patient_id
