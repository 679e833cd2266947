"""Objects are kept under their digest, byte for byte, once (P4, D1, D4, D6, D7, B20)."""

from __future__ import annotations

import ast
import contextlib
import gc
import hashlib
import os
import re
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.dicom.index import Indexer
from adapters.dicom.part10 import file_header, read_file_header
from adapters.files.incoming import IncomingObject
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from domain.errors import Because, InvalidInput, Refused
from domain.instance import Content
from domain.limits import MIB, Limits
from tests.dicom.encoding import BIG_ENDIAN, CT_CLASS, DEFLATED, EXPLICIT, IMPLICIT, INSTANCE, element, image, minimal
from tests.durability.disks import Disk, folder_for_disks
from tests.edges import edges
from tests.files.conftest import LIMITS

SYNTAXES = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.3.4")


def received(files: StoredFiles, data: bytes, syntax: str = EXPLICIT, piece: int = MIB) -> IncomingObject:
    incoming = files.receive(CT_CLASS, INSTANCE, syntax, "MODALITY")
    view = memoryview(data)
    for offset in range(0, len(data), piece):
        incoming.write(view[offset : offset + piece])
    return incoming


def kept(files: StoredFiles, data: bytes, syntax: str = EXPLICIT) -> Content:
    incoming = received(files, data, syntax)
    content = incoming.keep()
    incoming.discard()
    return content


def everything(files: StoredFiles, content: Content) -> bytes:
    assert files.is_whole(content)
    with open(files.open(content), "rb") as stored:
        return stored.read()


def temp_files(root: Path) -> list[Path]:
    return [path for path in (root / ".incoming").glob("*/*") if path.name != "lease"]


