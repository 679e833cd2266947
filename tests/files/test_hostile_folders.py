"""Folders that somebody else has filled: links, pipes, devices and foreign files harm nothing (D4, D5, B54, B67)."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.dicom.index import Indexer
from adapters.dicom.part10 import file_header
from adapters.files import disk
from adapters.files.attachment import MARKER, marker
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.files.upkeep import Upkeep
from domain.errors import InvalidInput, Refused
from tests.dicom.encoding import CT_CLASS, EXPLICIT, image
from tests.files.conftest import DEAD, LIMITS
from tests.files.test_storage_keep import kept

NO_CALL = 100_000
"""A number that no kernel has a call for: ENOSYS."""

OBJECT = f"ab/c/abc{'0' * 61}.dcm"


def promptly(work: Callable[[], object]) -> None:
    """Run work that must not stand still."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_D5_a_marker_that_is_no_file_makes_no_storage_and_holds_nobody_up(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / MARKER)
    promptly(lambda: marker(tmp_path))
    assert marker(tmp_path) == ""
    with pytest.raises(InvalidInput):
        Storage.open(tmp_path, "default", LIMITS)


def test_D5_a_marker_behind_a_link_is_none(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MARKER).symlink_to(storage.root / MARKER)
    assert marker(tmp_path / "other") == ""


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_B67_what_is_no_file_is_found_as_nothing_that_can_be_read(
    storage: Storage, make: Callable[[Path], None]
) -> None:
    storage.remove_temp(storage.create_temp())
    make(storage.root / OBJECT)
    found: list[object] = []
    promptly(lambda: found.extend(Upkeep(storage).found()))
    (one,) = found
    assert (one.path, one.content) == (OBJECT, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_F18_an_object_whose_name_something_else_has_is_an_error_at_once(
    files: StoredFiles, root: Path, make: Callable[[Path], None]
) -> None:
    content = kept(files, image())
    (root / content.path).unlink()
    make(root / content.path)
    errors: list[OSError] = []

    def read() -> None:
        try:
            files.open(content)
        except OSError as error:
            errors.append(error)

    promptly(read)
    assert len(errors) == 1


@pytest.mark.parametrize("openat2", [disk._OPENAT2, NO_CALL], ids=["", "older kernel"])
@pytest.mark.parametrize("depth", [1, 2])
def test_D4_nothing_is_read_or_written_through_a_folder_that_is_a_link(
    files: StoredFiles, root: Path, tmp_path: Path, depth: int, openat2: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_OPENAT2", openat2)
    content = kept(files, image())
    os.close(files.open(content))
    elsewhere = tmp_path / "elsewhere"
    folder = root.joinpath(*content.path.split("/")[:depth])
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
        files.open(content)
    with pytest.raises(Refused):
        kept(files, image())
    with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
        Upkeep(files._by_name["default"]).set_aside(content.path, 0)
    assert len(list(elsewhere.rglob("*.dcm"))) == 1


@pytest.mark.parametrize("uid", ["1.2\0.34567", "1.2.3;DROP", "../../x", "\xe9", ""])
def test_a_file_that_names_no_UID_is_one_that_no_fact_can_know(storage: Storage, uid: str) -> None:
    storage.remove_temp(storage.create_temp())
    header = file_header(CT_CLASS, "1.2.345678", EXPLICIT, "")
    (storage.root / OBJECT).write_bytes(header.replace(b"1.2.345678", uid.encode().ljust(10, b"\0")))
    (found,) = Upkeep(storage).found()
    assert (found.sop_instance_uid, found.content) == ("", None)


def test_B67_a_huge_foreign_file_is_not_read_to_its_end(files: StoredFiles, storage: Storage) -> None:
    content = kept(files, image())
    with (storage.root / OBJECT).open("wb") as file:
        file.write((storage.root / content.path).read_bytes()[: content.header_size])
        file.truncate(1 << 40)
    upkeep = Upkeep(storage)
    promptly(lambda: list(upkeep.found()))
    faults: list[str] = []
    promptly(lambda: faults.append(upkeep.fault_of(replace(content, path=OBJECT))))
    assert "bytes instead of" in faults[0]


def test_F17_a_sweep_of_a_read_only_storage_is_no_trouble_of_its_own(mounted: Callable[[str], Path]) -> None:
    root = mounted("size=8m")
    storage = Storage.open(root, "default", LIMITS)
    files = StoredFiles([storage], LIMITS, Indexer(LIMITS))
    kept(files, image())
    (root / ".incoming" / DEAD).mkdir()
    (root / ".incoming" / DEAD / "half").write_bytes(b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
    assert files.sweep() == 0
    subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
    files.check_space()
    assert files.sweep() == 1
    assert storage.troubles.now == frozenset()
