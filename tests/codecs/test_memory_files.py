"""Memory files that are written again hold nothing of what was in them; only who copied their bytes gives them back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from adapters.codecs.conversions import TOGETHER_MAX
from adapters.codecs.transcoder import Transcoder
from domain.limits import Limits
from domain.transcoding import RLE
from processes.pixel_ports import Stored
from tests.codecs.pictures import data_set, made, opened, saved


@pytest.fixture
def transcoder() -> Iterator[Transcoder]:
    with closing(Transcoder(Limits(), 1)) as running:
        yield running


def converted(transcoder: Transcoder, folder: Path, side: int) -> Stored:
    path = folder / f"{side}.dcm"
    if not path.exists():
        saved(made(rows=side, columns=side), path)
    with opened(path) as stored:
        return transcoder.converted(stored, RLE)


def test_F45_a_file_that_is_given_back_takes_a_shorter_object_with_nothing_of_the_one_before(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    wanted = data_set(converted(transcoder, tmp_path, 16))
    long = converted(transcoder, tmp_path, 128)
    inode = os.fstat(long.descriptor).st_ino
    long.reuse(long.descriptor)
    short = converted(transcoder, tmp_path, 16)
    assert os.fstat(short.descriptor).st_ino == inode
    assert os.pread(short.descriptor, 1 << 20, 0) == wanted
    short.reuse(short.descriptor)


def test_F45_a_file_that_is_only_closed_is_not_written_again_while_its_pages_may_be_on_their_way(
    transcoder: Transcoder, tmp_path: Path
) -> None:
    first = converted(transcoder, tmp_path, 64)
    on_its_way = os.dup(first.descriptor)
    before = data_set(first)
    os.close(converted(transcoder, tmp_path, 128).descriptor)
    assert os.pread(on_its_way, 1 << 20, 0) == before
    os.close(on_its_way)


def test_D20_a_file_over_which_an_object_failed_is_not_used_again(transcoder: Transcoder, tmp_path: Path) -> None:
    long = converted(transcoder, tmp_path, 128)
    inode = os.fstat(long.descriptor).st_ino
    long.reuse(long.descriptor)
    broken = made()
    del broken.Rows
    with opened(saved(broken, tmp_path / "broken.dcm")) as stored, pytest.raises(Exception, match="described"):
        transcoder.converted(stored, RLE)
    next_one = converted(transcoder, tmp_path, 16)
    assert os.fstat(next_one.descriptor).st_ino != inode
    os.close(next_one.descriptor)


def memory_files() -> int:
    """How many this process has open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += os.readlink(entry).startswith("/memfd:")
    return found


def test_files_that_are_given_back_are_kept_within_bounds_and_closed_at_the_end(tmp_path: Path) -> None:
    before = memory_files()
    with closing(Transcoder(Limits(), 1)) as transcoder:
        all_of_them = [converted(transcoder, tmp_path, 16) for _ in range(TOGETHER_MAX + 4)]
        running = memory_files() - len(all_of_them)
        for one in all_of_them[1:]:
            one.reuse(one.descriptor)
        assert memory_files() == running + TOGETHER_MAX + 1
    all_of_them[0].reuse(all_of_them[0].descriptor)
    assert memory_files() == before