def descriptors(root: Path) -> int:
    """How many of this process lead below a folder."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(entry).startswith(str(root))
    return found


def objects(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("??/?/*"))


def test_a_new_storage_has_its_marker_its_folders_and_nothing_to_read_for_others(root: Path, storage: Storage) -> None:
    assert (root / ".annals-storage").read_text().strip() == str(storage.storage_id)
    assert {path.name for path in root.iterdir()} == {".annals-storage", ".incoming"} | {f"{n:02x}" for n in range(256)}
    assert all(not path.stat().st_mode & 0o077 for path in (root, root / "00", root / ".incoming"))


@pytest.fixture
def ext4() -> Iterator[Path]:
    if os.geteuid():
        pytest.skip("mounting needs root")
    with folder_for_disks() as folder:
        yield Disk(folder, "disk", "ext4", 320).path


def test_on_ext4_the_temp_folders_of_processes_are_laid_out_apart_also_in_a_storage_of_before(ext4: Path) -> None:
    root = ext4 / "storage"
    Storage.open(root, "default", LIMITS).close()
    assert "T" in attributes(root / ".incoming")
    subprocess.run(["chattr", "-T", str(root / ".incoming")], check=True)
    Storage.open(root, "default", LIMITS).close()
    assert "T" in attributes(root / ".incoming")


def attributes(folder: Path) -> str:
    """The letters that ``lsattr`` has for a folder."""
    return subprocess.run(["lsattr", "-d", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0]


def test_storages_made_by_several_threads_at_once_are_one(root: Path) -> None:
    opened: list[Storage] = []
    threads = [threading.Thread(target=lambda: opened.append(Storage.open(root, "default"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({storage.storage_id for storage in opened}) == 1
    assert len(opened) == 8


def test_D5_a_folder_with_other_things_does_not_become_a_storage(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="not empty"):
        Storage.open(tmp_path, "default")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(InvalidInput):
        Storage.open(tmp_path / "letter.txt", "default")


def test_P4_an_object_lies_below_its_digest_with_our_header_before_it(files: StoredFiles, root: Path) -> None:
    data = image(64, 64)
    incoming = received(files, data)
    assert incoming.header().sop_instance_uid == INSTANCE
    content = incoming.keep()
    incoming.discard()
    digest = hashlib.sha256(data).hexdigest()
    assert content == replace(content, digest=digest, size=len(data), storage="default", transfer_syntax_uid=EXPLICIT)
    assert content.path == f"{digest[:2]}/{digest[2]}/{digest}.dcm"
    stored = (root / content.path).read_bytes()
    assert stored[content.header_size :] == data
    assert stored[:128] == bytes(128)
    assert read_file_header(stored).size == content.header_size
    assert temp_files(root) == []
    assert not (root / content.path).stat().st_mode & 0o077


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200_000), st.sampled_from(SYNTAXES), st.integers(1, 100_000))
def test_P4_bytes_out_are_bytes_in(files: StoredFiles, data: bytes, syntax: str, piece: int) -> None:
    incoming = received(files, data, syntax, max(piece, len(data) // 50 + 1))
    content = incoming.keep()
    assert everything(files, content) == data


def test_the_same_object_again_uses_the_file_that_is_there(files: StoredFiles, root: Path) -> None:
    data = image()
    first = kept(files, data)
    before = (root / first.path).stat()
    incoming = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "A-LONGER-AE-TITL")
    incoming.write(data)
    again = incoming.keep()
    assert again == first
    assert (root / first.path).stat().st_ino == before.st_ino
    assert temp_files(root) == []
    assert everything(files, again) == data


def test_a_torn_file_under_the_digest_is_replaced(files: StoredFiles, root: Path) -> None:
    data = image()
    first = kept(files, data)
    path = root / first.path
    whole = path.read_bytes()
    for torn in (b"", whole[:-2], whole[:-2] + b"\x01\x01", whole[:100], b"\0" * len(whole)):
        path.write_bytes(torn)
        assert kept(files, data) == first
        assert path.read_bytes()[first.header_size :] == data
    assert objects(root) == [path]


def test_the_same_bytes_in_another_transfer_syntax_get_a_name_of_their_own(files: StoredFiles, root: Path) -> None:
    data = image()
    contents = {kept(files, data, syntax) for syntax in SYNTAXES for _ in range(2)}
    assert len(contents) == len(SYNTAXES)
    assert len(objects(root)) == len(SYNTAXES)
    for content in contents:
        assert everything(files, content) == data
        assert read_file_header((root / content.path).read_bytes()).transfer_syntax_uid == content.transfer_syntax_uid
        assert re.fullmatch(r".././[0-9a-f]{64}(-[0-9a-f]{8})?\.dcm", content.path)


def test_the_same_object_from_many_threads_is_one_file(files: StoredFiles, root: Path) -> None:
    data = image()
    contents: list[Content] = []
    incoming = [received(files, data) for _ in range(8)]
    threads = [threading.Thread(target=lambda one=one: contents.append(one.keep())) for one in incoming]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(contents)) == 1
    assert len(contents) == 8
    assert len(objects(root)) == 1
    assert temp_files(root) == []


def test_a_file_system_without_renameat2_links_instead(
    files: StoredFiles, storage: Storage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage._rename, "_renameat2", None)
    data = image()
    first = kept(files, data)
    assert kept(files, data) == first
    assert (root / first.path).stat().st_nlink == 1
    assert temp_files(root) == []


@pytest.mark.parametrize(("size", "good"), [(999, True), (1000, True), (1001, False)])
def test_B20_an_object_above_the_limit_is_refused_while_it_is_received(
    storage: Storage, root: Path, size: int, good: bool
) -> None:
    limits = Limits(storage_free_min=1, object_size_max=1000)
    files = StoredFiles([storage], limits, Indexer(limits))
    incoming = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
    incoming.write(bytes(999))
    assert len(temp_files(root)) == 1
    if good:
        incoming.write(bytes(size - 999))
        incoming.keep()
        return
    for _ in range(2):
        with pytest.raises(Refused) as refusal:
            incoming.write(bytes(size - 999))
        assert refusal.value.because is Because.OUT_OF_RESOURCES
    for call in (incoming.keep, incoming.header):
        with pytest.raises(Refused):
            call()
    assert temp_files(root) == []


def test_B20_a_large_object_is_written_and_scanned_with_flat_memory(files: StoredFiles, root: Path) -> None:
    beginning = minimal() + element(0x7FE00010, "OW", b"", length=96 * MIB)
    piece = memoryview(bytes(MIB))
    tracemalloc.start()
    try:
        incoming = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
        incoming.write(beginning)
        for _ in range(96):
            incoming.write(piece)
        assert incoming.header().warnings == ()
        content = incoming.keep()
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert content.size == len(beginning) + 96 * MIB
    assert files.is_whole(content)


@edges
@pytest.mark.parametrize("limit", ["quarantine_files_max", "quarantine_size_max"])
def test_D21_C2_2_the_quarantine_takes_no_more_than_its_limits(root: Path, limit: str, off: int) -> None:
    """Three objects are refused and kept aside: all of them, or all but the last."""
    whole = len(file_header(CT_CLASS, INSTANCE + "9", EXPLICIT, "MODALITY")) + len(image())
    limits = Limits(storage_free_min=1, **{limit: (3 if limit == "quarantine_files_max" else 3 * whole) - off})
    storage = Storage.open(root, "default", limits)
    files = StoredFiles([storage], limits, Indexer(limits))
    quarantined = []
    for _ in range(3):
        incoming = files.receive(CT_CLASS, INSTANCE + "9", EXPLICIT, "MODALITY")
        incoming.write(image())
        with pytest.raises(Refused) as refusal:
            incoming.header()
        assert refusal.value.because is Because.IDENTIFIER_DOES_NOT_MATCH
        quarantined += [incoming.quarantined] if incoming.quarantined else []
    assert sorted(f".quarantine/{path.name}" for path in (root / ".quarantine").iterdir()) == sorted(
        one.path for one in quarantined
    )
    assert len(quarantined) == (3 if off <= 0 else 2)
    assert temp_files(root) == []
    files.close()


def test_P3_a_discarded_refused_or_forgotten_object_leaves_nothing(files: StoredFiles, root: Path) -> None:
    before = descriptors(root)
    discarded = received(files, image())
    discarded.discard()
    discarded.discard()
    with pytest.raises(Refused):
        discarded.keep()
    refused = received(files, image()[:-10])
    with pytest.raises(Refused):
        refused.header()
    forgotten = received(files, image())
    assert len(temp_files(root)) == 1
    del forgotten
    empty = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
    empty.write(b"")
    with pytest.raises(Refused):
        empty.header()
    assert temp_files(root) == []
    assert objects(root) == []
    gc.collect()
    assert descriptors(root) == before


def test_D4_only_one_module_names_files_below_a_storage() -> None:
    naming = {
        "open",
        "rename",
        "renames",
        "replace",
        "link",
        "unlink",
        "remove",
        "mkdir",
        "makedirs",
        "rmdir",
        "symlink",
    }
    found = []
    for path in Path("adapters/files").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                by_os = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)
                if by_os and called.value.id == "os" and called.attr in naming:  # type: ignore[union-attr]
                    found.append(path.name)
                if isinstance(called, ast.Name) and called.id == "open":
                    found.append(path.name)
    assert set(found) == {"disk.py"}


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "ab/c/../../x.dcm", "ab/c/x.dcm", ""])
def test_D4_a_path_that_is_not_ours_is_never_opened(files: StoredFiles, path: str) -> None:
    content = kept(files, image())
    with pytest.raises(OSError, match="not a path"):
        files.open(replace(content, path=path))
