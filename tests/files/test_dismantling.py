"""A storage's folders go where nothing is kept in them, and its marker last (STO-2, D4)."""

from __future__ import annotations

import gc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.dicom.index import Indexer
from adapters.files.attachment import MARKER, QUARANTINE, ForeignFolder
from adapters.files.dismantling import Dismantling
from adapters.files.publishing import Finished
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.files.upkeep import ORPHANS, Upkeep
from domain.errors import Refused
from tests.dicom.encoding import EXPLICIT, image
from tests.files.conftest import LIMITS
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


def test_I1_STO_2_what_is_on_its_way_into_a_storage_is_waited_for_and_refused(storage: Storage, root: Path) -> None:
    """Also by a process that does not know of the removal, and for as long as it does not."""
    temp = storage.create_temp()
    with Dismantling(root, str(storage.storage_id)) as folder:
        folder.take_marker_away()
        for _ in range(2):
            with pytest.raises(Refused):
                storage.create_temp()
        assert folder.is_received_into()
        with pytest.raises(ForeignFolder):
            storage.keep(temp, Finished("a" * 64, 0, 0, EXPLICIT))
        storage.remove_temp(temp)
        del temp
        assert not folder.is_received_into()
        folder.give_marker_back()
    storage.remove_temp(storage.create_temp())


def test_STO_2_a_storage_that_has_refused_is_let_go_at_once(root: Path) -> None:
    """A refusal that refers to itself would hold the folder until memory is searched for such circles."""
    full = Storage.open(root, "default", replace(LIMITS, storage_free_min=2**62))
    files = StoredFiles([full], LIMITS, Indexer(LIMITS))
    gc.disable()
    try:
        with suppress(Refused):
            files.check_space()
        with Dismantling(root, str(full.storage_id)) as folder:
            assert folder.is_received_into()
            folder.take_marker_away()
            files.look()
            assert not folder.is_received_into()
    finally:
        gc.enable()


def test_STO_2_the_folder_that_a_process_receives_into_stays(storage: Storage, root: Path) -> None:
    storage.check().temp_folder()
    assert not is_removed(storage)
    assert (root / MARKER).is_file()
