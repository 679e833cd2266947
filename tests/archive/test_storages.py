"""Storages of a running archive: filled, taken away, moved, scrubbed, reconciled and adopted (STO-1 to STO-5)."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.ae import ApplicationEntity

from tests.archive import samples, stow
from tests.archive.conftest import SMALL, Archive, until
from tests.dicom.encoding import minimal

SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700
SETTINGS = {**SMALL, "ANNALS_LIMITS__STORAGE_CHECK_SECONDS": "0.2"}
MIB = 1024 * 1024

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Small file systems at paths of their own, unmounted at the end however often they were mounted."""
    made: list[Path] = []

    def make(name: str, size: int) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "annals-test", str(folder)], check=True)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        while subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False).returncode == 0:
            pass


class Sender:
    """Sends fresh CT images of a size, each on an association of its own."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.sent: list[str] = []
        self.study = generate_uid()

    def __call__(self, extra: int = 0) -> int:
        image = dcmread(samples.SAMPLES / "CT_small.dcm")
        image.StudyInstanceUID = self.study
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.add_new(0x00091010, "OB", os.urandom(extra + extra % 2))
        ae = ApplicationEntity("MODALITY")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", self._archive.port, ae_title="ANNALS")
        assert association.is_established
        status = int(association.send_c_store(image).get("Status", -1))
        association.release()
        if status == SUCCESS:
            self.sent.append(image.SOPInstanceUID)
        return status


def given(archive: Archive, study: str, folder: Path) -> set[str]:
    """The instances of a study that C-GET gives back."""
    folder.mkdir()
    archive.dcmtk(
        "getscu", "-S", "-od", str(folder), "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"
    )
    return {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in folder.iterdir()}


def storing_in(archive: Archive, send: Sender, folder: Path) -> bool:
    """Whether the next object lands in this folder."""
    before = len(objects(folder))
    return send() == SUCCESS and len(objects(folder)) > before


def objects(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/?/*.dcm"))


def announced(archive: Archive, size: int, content_type: str) -> int:
    """What a body of a size over HTTP is answered with before it is sent: 100, or why not."""
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), 20) as connection:
        head = (
            f"POST /studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {size}\r\n"
        )
        connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        return int(connection.makefile("rb").readline().split()[1])


def times(archive: Archive, fact: str, name: str, trouble: str) -> int:
    """How often a storage failed, or recovered, in this way."""
    lines = archive.annals("events", "--stream", name).stdout.splitlines()
    return sum(fact in line and f"trouble={trouble} " in line for line in lines)


def test_STO_1_F10_the_next_storage_takes_over_both_full_is_A700_and_space_brings_it_back(
    make_archive: Callable[..., Archive], disk: Callable[[str, int], Path], tmp_path: Path
) -> None:
    first, second = disk("first", 24 * MIB), disk("second", 24 * MIB)
    settings = {**SETTINGS, "ANNALS_STORAGE__PATH": str(first / "s"), "ANNALS_LIMITS__STORAGE_FREE_MIN": str(4 * MIB)}
    archive = make_archive(settings).with_database().start()
    archive.annals("storage", "add", "second", str(second / "s"), "--create")
    until(lambda: announced(archive, 30 * MIB, stow.RELATED) == 100, 60, "both together have the space")
    assert announced(archive, 60 * MIB, stow.RELATED) == 507
    assert announced(archive, 10 * MIB, stow.DICOM) == 100
    assert announced(archive, 30 * MIB, stow.DICOM) == 507
    send = Sender(archive)
    until(lambda: send(2 * MIB) == SUCCESS and len(objects(second / "s")) > 0, 60, "the second storage is written")
    assert len(objects(first / "s")) > 0
    until(lambda: send(2 * MIB) == OUT_OF_RESOURCES and archive.health()[0] == 503, 60, "both are full, and it says so")
    until(lambda: stow.store(archive.dicomweb_port, stow.part10(minimal())).status == 507, 60, "HTTP says it too")
    before = len(objects(first / "s")) + len(objects(second / "s"))
    assert stow.store(archive.dicomweb_port, stow.part10(minimal())).status == 507
    assert len(objects(first / "s")) + len(objects(second / "s")) == before
    until(lambda: times(archive, "StorageFailed", "second", "space") == 1, 60, "it is a fact")
    assert times(archive, "StorageFailed", "default", "space") == 1
    # Zero would mean that it is not there.
    assert re.search(r"second +enabled +[1-9][0-9.]* MiB +[1-9][0-9.]* MiB ", archive.annals("storage", "list").stdout)
    until(lambda: gives_all(archive, send, tmp_path), 60, "everything is given back (full)")
    subprocess.run(["mount", "-o", f"remount,size={64 * MIB}", str(first)], check=True)
    until(lambda: send() == SUCCESS, 60, "it goes on by itself")
    until(lambda: times(archive, "StorageRecovered", "default", "space") == 1, 60, "that is a fact too")
    until(lambda: gives_all(archive, send, tmp_path), 60, "everything is given back (again)")
    lines = [json.loads(line) for line in archive.log_lines().splitlines()]
    tellers = [line["process"] for line in lines if "storage second refuses objects (space)" in line["message"]]
    assert len(tellers) == len(set(tellers))
    refusals = [line["message"] for line in lines if line["part"] in ("annals.dimse.store", "annals.http")]
    assert [line for line in refusals if "too little free space for" not in line] == [], "a line for each object"


def test_STO_1_F15_a_storage_that_is_not_mounted_is_never_written_and_comes_back(
    make_archive: Callable[..., Archive], disk: Callable[[str, int], Path], tmp_path: Path
) -> None:
    mount = disk("mounted", 64 * MIB)
    archive = make_archive({**SETTINGS, "ANNALS_STORAGE__PATH": str(tmp_path / "kept")}).with_database().start()
    spare = tmp_path / "spare"
    archive.annals("storage", "add", "mounted", str(mount / "s"), "--create")
    archive.annals("storage", "add", "spare", str(spare), "--create")
    archive.annals("storage", "edit", "default", "--disable")
    send = Sender(archive)
    until(lambda: storing_in(archive, send, mount / "s"), 60, "the mounted one is written")
    series = dcmread(samples.SAMPLES / "CT_small.dcm").SeriesInstanceUID
    away = f"studies/{send.study}/series/{series}/instances/{send.sent[-1]}"
    held = tmp_path / "held"
    held.mkdir()
    subprocess.run(["mount", "--bind", str(mount), str(held)], check=True)
    try:
        subprocess.run(["umount", "-l", str(mount)], check=True)
        until(lambda: storing_in(archive, send, spare), 60, "the spare one takes over")
        assert list(mount.iterdir()) == []
        listed = archive.annals("storage", "list").stdout
        assert re.search(r"mounted +enabled +0\.0 GiB", listed)
        until(lambda: times(archive, "StorageFailed", "mounted", "folder") == 1, 60, "it is a fact")
        assert [archive.dicomweb(path) for path in (away, f"{away}/frames/1", f"{away}/bulkdata")] == [503] * 3
        assert not gives_all(archive, send, tmp_path)
        assert not re.search("cannot be sent|answered 503", archive.log_lines())
        subprocess.run(["mount", "--bind", str(held), str(mount)], check=True)
        until(lambda: storing_in(archive, send, mount / "s"), 60, "it comes back by itself")
        until(lambda: times(archive, "StorageRecovered", "mounted", "folder") == 1, 60, "that is a fact too")
        until(lambda: gives_all(archive, send, tmp_path), 60, "everything is given back (given)")
    finally:
        subprocess.run(["umount", "-l", str(held)], check=False)


def test_STO_2_STO_5_a_storage_is_moved_removed_adopted_scrubbed_and_reconciled(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    limits = {
        **SETTINGS,
        "ANNALS_LIMITS__MOVED_FILE_GRACE_SECONDS": "0.1",
        "ANNALS_LIMITS__ORPHAN_GRACE_SECONDS": "0.1",
    }
    archive = make_archive(limits).with_database().start()
    default, second = archive.data / "storage", tmp_path / "second"
    send = Sender(archive)
    for _ in range(5):
        assert send() == SUCCESS
    added = archive.annals("storage", "add", "second", str(second), "--create")
    assert "one partition" in added.stderr
    enabled = archive.annals("storage", "move", "default", "second", check=False)
    assert (enabled.returncode, "--disable" in enabled.stderr) == (2, True)
    archive.annals("storage", "edit", "default", "--disable")
    moved = archive.annals("storage", "move", "default", "second")
    assert "5 instances moved" in moved.stdout
    assert (len(objects(default)), len(objects(second))) == (0, 5)
    until(lambda: gives_all(archive, send, tmp_path), 60, "everything is given back (moved)")
    assert "0 instances moved" in archive.annals("storage", "move", "default", "second").stdout

    used = archive.annals("storage", "remove", "second", check=False)
    assert (used.returncode, "--disable" in used.stderr) == (2, True)
    archive.annals("storage", "edit", "second", "--disable")
    for options in ((), ("--files",)):
        held = archive.annals("storage", "remove", "second", *options, check=False)
        assert (held.returncode, "5 instances" in held.stderr) == (2, True)
    assert len(objects(second)) == 5
    archive.annals("storage", "remove", "second", "--force")
    until(lambda: given_nothing(archive, send.study, tmp_path), 60, "what it holds cannot be read")
    other = tmp_path / "elsewhere"
    shutil.move(second, other)
    assert "is back" in archive.annals("storage", "adopt", str(other)).stdout
    until(lambda: send() == SUCCESS, 60, "it is written again")
    until(lambda: gives_all(archive, send, tmp_path), 60, "everything is given back (adopted)")

    assert "6 instances of second are whole, 0 are not" in archive.annals("storage", "scrub", "second").stdout
    assert "0 differences left" in archive.annals("storage", "reconcile", "second").stdout
    flipped, gone, *_ = objects(other)
    raw = bytearray(flipped.read_bytes())
    raw[-1] ^= 1
    flipped.write_bytes(raw)
    scrubbed = archive.annals("storage", "scrub", "second", check=False)
    assert (scrubbed.returncode, "1 are not" in scrubbed.stdout) == (1, True)
    lost = tmp_path / "lost.dcm"
    shutil.move(gone, lost)
    stranger = other / "ab" / "c" / f"abc{'0' * 61}.dcm"
    stranger.write_bytes(b"no DICOM file")
    os.utime(stranger, (1, 1))
    looked = archive.annals("storage", "reconcile", "second", check=False)
    assert (looked.returncode, "2 differences left" in looked.stdout) == (1, True)
    assert stranger.exists()
    mended = archive.annals("storage", "reconcile", "second", "--mend")
    assert "recorded as unreadable" in mended.stdout
    assert "set aside as .orphans/" in mended.stdout
    assert (other / ".orphans" / stranger.name).read_bytes() == b"no DICOM file"
    unreadable = [line for line in archive.annals("events").stdout.splitlines() if "InstanceUnreadable" in line]
    assert len(unreadable) == 2


def test_F16_F17_F49_read_only_foreign_copied_and_unknown_folders(
    make_archive: Callable[..., Archive], disk: Callable[[str, int], Path], tmp_path: Path
) -> None:
    mount, spare = disk("disk", 64 * MIB), tmp_path / "spare"
    kept = mount / "s"
    # A storage whose write failed is asked last for a while.
    limits = {
        **SETTINGS,
        "ANNALS_LIMITS__ORPHAN_GRACE_SECONDS": "0.1",
        "ANNALS_LIMITS__STORAGE_SUSPECT_SECONDS": "0.5",
    }
    archive = make_archive({**limits, "ANNALS_STORAGE__PATH": str(kept)}).with_database().start()
    archive.annals("storage", "add", "spare", str(spare), "--create")
    send = Sender(archive)
    until(lambda: storing_in(archive, send, kept), 60, "the first is written")

    remount = ("mount", "-o", "remount,ro", str(mount))
    # Who was answered may be a moment ahead of the file's last descriptor.
    until(lambda: subprocess.run(remount, capture_output=True, check=False).returncode == 0, 60, "nobody writes")
    until(lambda: storing_in(archive, send, spare), 60, "the next takes over from a read-only one")
    until(lambda: gives_all(archive, send, tmp_path), 60, "everything is given back (read-only)")
    subprocess.run(["mount", "-o", "remount,rw", str(mount)], check=True)
    until(lambda: storing_in(archive, send, kept), 60, "it comes back by itself")

    own = (kept / ".annals-storage").read_bytes()
    (kept / ".annals-storage").write_text("00000000-0000-0000-0000-000000000000\n")
    until(lambda: storing_in(archive, send, spare), 60, "the next takes over from a foreign one")
    (kept / ".annals-storage").write_bytes(own)
    until(lambda: storing_in(archive, send, kept), 60, "it comes back when it is the right one again")
    for trouble in ("space", "folder"):
        until(lambda: times(archive, "StorageRecovered", "default", trouble) == 1, 60, trouble)  # noqa: B023

    copy = tmp_path / "copy"
    shutil.copytree(kept, copy)
    enabled = archive.annals("storage", "edit", "default", "--path", str(copy), check=False)
    assert (enabled.returncode, "--disable" in enabled.stderr) == (2, True)
    archive.annals("storage", "edit", "default", "--disable")
    (lost, *_) = objects(copy)
    aside = lost.rename(tmp_path / "lost")
    incomplete = archive.annals("storage", "edit", "default", "--path", str(copy), check=False)
    assert (incomplete.returncode, "1 files of default are not in" in incomplete.stderr) == (2, True)
    aside.rename(lost)
    archive.annals("storage", "edit", "default", "--path", str(copy), "--enable")
    assert not (kept / ".annals-storage").exists()
    until(lambda: storing_in(archive, send, copy), 60, "the copy is written")
    until(lambda: gives_all(archive, send, tmp_path), 60, "everything is given back (copy)")
    for path in (str(tmp_path / "mistyped"), str(copy / "inside"), "/etc/pacs", "relative"):
        refused = archive.annals("storage", "add", "third", path, check=False)
        assert (refused.returncode, "path:" in refused.stderr) == (2, True)
    assert not (tmp_path / "mistyped").exists()
    assert archive.stop() == 0

    other = make_archive(limits).with_database().start()
    for number, folder in enumerate((copy, spare)):
        other.annals("storage", "add", f"found{number}", str(folder))
        looked = other.annals("storage", "reconcile", f"found{number}", check=False)
        assert (looked.returncode, f"{len(objects(folder))} differences left" in looked.stdout) == (1, True)
        adopted = other.annals("storage", "reconcile", f"found{number}", "--adopt")
        assert "0 differences left" in adopted.stdout
    again = Sender(other)
    again.study, again.sent = send.study, send.sent
    until(lambda: gives_all(other, again, tmp_path), 60, "everything is given back (adopted)")


def gives_all(archive: Archive, send: Sender, folder: Path) -> bool:
    """Whether all that was sent is given back; each process follows a change within a second."""
    return given(archive, send.study, folder / generate_uid()) == set(send.sent)


def given_nothing(archive: Archive, study: str, folder: Path) -> bool:
    there = folder / generate_uid()
    return given(archive, study, there) == set()
