"""Work on a storage's files beside its daily use: nothing is overwritten, linked or set aside by mistake (D6)."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.files.publishing import Finished
from adapters.files.reading import fault_of
from adapters.files.storage import Storage, Temp
from adapters.files.storages import StoredFiles
from adapters.files.upkeep import Upkeep
from domain.errors import Because, Refused
from domain.instance import Content
from tests.dicom.encoding import INSTANCE, image
from tests.files.conftest import LIMITS
from tests.files.test_storage_keep import kept, objects, temp_files

LATER = 2.0**33


@pytest.fixture
def content(files: StoredFiles) -> Content:
    return kept(files, image())


def test_every_file_is_found_with_what_its_header_says(storage: Storage, content: Content) -> None:
    (found,) = Upkeep(storage).found()
    assert (found.path, found.sop_instance_uid, found.content) == (content.path, INSTANCE, content)


def test_a_file_that_is_set_aside_overwrites_no_other(storage: Storage, root: Path, content: Content) -> None:
    upkeep = Upkeep(storage)
    first = upkeep.set_aside(content.path, LATER)
    (root / content.path).write_bytes(b"another")
    second = upkeep.set_aside(content.path, LATER)
    assert first != second
    assert (root / second).read_bytes() == b"another"
    assert len((root / first).read_bytes()) == content.header_size + content.size


def test_a_file_that_a_resend_takes_into_use_is_not_set_aside(
    files: StoredFiles, storage: Storage, root: Path, content: Content
) -> None:
    os.utime(root / content.path, (1, 1))
    looked_at = time.time() - 60
    assert kept(files, image()) == content
    assert Upkeep(storage).set_aside(content.path, looked_at) == ""
    assert objects(root) == [root / content.path]


def test_only_the_whole_bytes_are_those_of_a_digest(storage: Storage, root: Path, content: Content) -> None:
    upkeep = Upkeep(storage)
    read: list[int] = []
    assert upkeep.fault_of(content, read.append) == ""
    assert sum(read) == content.size
    with (root / content.path).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    assert "not those that were received" in upkeep.fault_of(content)
    with (root / content.path).open("r+b") as file:
        file.truncate(content.header_size + content.size - 2)
    assert "bytes instead of" in upkeep.fault_of(content)
    assert "cannot be opened" in upkeep.fault_of(replace(content, path=f"ab/c/abc{'0' * 61}.dcm"))


def test_P5_a_storage_that_goes_while_a_file_is_read_says_nothing_against_the_file(
    storage: Storage, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> str:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("adapters.files.reading.digest_of", gone)
    with pytest.raises(Refused) as refused:
        fault_of(storage, content)
    assert refused.value.because is Because.OUT_OF_RESOURCES


def test_a_missing_file_is_brought_back_from_the_orphans_if_it_is_whole(
    storage: Storage, root: Path, content: Content
) -> None:
    upkeep = Upkeep(storage)
    assert not upkeep.bring_back(content)
    aside = root / upkeep.set_aside(content.path, LATER)
    raw = aside.read_bytes()
    aside.write_bytes(b"not it")
    assert not upkeep.bring_back(content)
    aside.with_name(f"another-{aside.name}").write_bytes(raw)
    assert upkeep.bring_back(content)
    assert upkeep.fault_of(content) == ""


def test_a_copy_has_the_same_bytes_elsewhere_or_is_not_made(storage: Storage, root: Path, content: Content) -> None:
    other = Storage.open(root.parent / "other", "other", LIMITS)
    source = os.open(root / content.path, os.O_RDONLY)
    try:
        copied = Upkeep(other).copy_in(source, content)
        assert copied == replace(content, storage="other")
        assert (other.root / copied.path).read_bytes() == (root / content.path).read_bytes()
        with pytest.raises(OSError, match="not those that were received"):
            Upkeep(other).copy_in(source, replace(content, digest="0" * 64))
    finally:
        os.close(source)
    assert objects(other.root) == [other.root / copied.path]
    assert temp_files(other.root) == []
    other.close()


@pytest.mark.parametrize("path", ["../../etc/passwd", "ab/c/../../x", ".annals-storage", "ab/c/x.dcm"])
def test_D4_only_object_files_are_removed(storage: Storage, content: Content, path: str) -> None:
    with pytest.raises(OSError, match="not a path"):
        Upkeep(storage).remove(path, LATER)
    assert Upkeep(storage).remove(content.path, LATER)
    assert list(Upkeep(storage).found()) == []
    assert Upkeep(storage).remove(content.path, LATER)


def test_D2_a_file_that_is_taken_into_use_or_needed_is_not_removed(
    storage: Storage, root: Path, content: Content
) -> None:
    upkeep = Upkeep(storage)
    seen: list[bool] = []

    def is_needed() -> bool:
        seen.append((root / content.path).exists())
        return True

    assert not upkeep.remove(content.path, time.time() - 60)
    assert not upkeep.remove(content.path, LATER, is_needed)
    assert seen == [False]
    assert upkeep.fault_of(content) == ""
    assert list((root / ".orphans").iterdir()) == []


def test_STO_5_a_removal_that_was_killed_half_way_is_undone_when_the_files_are_looked_at(
    storage: Storage, root: Path, content: Content
) -> None:
    upkeep = Upkeep(storage)

    def dies() -> bool:
        raise KeyboardInterrupt

    for look in (lambda: next(upkeep.found()).content == content, lambda: upkeep.bring_back(content)):
        with pytest.raises(KeyboardInterrupt):
            upkeep.remove(content.path, LATER, dies)
        assert objects(root) == []
        assert look()
        assert upkeep.fault_of(content) == ""
        assert list((root / ".orphans").iterdir()) == []


def test_a_copy_that_cannot_be_read_back_is_none(
    storage: Storage, root: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Storage.open(root.parent / "other", "other", LIMITS)
    keep = Storage.keep

    def spoil(self: Storage, temp: Temp, finished: Finished) -> Content:
        copy = keep(self, temp, finished)
        with (self.root / copy.path).open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        return copy

    monkeypatch.setattr(Storage, "keep", spoil)
    source = os.open(root / content.path, os.O_RDONLY)
    with pytest.raises(OSError, match="cannot be read back"):
        Upkeep(other).copy_in(source, content)
    os.close(source)
    other.close()


@pytest.mark.parametrize(("fraction", "goes"), [(0, False), (1_000_000, False), (1_000_001, True)])
def test_I1_a_file_goes_as_it_was_left_only_where_times_are_finer_than_milliseconds(
    storage: Storage, root: Path, content: Content, fraction: int, goes: bool
) -> None:
    modified = 1_700_000_000 * 10**9 + fraction
    os.utime(root / content.path, ns=(modified, modified))
    assert not Upkeep(storage).remove_as_left(content.path, modified + 1_000_002, lambda: False)
    assert Upkeep(storage).remove_as_left(content.path, modified, lambda: False) is goes
    assert objects(root) == ([] if goes else [root / content.path])
