"""A killed process leaves nothing that is seen, and nothing that is not swept (F01 to F05, P3, D6)."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.dicom.index import Indexer
from adapters.dicom.part10 import read_file_header
from adapters.files import disk
from adapters.files.failpoints import VARIABLE
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from tests.dicom.encoding import CT_CLASS, EXPLICIT, INSTANCE
from tests.files.conftest import DEAD, LIMITS
from tests.files.writer import data_set

SIZE = 200_000


def writer(root: Path, rules: str, count: int = 3) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.files.writer", str(root), "0", str(count), str(SIZE)],
        env={**os.environ, VARIABLE: rules},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def paused(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A living writer that stopped half way through its second object."""
    Storage.open(root, "default", LIMITS).close()
    process = writer(root, "store.after_write=stop@6")
    os.waitpid(process.pid, os.WUNTRACED)
    yield process
    process.kill()
    process.communicate()


def temp_files(root: Path) -> list[Path]:
    return [path for path in (root / ".incoming").glob("*/*") if path.name != "lease"]


def is_whole(path: Path) -> bool:
    raw = path.read_bytes()
    return hashlib.sha256(raw[read_file_header(raw).size :]).hexdigest() == path.name[:64]


@pytest.mark.parametrize(
    ("row", "where", "temps"),
    [
        ("F01", "store.before_create", 0),
        ("F01", "store.after_write", 1),
        ("F02", "store.before_sync", 1),
        ("F03", "store.after_sync", 1),
        ("F03", "store.after_folder", 1),
        ("F04", "store.after_rename", 0),
        ("F05", "store.after_folder_sync", 0),
    ],
)
@pytest.mark.parametrize("kept_before", [0, 1])
def test_F01_to_F05_a_kill_at_any_place_leaves_whole_files_and_a_temp_file_to_sweep(
    root: Path, row: str, where: str, temps: int, kept_before: int
) -> None:
    Storage.open(root, "default", LIMITS).close()
    passes = kept_before * (4 if where == "store.after_write" else 1) + 1
    process = writer(root, f"{where}=kill@{passes}")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    stored = [line.split()[2] for line in said.splitlines() if line.startswith("stored")]
    assert len(stored) == kept_before
    names = list(root.glob("??/?/*"))
    assert all(is_whole(path) for path in names)
    assert {root / path for path in stored} <= set(names)
    assert len(names) == kept_before + (row in ("F04", "F05"))
    assert len(temp_files(root)) == temps

    files = StoredFiles([Storage.open(root, "default", LIMITS)], LIMITS, Indexer(LIMITS))
    assert files.sweep() == temps
    assert temp_files(root) == []
    assert len(list((root / ".incoming").iterdir())) == 1
    for number in range(kept_before + 1):
        incoming = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "AGAIN")
        incoming.write(data_set(number, SIZE))
        assert is_whole(root / incoming.keep().path)
    assert set(names) <= set(root.glob("??/?/*"))
    assert len(list(root.glob("??/?/*"))) == kept_before + 1


def test_P3_a_living_process_keeps_its_temp_files_until_it_dies(
    root: Path, storage: Storage, paused: subprocess.Popen[str]
) -> None:
    files = StoredFiles([storage], LIMITS, Indexer(LIMITS))
    assert len(temp_files(root)) == 1
    assert files.sweep() == 0
    assert len(temp_files(root)) == 1
    paused.kill()
    paused.wait()
    assert files.sweep() == 1
    assert temp_files(root) == []


def test_P3_a_paused_process_goes_on_after_a_sweep(root: Path, storage: Storage, paused: subprocess.Popen[str]) -> None:
    storage.sweep()
    os.kill(paused.pid, signal.SIGCONT)
    said, _ = paused.communicate(timeout=60)
    assert said.count("stored") == 3


def test_P3_folders_without_a_lease_are_swept_and_ones_own_stay(root: Path, storage: Storage) -> None:
    (root / ".incoming" / DEAD).mkdir()
    (root / ".incoming" / DEAD / "half").write_bytes(b"x")
    (root / ".incoming" / "stray").write_bytes(b"x")
    incoming = StoredFiles([storage], LIMITS, Indexer(LIMITS)).receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
    assert storage.sweep() == 1
    assert len(temp_files(root)) == 1
    incoming.discard()


def test_P3_a_sweep_that_another_one_overtakes_is_no_trouble(
    root: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one finds the folder without a lease, as the first is about to remove it, and lays one of its own."""
    folder = root / ".incoming" / DEAD
    folder.mkdir()
    (folder / "half").write_bytes(b"x")
    remove = disk.remove_file

    def overtaken(parent: int, name: str) -> None:
        remove(parent, name)
        if name == "lease":
            (folder / name).touch()

    with monkeypatch.context() as patched:
        patched.setattr(disk, "remove_file", overtaken)
        assert storage.sweep() == 1
    assert storage.sweep() == 0
    assert not folder.exists()


def test_P3_sweeps_and_starts_at_the_same_time_do_not_harm_each_other(root: Path) -> None:
    Storage.open(root, "default", LIMITS).close()
    processes = [writer(root, "", 2) for _ in range(3)]
    sweeper = Storage.open(root, "default", LIMITS)
    deadline = time.monotonic() + 60
    while any(process.poll() is None for process in processes):
        sweeper.sweep()
        assert time.monotonic() < deadline
    for process in processes:
        said, _ = process.communicate()
        assert process.returncode == 0
        assert said.count("stored") == 2
    sweeper.sweep()
    assert temp_files(root) == []
