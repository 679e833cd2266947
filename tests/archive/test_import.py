"""``annals import`` and ``dcm_import`` against a running archive and DCMTK's storescp (CLI-2)."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.archive import samples
from tests.archive.conftest import Archive, free_port, until

PROGRAM = Path(sys.executable).parent / "dcm_import"


class Importing:
    """The command with a home and a report folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.home, self.reports = folder / "home", folder / "reports"
        self.environment = {**os.environ, "HOME": str(self.home)}
        self.home.mkdir()

    def arguments(self, port: int, path: Path, *more: str) -> list[str]:
        return [str(PROGRAM), "127.0.0.1", str(port), str(path), "ANNALS", "--reports", str(self.reports), *more]

    def run(self, port: int, path: Path, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.arguments(port, path, *more),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def report(self, name: str) -> list[str]:
        return [line for path in self.reports.glob(f"*-{name}.txt") for line in path.read_text().splitlines()]


@pytest.fixture
def importing(tmp_path: Path) -> Importing:
    return Importing(tmp_path)


def images(folder: Path, count: int) -> list[str]:
    """CT images in nested folders; their UIDs."""
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    uids = []
    for number in range(count):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        uids.append(image.SOPInstanceUID)
        inside = folder / f"{number % 5}" / "deep"
        inside.mkdir(parents=True, exist_ok=True)
        image.save_as(inside / f"{number}.dcm")
    return uids


def stored(archive: Archive, uids: list[str]) -> int:
    shown = archive.annals("events").stdout
    return sum(shown.count(f"sop_instance_uid={uid} ") for uid in uids)


def files_kept(archive: Archive) -> int:
    return len(list((archive.data / "storage").glob("??/?/*")))


def more_than(archive: Archive, count: int) -> bool:
    return files_kept(archive) > count


def test_every_file_is_tried_and_two_reports_tell_what_is_not_there(
    archive: Archive, importing: Importing, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    uids = images(folder, 7)
    (folder / "notes.txt").write_text("no DICOM\n")
    (folder / "empty.dcm").touch()
    (folder / "link").symlink_to(folder)
    (folder / "other name.dcm").write_bytes((samples.SAMPLES / "JPEGLSNearLossless_08.dcm").read_bytes())
    os.mkfifo(folder / "pipe")
    done = importing.run(archive.port, folder)
    assert done.returncode == 1, done.stderr
    assert "sent: 7\n" in done.stdout
    assert stored(archive, uids) == 7
    unreadable = importing.report("unreadable")
    assert len(unreadable) == 4
    for words in ("notes.txt\tnot a DICOM file", "empty.dcm\tthe file is empty", "symbolic link", "a pipe"):
        assert any(words in line for line in unreadable)
    (line,) = importing.report("not-sent")
    assert "other name.dcm\tthe server answered C000: " in line
    again = importing.run(archive.port, folder)
    assert "sent: 0, 7 by an earlier run" in again.stdout
    assert stored(archive, uids) == 7


def test_files_are_sent_as_they_are_in_every_syntax_over_one_association(
    archive: Archive, importing: Importing, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    sent = list(samples.converted(folder))
    before = archive.log_lines().count("ended early")
    done = importing.run(archive.port, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"sent: {len(sent)}\n" in done.stdout
    kept = {path.name[:64] for path in (archive.data / "storage").glob("??/?/*.dcm")}
    assert {samples.digest(sample) for sample in sent} <= kept
    assert archive.log_lines().count("ended early") == before
    assert not importing.reports.exists()
    assert list((importing.home / ".local" / "state" / "annals").iterdir()) == []


def test_an_interrupted_import_says_so_and_the_next_run_goes_on(
    archive: Archive, importing: Importing, tmp_path: Path
) -> None:
    uids = images(tmp_path / "files", 400)
    for number, expected in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        reached = stored(archive, uids)
        with subprocess.Popen(
            importing.arguments(archive.port, tmp_path / "files"),
            env=importing.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as running:
            wanted = files_kept(archive) + 20
            until(partial(more_than, archive, wanted), 60, "it sends")
            running.send_signal(number)
        assert running.returncode == expected
        assert reached < stored(archive, uids) < 400
    done = importing.run(archive.port, tmp_path / "files")
    assert done.returncode == 0, done.stderr
    assert "by an earlier run" in done.stdout
    assert stored(archive, uids) == 400


def test_a_server_that_goes_away_is_waited_for_then_given_up_with_a_message(
    make_archive: Callable[..., Archive], importing: Importing, tmp_path: Path
) -> None:
    uids = images(tmp_path / "files", 300)
    archive = make_archive().start()
    with subprocess.Popen(
        importing.arguments(archive.port, tmp_path / "files"),
        env=importing.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until(partial(more_than, archive, 20), 60, "it sends")
        archive.stop(signal.SIGKILL)
        assert running.stderr
        words = running.stderr.read()
    assert running.returncode == 3
    assert f"127.0.0.1:{archive.port}" in words
    assert "Traceback" not in words
    archive.start()
    assert importing.run(archive.port, tmp_path / "files").returncode == 0
    assert stored(archive, uids) == 300


def test_a_foreign_server_gets_every_object(importing: Importing, tmp_path: Path) -> None:
    images(tmp_path / "files", 12)
    (tmp_path / "got").mkdir()
    port = free_port()
    with subprocess.Popen(["storescp", "-od", str(tmp_path / "got"), str(port)], stderr=subprocess.DEVNULL) as storescp:
        try:
            done = importing.run(port, tmp_path / "files")
            assert done.returncode == 0, done.stderr
        finally:
            storescp.terminate()
    assert len(list((tmp_path / "got").iterdir())) == 12


def test_without_arguments_it_asks_on_a_terminal_and_shows_a_bar(
    archive: Archive, importing: Importing, tmp_path: Path
) -> None:
    uids = images(tmp_path / "files", 5)
    controlling, terminal = pty.openpty()
    with subprocess.Popen(
        [str(PROGRAM)],
        env={**importing.environment, "TERM": "xterm", "COLUMNS": "120"},
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as running:
        os.close(terminal)
        answers = iter(["", f"{archive.port}", str(tmp_path / "files"), ""])
        seen = b""
        asked = 0
        while True:
            try:
                got = os.read(controlling, 4096)
            except OSError:
                break
            seen += got
            if seen.count(b"]: ") > asked:
                asked += 1
                os.write(controlling, f"{next(answers)}\n".encode())
        os.close(controlling)
    text = seen.decode("utf-8", "replace")
    assert running.returncode == 0, text
    for words in ("[127.0.0.1]", "[3000]", "[ANNALS]", "files/s", "5 of 5 files", "sent: 5"):
        assert words in text, text
    assert stored(archive, uids) == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["127.0.0.1"], "all four"),
        (["127.0.0.1", "3000", "/"], "all four"),
        (["127.0.0.1", "x", "/", "ANNALS"], "integer"),
        (["127.0.0.1", "70000", "/", "ANNALS"], "PORT"),
        (["127.0.0.1", "3000", "/no/such/folder", "ANNALS"], "PATH"),
        (["127.0.0.1", "3000", "/", "A TITLE THAT IS TOO LONG"], "AE title"),
        ([], "no terminal"),
    ],
)
def test_wrong_arguments_are_told_with_exit_code_2(importing: Importing, arguments: list[str], says: str) -> None:
    for program in ([str(PROGRAM)], [sys.executable, "-m", "annals", "import"]):
        done = subprocess.run(
            [*program, *arguments],
            env=importing.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_exit_code_3(importing: Importing, tmp_path: Path) -> None:
    images(tmp_path / "files", 1)
    done = importing.run(free_port(), tmp_path / "files")
    assert done.returncode == 3
    assert "no connection" in done.stderr
