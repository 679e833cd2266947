"""``annals import`` and ``dcm_import`` against a running archive and DCMTK's storescp (CLI-2)."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pynetdicom.presentation import AllStoragePresentationContexts

from tests.archive import samples
from tests.archive.commands import commands
from tests.archive.conftest import SMALL, Archive, until
from tests.dicom.encoding import minimal
from tests.importing.command_runs import PROGRAM, Importing, images
from tests.ports import free_port


@pytest.fixture
def importing(tmp_path: Path) -> Importing:
    return Importing(tmp_path)


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
    done = importing.run(archive.port, folder)
    assert done.returncode == 0
    assert f"sent: 0, {len(sent)} by an earlier run (--again sends them again)\n" in done.stdout
    assert f"sent: {len(sent)}\n" in importing.run(archive.port, folder, "--again").stdout


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
    archive = make_archive(SMALL).with_database().start()
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


def on_a_terminal(importing: Importing, folder: Path, answers: list[str]) -> tuple[int, str]:
    """The exit code of the bare command and what its user saw, having given these answers to its questions."""
    controlling, terminal = pty.openpty()
    with subprocess.Popen(
        [str(PROGRAM)],
        env={**importing.environment, "TERM": "xterm", "COLUMNS": "120"},
        cwd=folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0),
    ) as running:
        os.close(terminal)
        seen, asked = b"", 0
        while True:
            if not select.select([controlling], [], [], 1)[0]:
                # An interrupt between the question and the reading of its answer is lost: people press again.
                if asked and answers[asked - 1] == "\x03":
                    os.write(controlling, b"\x03")
                continue
            try:
                got = os.read(controlling, 4096)
            except OSError:
                break
            seen += got
            if seen.count(b"]: ") > asked and asked < len(answers):
                os.write(controlling, answers[asked].encode())
                asked += 1
        os.close(controlling)
    return running.returncode, seen.decode("utf-8", "replace")


def test_without_arguments_it_asks_on_a_terminal_and_shows_a_bar(
    archive: Archive, importing: Importing, tmp_path: Path
) -> None:
    uids = images(tmp_path / "files", 5)
    answers = ["\n", "x\n", f"{archive.port}\n", f"{tmp_path / 'files'}\n", "\n"]
    code, text = on_a_terminal(importing, tmp_path, answers)
    assert code == 0, text
    for words in ("[127.0.0.1]", "[3000]", "[ANNALS]", "valid integer", "files/s", "5 of 5 files", "sent: 5"):
        assert words in text, text
    assert stored(archive, uids) == 5


def test_an_interrupt_at_a_question_is_exit_code_130(importing: Importing, tmp_path: Path) -> None:
    code, text = on_a_terminal(importing, tmp_path, ["\n", "\x03"])
    assert code == 130, text
    assert "Traceback" not in text


def test_objects_of_more_classes_than_an_association_carries_are_all_sent(
    archive: Archive, importing: Importing, tmp_path: Path
) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    folder = tmp_path / "files"
    folder.mkdir()
    for number, sop_class in enumerate(classes):
        series = {"study": f"1.2.9.{number}", "series": f"1.2.9.{number}.1", "instance": f"1.2.9.{number}.1.1"}
        (folder / f"{number}").write_bytes(minimal(sop_class=sop_class, **series))
    assert len(classes) > 128
    done = importing.run(archive.port, folder)
    assert f"sent: {len(classes)}\n" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["127.0.0.1"], "all four"),
        (["127.0.0.1", "3000", "/"], "all four"),
        (["127.0.0.1", "x", "/", "ANNALS"], "integer"),
        (["127.0.0.1", "70000", "/", "ANNALS"], "PORT"),
        (["127.0.0.1", "3000", "/no/such/folder", "ANNALS"], "PATH"),
        (["127.0.0.1", "3000", "/dev/null", "ANNALS"], "PATH"),
        (["127.0.0.1", "3000", "/", "A TITLE THAT IS TOO LONG"], "AE title"),
        (["a..b", "3000", "/", "ANNALS"], "host"),
        (["fe80::1%\udcff", "3000", "/", "ANNALS"], "host"),
        (["127.0.0.1", "3000", "/", "ANNALS", "--reports", "/dev/null"], "--reports"),
        (["127.0.0.1", "3000", "/", "ANNALS", "--journal", "/dev/null/none"], "--journal"),
        ([], "no terminal"),
    ],
)
def test_wrong_arguments_are_told_with_exit_code_2(importing: Importing, arguments: list[str], says: str) -> None:
    done = commands().run(["import", *arguments], importing.environment, timeout_seconds=60)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_arguments_are_told_by_dcm_import_too(importing: Importing) -> None:
    done = subprocess.run(
        [PROGRAM, "127.0.0.1"], env=importing.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "all four" in done.stderr


def test_a_server_that_is_not_there_is_exit_code_3(importing: Importing, tmp_path: Path) -> None:
    images(tmp_path / "files", 1)
    done = importing.run(free_port(), tmp_path / "files")
    assert done.returncode == 3
    assert "no connection" in done.stderr
    # Only its zone says which way a link-local address is.
    arguments = ["import", "fe80::1%lo", "104", str(tmp_path / "files"), "ANNALS"]
    done = commands().run(arguments, importing.environment, timeout_seconds=60)
    assert (done.returncode, "no connection" in done.stderr) == (3, True), done.stderr
