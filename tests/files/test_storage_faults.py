"""Full, failing, read-only, missing and exchanged storages (F10, F11, F13 to F18, P13, NET-8, D5, D7)."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapters.dicom.index import Indexer
from adapters.files.failpoints import ArmedFailpoints, Rule
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from domain.errors import Because, Refused
from domain.instance import Content
from domain.limits import MIB, Limits
from tests.dicom.encoding import CT_CLASS, EXPLICIT, INSTANCE, element, image, minimal
from tests.edges import edges
from tests.files.conftest import LIMITS

LOGGER = "annals.files"


def keep(files: StoredFiles, data: bytes) -> Content:
    incoming = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
    try:
        for offset in range(0, len(data), MIB):
            incoming.write(data[offset : offset + MIB])
        return incoming.keep()
    finally:
        incoming.discard()


def refused(files: StoredFiles, data: bytes) -> str:
    with pytest.raises(Refused) as refusal:
        keep(files, data)
    assert refusal.value.because is Because.OUT_OF_RESOURCES
    return str(refusal.value)


def pixels(fill: bytes, size: int) -> bytes:
    return minimal() + element(0x7FE00010, "OW", fill * (size // len(fill)))


def left(root: Path) -> list[Path]:
    temp = [path for path in (root / ".incoming").glob("*/*") if path.name != "lease"]
    return temp + list(root.glob("??/?/*"))


def failing(root: Path, where: str, number: int, first: int = 1, once: bool = False) -> StoredFiles:
    """Files of one storage that fails at a failpoint."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    failpoint = ArmedFailpoints({where: Rule(fail, first, once)})
    return StoredFiles([Storage.open(root, "default", LIMITS, failpoint)], LIMITS, Indexer(LIMITS), failpoint)


