"""A storage's folders go where nothing is kept in them, and its marker last (STO-2, D4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.files.attachment import MARKER, QUARANTINE
from adapters.files.dismantling import Dismantling
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.files.upkeep import ORPHANS, Upkeep
from tests.dicom.encoding import image
from tests.files.test_storage_keep import kept


def is_removed(storage: Storage) -> bool:
    with Dismantling(storage.root, str(storage.storage_id)) as folder:
        return folder.remove_empty()


def test_STO_2_the_folders_of_a_storage_that_nobody_uses_go_and_its_marker(storage: Storage, root: Path) -> None:
    storage.check().temp_folder()
    (root / QUARANTINE).mkdir()
    (root / ORPHANS).mkdir()
    storage.close()
    assert is_removed(storage)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("place", ["an object", "aside", "kept aside", "a stranger", "below"])
def test_STO_2_nothing_that_lies_in_a_storage_goes_and_its_marker_stays(
    files: StoredFiles, storage: Storage, root: Path, place: str
) -> None:
    content = kept(files, image())
    lying = root / content.path
    if place == "aside":
        lying = root / Upkeep(storage).set_aside(content.path, 1e12)
    elif place != "an object":
        names = {"kept aside": f"{QUARANTINE}/x.dcm", "a stranger": "letter.txt", "below": "ab/c/notes.txt"}
        (root / names[place]).parent.mkdir(exist_ok=True)
        lying = lying.rename(root / names[place])
    files.close()
    assert not is_removed(storage)
    assert lying.is_file()
    assert (root / MARKER).is_file()


def test_STO_2_the_folder_that_a_process_receives_into_stays(storage: Storage, root: Path) -> None:
    storage.check().temp_folder()
    assert not is_removed(storage)
    assert (root / MARKER).is_file()
