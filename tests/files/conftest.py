"""Storages in folders and on file systems that a test may fill, exchange or take away."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.dicom.index import Indexer
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from domain.limits import Limits

LIMITS = Limits(storage_free_min=1, storage_check_seconds=1e-9, storage_suspect_seconds=20.0)
DEAD = "5f0c1f6e-3a1b-4a7e-9d55-0c6f3f0a9b11"
"""The temp folder of a process that is dead."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def storage(root: Path) -> Iterator[Storage]:
    opened = Storage.open(root, "default", LIMITS)
    yield opened
    opened.close()


@pytest.fixture
def files(storage: Storage) -> StoredFiles:
    return StoredFiles([storage], LIMITS, Indexer(LIMITS))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a tmpfs of a size at a folder, again after it was taken away; everything is unmounted at the end."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    folders = set()

    def mount(options: str, name: str = "disk") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        folders.add(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "annals-test", str(folder)], check=True)
        return folder

    yield mount
    for folder in folders:
        while subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False).returncode == 0:
            pass