def test_F10_a_full_storage_refuses_an_object_and_goes_on_with_what_fits(
    mounted: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = mounted("size=4m") / "storage"
    storage = Storage.open(root, "default", LIMITS)
    files = StoredFiles([storage], LIMITS, Indexer(LIMITS))
    caplog.set_level(logging.WARNING, LOGGER)
    for _ in range(5):
        assert "No space left" in refused(files, pixels(b"ab", 6 * MIB))
        assert left(root) == []
    assert len([record for record in caplog.records if "refuses" in record.message]) == 1
    keep(files, image())
    assert len([record for record in caplog.records if "takes objects again" in record.message]) == 1
    refused(files, pixels(b"ab", 6 * MIB))
    assert len([record for record in caplog.records if "refuses" in record.message]) == 2


def test_NET_8_C2_3_too_little_free_space_is_refused_before_any_data(mounted: Callable[[str], Path]) -> None:
    root = mounted("size=8m") / "storage"
    limits = replace(LIMITS, storage_free_min=6 * MIB)
    files = StoredFiles([Storage.open(root, "default", limits)], limits, Indexer(limits))
    files.check_space()
    keep(files, pixels(b"ab", 3 * MIB))
    for call in (files.check_space, lambda: files.receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")):
        with pytest.raises(Refused, match="free space") as refusal:
            call()
        assert refusal.value.because is Because.OUT_OF_RESOURCES
    for path in root.glob("??/?/*"):
        path.unlink()
    files.check_space()


def test_NET_8_the_disk_is_asked_about_once_a_second(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage.open(root, "default", Limits(storage_free_min=1))
    files = StoredFiles([storage], LIMITS, Indexer(LIMITS))
    asked = []
    monkeypatch.setattr(os, "fstatvfs", lambda fd: asked.append(fd) or os.statvfs(root))
    now = [1000.0]
    monkeypatch.setattr("adapters.files.storage.time", SimpleNamespace(monotonic=lambda: now[0]))
    for _ in range(100):
        files.check_space()
        now[0] += 0.05
    assert len(asked) == 5


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize(
    "where",
    ["store.before_create", "store.after_write", "store.before_sync", "store.after_sync", "store.after_folder"],
)
def test_F10_F11_F13_any_failing_call_refuses_and_leaves_nothing(root: Path, where: str, number: int) -> None:
    files = failing(root, where, number, first=2, once=True)
    first = keep(files, image())
    assert os.strerror(number) in refused(files, image(8, 8))
    assert len(left(root)) == 1
    if number == errno.EIO:
        assert "a moment ago" in refused(files, image(4, 4))
    assert files.is_whole(first)


@pytest.mark.parametrize("where", ["store.after_rename", "store.after_folder_sync"])
def test_F13_a_file_whose_name_may_not_be_durable_is_not_reported_as_kept(root: Path, where: str) -> None:
    files = failing(root, where, errno.EIO, once=True)
    refused(files, image())
    (orphan,) = left(root)
    other = StoredFiles([Storage.open(root, "default", LIMITS)], LIMITS, Indexer(LIMITS))
    assert root / keep(other, image()).path == orphan


def test_F13_a_suspect_storage_is_tried_again_after_a_while(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr("adapters.files.storage.time.monotonic", lambda: now[0])
    caplog.set_level(logging.WARNING, LOGGER)
    files = failing(root, "store.before_sync", errno.EIO, once=True)
    refused(files, image())
    for _ in range(3):
        assert "a moment ago" in refused(files, image())
    now[0] += LIMITS.storage_suspect_seconds + 0.01
    keep(files, image())
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def injected(root: Path, inject: str, tmp_path: Path, count: int = 3) -> tuple[list[list[str]], str]:
    """What a writer under strace says, and the traced calls with their paths."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    call = inject.partition(":")[0]
    command = [
        "strace",
        "--seccomp-bpf",
        "-f",
        "-y",
        "-qq",
        "-o",
        str(trace),
        "-e",
        f"trace={call}",
        "-e",
        f"inject={inject}",
    ]
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.files.writer", str(root), "0", str(count), "100000"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [line.split(maxsplit=3) for line in done.stdout.splitlines() if line != "open"], trace.read_text()


@pytest.mark.parametrize("when", [257, 258], ids=["file", "folder"])
def test_F13_a_file_is_never_synced_again_after_an_input_output_error(root: Path, tmp_path: Path, when: int) -> None:
    keep(StoredFiles([Storage.open(root, "default", LIMITS)], LIMITS, Indexer(LIMITS)), image(4, 4))
    said, trace = injected(root, f"fsync:error=EIO:when={when}", tmp_path)
    assert [line[0] for line in said] == ["refused"] * 3
    assert said[0][2] == "A700"
    assert "a moment ago" in said[1][3]
    synced = re.findall(r"fsync\(\d+<([^>]*/\.incoming/[^>]*)>", trace)
    assert len(synced) == len(set(synced)) == 1
    assert [path for path in left(root) if ".incoming" in str(path)] == []


@pytest.mark.parametrize(
    ("inject", "refusals"),
    [
        ("renameat2:error=ENOSPC:when=1", 1),
        ("renameat2:error=EIO:when=2", 2),
        ("renameat2:error=EINVAL:when=1+", 0),
        ("write:error=EDQUOT:when=3", 1),
    ],
)
def test_F10_F11_a_failing_system_call_refuses_and_leaves_nothing(
    root: Path, tmp_path: Path, inject: str, refusals: int
) -> None:
    Storage.open(root, "default", LIMITS).close()
    said, _ = injected(root, inject, tmp_path)
    stored = [line for line in said if line[0] == "stored"]
    assert len(said) - len(stored) == refusals
    assert all(line[2] == "A700" for line in said if line[0] == "refused")
    assert {root / line[2] for line in stored} == set(left(root))


def test_F13_an_error_on_close_is_not_passed_over(
    files: StoredFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
    incoming.write(image())
    close = os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, "close failed")

    monkeypatch.setattr("adapters.files.incoming.os.close", fail)
    with pytest.raises(Refused, match="close failed"):
        incoming.keep()
    monkeypatch.undo()
    assert left(root) == []


def test_F14_F18_a_missing_cut_or_changed_file_is_an_error_of_that_object_only(files: StoredFiles, root: Path) -> None:
    good, missing, cut, flipped = (keep(files, image(size, size)) for size in (4, 6, 8, 10))
    (root / missing.path).unlink()
    os.truncate(root / cut.path, (root / cut.path).stat().st_size - 1)
    with (root / flipped.path).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    with pytest.raises(FileNotFoundError):
        files.open(missing)
    with pytest.raises(OSError, match=r"has \d+ bytes instead of \d+"):
        files.open(cut)
    assert not files.is_whole(flipped)
    assert files.is_whole(good)
    with pytest.raises(Refused, match="not in use"):
        files.open(replace(good, storage="other"))


def test_F14_a_failing_read_is_an_error(root: Path) -> None:
    files = failing(root, "read.before_open", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        files.open(keep(files, image()))


@pytest.mark.parametrize("lazily", [True, False])
def test_F15_nothing_is_written_to_the_bare_mount_point(
    mounted: Callable[[str], Path], caplog: pytest.LogCaptureFixture, lazily: bool, tmp_path: Path
) -> None:
    root = mounted("size=8m")
    storage = Storage.open(root, "default", LIMITS)
    files = StoredFiles([storage], LIMITS, Indexer(LIMITS))
    content = keep(files, image())
    under_way = files.receive(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
    under_way.write(image(8, 8))
    caplog.set_level(logging.WARNING, LOGGER)
    aside = tmp_path / "aside"
    aside.mkdir()
    subprocess.run(["mount", "--bind", str(root), str(aside)], check=True)
    try:
        if not lazily:
            del under_way
            storage.close()
        subprocess.run(["umount", *(["-l"] if lazily else []), str(root)], check=True)
        for _ in range(3):
            assert "not mounted" in refused(files, image(4, 4))
        with pytest.raises(Refused):
            files.open(content)
        if lazily:
            with pytest.raises(Refused):
                under_way.keep()
        assert list(root.iterdir()) == []
        subprocess.run(["mount", "--bind", str(aside), str(root)], check=True)
        keep(files, image(2, 2))
        assert files.is_whole(content)
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    finally:
        subprocess.run(["umount", "-l", str(aside)], check=True)


def test_F16_another_storage_in_its_place_is_not_written_into(mounted: Callable[[str], Path]) -> None:
    root = mounted("size=8m")
    files = StoredFiles([Storage.open(root, "default", LIMITS)], LIMITS, Indexer(LIMITS))
    keep(files, image())
    mounted("size=8m")
    assert "not mounted" in refused(files, image(4, 4))
    Storage.open(root, "another", LIMITS).close()
    assert "another storage" in refused(files, image(4, 4))
    assert list(root.glob("??/?/*")) == []
    subprocess.run(["umount", "-l", str(root)], check=True)
    keep(files, image(4, 4))


def test_F15_a_known_storage_that_is_away_at_the_start_comes_back_by_itself(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Storage.open(root, "default", LIMITS)
    assert first.storage_id is not None
    first.close()
    away = root.rename(root.with_name("away"))
    root.mkdir()
    files = StoredFiles([Storage.open(root, "default", LIMITS, storage_id=first.storage_id)], LIMITS, Indexer(LIMITS))
    refused(files, image())
    assert list(root.iterdir()) == []
    assert files.sweep() == 0
    root.rmdir()
    away.rename(root)
    keep(files, image())
    assert [record.levelname for record in caplog.records if record.name == LOGGER] == ["ERROR", "WARNING"]


@pytest.mark.parametrize("marker", [b"", b"not an id", b"\xff" * 200, b"00000000-0000-0000-0000-000000000000\n"])
def test_D5_a_foreign_marker_file_makes_a_storage_unavailable(files: StoredFiles, root: Path, marker: bytes) -> None:
    before = (root / ".annals-storage").read_bytes()
    (root / ".annals-storage").write_bytes(marker)
    assert "marker file" in refused(files, image())
    (root / ".annals-storage").unlink()
    assert "no marker file" in refused(files, image())
    (root / ".annals-storage").write_bytes(before)
    keep(files, image())


def test_F17_a_read_only_storage_refuses_and_is_read(mounted: Callable[[str], Path]) -> None:
    root = mounted("size=8m")
    files = StoredFiles([Storage.open(root, "default", LIMITS)], LIMITS, Indexer(LIMITS))
    content = keep(files, image())
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
    assert "read-only" in refused(files, image(4, 4))
    assert files.is_whole(content)
    again = StoredFiles(
        [Storage.open(root, "default", LIMITS, storage_id=Storage.open(root, "x", LIMITS).storage_id)],
        LIMITS,
        Indexer(LIMITS),
    )
    assert again.is_whole(content)
    assert "read-only" in refused(again, image(4, 4))
    subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
    keep(again, image(4, 4))


def test_P13_the_next_storage_is_tried_first(root: Path, mounted: Callable[[str], Path]) -> None:
    full = Storage.open(mounted("size=1m"), "full", replace(LIMITS, storage_free_min=100 * MIB))
    other = Storage.open(root, "other", LIMITS)
    files = StoredFiles([full, other], LIMITS, Indexer(LIMITS))
    files.check_space()
    assert keep(files, image()).storage == "other"
    with pytest.raises(Refused, match="no storage"):
        StoredFiles([], LIMITS, Indexer(LIMITS)).check_space()


@edges
def test_D21_NET_8_a_storage_takes_objects_down_to_so_much_free_space(
    root: Path, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    limits = Limits(storage_free_min=5 * MIB)
    files = StoredFiles([Storage.open(root, "default", limits)], limits, Indexer(limits))
    free = SimpleNamespace(f_frsize=1, f_bavail=5 * MIB + off, f_flag=0, f_files=1, f_favail=1)
    monkeypatch.setattr(os, "fstatvfs", lambda _: free)
    if off >= 0:
        files.check_space()
        files.check_space(off)
        with pytest.raises(Refused):
            files.check_space(off + 1)
    else:
        with pytest.raises(Refused, match="storage_free_min"):
            files.check_space()
