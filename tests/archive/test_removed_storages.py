"""A storage that is removed with its files: they are not found, nothing else goes, and it can be killed (STO-2)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, until
from tests.archive.test_storages import SUCCESS, Sender, gives_all, objects
from tests.archive.test_wado import get
from tests.durability import machine

SETTINGS = {**SMALL, "ANNALS_LIMITS__STORAGE_CHECK_SECONDS": "0.2"}
REMOVE = ("storage", "remove", "default", "--files", "--force")


def numbers_found(archive: Archive, study: str) -> list[int]:
    """How many instances of a study C-FIND and QIDO-RS find."""
    ae = ApplicationEntity("WS")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID, wanted.NumberOfStudyRelatedInstances = "STUDY", study, None
    answers = association.send_c_find(wanted, StudyRootQueryRetrieveInformationModelFind)
    found = [int(one.NumberOfStudyRelatedInstances) for _, one in answers if one]
    association.release()
    _, _, body = get(archive, f"/studies?StudyInstanceUID={study}")
    return found + [one["00201208"]["Value"][0] for one in json.loads(body or b"[]")]


def resend(archive: Archive, sent: Sender, number: int, patient_id: str) -> int:
    """Send an instance again under its UIDs, of another patient."""
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    image.StudyInstanceUID, image.PatientID = sent.study, patient_id
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(sent.sent[number])
    ae = ApplicationEntity("MODALITY")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    status = int(association.send_c_store(image).Status)
    association.release()
    return status


def test_STO_2_a_storage_goes_with_its_files_and_with_nothing_else(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = make_archive(SETTINGS).with_database().start()
    default, second = archive.data / "storage", tmp_path / "second"
    send = Sender(archive)
    assert [send() for _ in range(4)] == [SUCCESS] * 4
    size = sum(path.stat().st_size for path in objects(default))
    archive.annals("storage", "add", "second", str(second), "--create")
    enabled = archive.annals(*REMOVE, "--yes", check=False)
    assert (enabled.returncode, "--disable" in enabled.stderr) == (2, True)
    archive.annals("storage", "edit", "default", "--disable")
    outside = tmp_path / "outside"
    outside.mkdir()
    linked = next(leaf for leaf in (default / "ab").iterdir() if leaf.name != "c" and not list(leaf.iterdir()))
    lying = outside / f"ab{linked.name}{'0' * 61}.dcm"
    (default / ".incoming" / "mine").mkdir()
    strangers = [default / "letter.txt", default / "ab/c/notes.dcm", default / ".incoming/mine/x", lying]
    for path in strangers:
        path.write_text("mine")
    (default / "ab" / "c" / f"abc{'0' * 61}.dcm").symlink_to(lying)
    linked.rmdir()
    linked.symlink_to(outside)
    there = objects(default)

    held = archive.annals("storage", "remove", "default", "--files", check=False)
    assert (held.returncode, "4 instances" in held.stderr) == (2, True)
    unasked = archive.annals(*REMOVE, check=False)
    assert (unasked.returncode, f"4 instances of {size} bytes" in unasked.stdout) == (1, True)
    command = [sys.executable, "-m", "annals", *REMOVE, "--data", str(archive.data)]
    for typed, code in (("second", 2), ("default", 0)):
        assert objects(default) == there
        assert numbers_found(archive, send.study) == [4, 4]
        done = subprocess.run(
            command, input=f"{typed}\n", env=archive.environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr
    assert "storage default is removed with 4 files; 5 that are not its own stay" in done.stdout
    for name in ("letter.txt", ".incoming/mine", "ab/c/notes.dcm", f"ab/c/abc{'0' * 61}.dcm", f"ab/{linked.name}"):
        assert f"{default}/{name} is not" in done.stderr
    assert [path.read_text() for path in strangers] == ["mine"] * 4
    assert sorted(path.name for path in default.iterdir()) == [".incoming", "ab", "letter.txt"]
    assert sorted(path.name for path in (default / "ab").iterdir()) == sorted(("c", linked.name))

    assert numbers_found(archive, send.study) == []
    assert archive.dicomweb(f"studies/{send.study}") == 404
    (fact,) = [line for line in archive.annals("events").stdout.splitlines() if "StorageRemoved" in line]
    assert "name=default files=True" in fact
    assert fact in archive.annals("explain", send.study).stdout.splitlines()
    again = archive.annals(*REMOVE, check=False)
    assert (again.returncode, "has nothing of default" in again.stderr) == (2, True)

    first = send.sent
    assert resend(archive, send, 1, "ANOTHER") == SUCCESS
    send.sent = [first[1]]
    until(lambda: gives_all(archive, send, tmp_path), 60, "what comes again is stored anew")
    assert numbers_found(archive, send.study) == [1, 1]
    assert len(objects(second)) == 1
    archive.annals("rebuild", "catalogue")
    assert numbers_found(archive, send.study) == [1, 1]


@pytest.mark.parametrize(
    "place", ["dismantle.before_file=kill@3", "dismantle.before_marker=kill", "dismantle.after_marker=kill"]
)
def test_STO_2_a_killed_removal_finds_nothing_more_and_goes_on(
    make_archive: Callable[..., Archive], tmp_path: Path, place: str
) -> None:
    archive = make_archive(SETTINGS).with_database().start()
    default = archive.data / "storage"
    send = Sender(archive)
    assert [send() for _ in range(4)] == [SUCCESS] * 4
    archive.annals("storage", "edit", "default", "--disable")
    archive.environment["ANNALS_FAILPOINTS"] = place
    killed = archive.annals(*REMOVE, "--yes", check=False)
    del archive.environment["ANNALS_FAILPOINTS"]
    assert killed.returncode == -signal.SIGKILL
    assert len(objects(default)) == (2 if "file" in place else 4)
    assert numbers_found(archive, send.study) == []
    adopted = archive.annals("storage", "adopt", str(default), check=False)
    assert adopted.returncode == 2
    reused = archive.annals("storage", "add", "new", str(default), check=False)
    assert reused.returncode == 2
    done = archive.annals("storage", "remove", "default", "--files")
    assert "its folder is empty" in done.stdout
    assert list(default.iterdir()) == []
    assert archive.annals("events").stdout.count("StorageRemoved") == 1
    archive.annals("storage", "add", "new", str(default))
    until(lambda: send() == SUCCESS, 60, "the empty folder is another storage")


def test_STO_2_C8_5_what_is_received_meanwhile_is_waited_for_and_goes_too(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = make_archive({**SETTINGS, "ANNALS_FAILPOINTS": "receive.kept=stop"}).with_database().start()
    del archive.environment["ANNALS_FAILPOINTS"]
    default = archive.data / "storage"
    send = Sender(archive)
    sending = threading.Thread(target=send)
    sending.start()
    until(lambda: bool(objects(default)), 60, "the object has its name")
    archive.annals("storage", "edit", "default", "--disable")
    removing = threading.Thread(target=archive.annals, args=(*REMOVE, "--yes"))
    removing.start()
    until((default / ".annals-storage.removed").exists, 60, "the removal is a fact")
    until(lambda: bool(stopped(archive)), 60, "the receiver stands before its own fact")
    assert len(objects(default)) == 1
    for pid in stopped(archive):
        os.kill(pid, signal.SIGCONT)
    sending.join()
    removing.join()
    assert len(send.sent) == 1
    assert list(default.iterdir()) == []
    assert numbers_found(archive, send.study) == []
    assert archive.annals("explain", send.sent[0]).stdout.count("StorageRemoved") == 2


@pytest.mark.parametrize("how", ["removed", "removed by force", "elsewhere"])
def test_I1_STO_2_what_is_received_while_its_storage_is_taken_away_is_not_lost(
    make_archive: Callable[..., Archive], tmp_path: Path, how: str
) -> None:
    """The object has its name, and its fact comes when the command has looked what the storage holds."""
    archive = make_archive({**SETTINGS, "ANNALS_FAILPOINTS": "receive.kept=stop"}).with_database().start()
    del archive.environment["ANNALS_FAILPOINTS"]
    default, copy = archive.data / "storage", tmp_path / "copy"
    shutil.copytree(default, copy)
    send = Sender(archive)
    sending = threading.Thread(target=send)
    sending.start()
    until(lambda: bool(stopped(archive)), 60, "the receiver stands before its own fact")
    archive.annals("storage", "edit", "default", "--disable")
    command = {
        "removed": ("storage", "remove", "default"),
        "removed by force": ("storage", "remove", "default", "--force"),
        "elsewhere": ("storage", "edit", "default", "--path", str(copy)),
    }[how]
    said: list[subprocess.CompletedProcess[str]] = []
    taking = threading.Thread(target=lambda: said.append(archive.annals(*command, check=False)))
    taking.start()
    marker = default / ".annals-storage"
    until(lambda: not (marker.exists() and taking.is_alive()), 60, "nobody writes into it any more")
    for pid in stopped(archive):
        os.kill(pid, signal.SIGCONT)
    sending.join()
    taking.join()
    assert len(send.sent) == 1
    (done,) = said
    if how == "removed by force":
        assert done.returncode == 0, done.stderr
        assert numbers_found(archive, send.study) == []
        assert "'annals storage adopt'" in archive.annals("storage", "add", "other", str(default), check=False).stderr
        archive.annals("storage", "adopt", str(default))
    else:
        assert (done.returncode, "meanwhile" in done.stderr) == (2, True), done.stderr
    assert marker.exists()
    until(lambda: gives_all(archive, send, tmp_path), 60, "it is given back")
    state = "enabled" if how == "removed by force" else "disabled"
    assert re.search(rf"default +{state}", archive.annals("storage", "list").stdout)


def stopped(archive: Archive) -> list[int]:
    """The processes of an archive that a failpoint has stopped."""
    return [pid for pid in archive.processes() if machine.state(pid) == "T"]
