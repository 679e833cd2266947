"""What is appended is what stands in the file, whatever the pieces, past the page cache or through it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.files.writing import BUFFER_SIZE, Buffers, NewFile

BUFFERS = Buffers()
EDGES = [0, 1, 4095, 4096, 65535, 65536, 65537, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, 3 * BUFFER_SIZE + 4097]


def written(path: Path, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """The bytes that stand in the file, and those that the finished file reads back."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    file = NewFile(descriptor, BUFFERS)
    try:
        for piece in pieces:
            file.append(piece)
        file.finish()
        file.finish()
        size = sum(map(len, pieces))
        return path.read_bytes(), b"".join(file.read(at, 70_000) for at in range(0, size, 70_000))
    finally:
        file.close()
        file.close()
        os.close(descriptor)


@given(st.lists(st.sampled_from(EDGES), max_size=4), st.integers(0, 255))
@settings(max_examples=40)
def test_any_pieces_stand_in_the_file_as_they_came(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], first: int
) -> None:
    pieces = [bytes([(first + number) % 256]) * size for number, size in enumerate(sizes)]
    path = tmp_path_factory.getbasetemp() / "written"
    assert written(path, pieces) == (b"".join(pieces), b"".join(pieces))


def test_large_pieces_go_past_the_page_cache_where_the_file_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        os.close(os.open(tmp_path / "probe", os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
    except OSError as error:
        pytest.skip(f"no file system that can: {error}")
    modes = []
    write = os.write

    def note(descriptor: int, data: memoryview) -> int:
        modes.append((len(data), bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", note)
    written(tmp_path / "file", [bytes(BUFFER_SIZE + 100_000)])
    assert modes == [(BUFFER_SIZE, True), (98_304, True), (1_696, False)]
    modes.clear()
    written(tmp_path / "file", [bytes(60_000)])
    assert modes == [(60_000, False)]


def test_a_file_system_that_cannot_is_written_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(BUFFER_SIZE + 70_000)
    write = os.write

    def refuse(descriptor: int, piece: memoryview) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "not aligned")
        return write(descriptor, piece)

    monkeypatch.setattr(os, "write", refuse)
    assert written(tmp_path / "file", [data]) == (data, data)


def test_on_a_tmpfs(mounted: Callable[[str], Path]) -> None:
    data = os.urandom(3 * BUFFER_SIZE + 5)
    assert written(mounted("size=8m") / "file", [data]) == (data, data)


def test_a_full_disk_is_an_error(mounted: Callable[[str], Path]) -> None:
    with pytest.raises(OSError, match="No space"):
        written(mounted("size=1m") / "file", [bytes(3 * BUFFER_SIZE)])
