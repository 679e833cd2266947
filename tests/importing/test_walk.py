"""Every file is found once, and everything else is passed over with its reason (B67)."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from annals.importing.report import Report
from annals.importing.walk import Found, PassedOver, count, walk


def test_B67_links_pipes_sockets_and_strange_names(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    names = [b"plain.dcm", b"new\nline", b"\xff\xfe undecodable", "name é".encode(), b"-rf"]
    for name in names:
        Path(os.fsdecode(bytes(root / "a") + b"/" + name)).write_bytes(b"x")
    (root / "a" / "b" / "circle").symlink_to(root)
    (root / "out").symlink_to("/etc")
    (root / "broken").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
        seen = list(walk(bytes(root)))
    assert sorted(os.path.basename(one.path) for one in seen if isinstance(one, Found)) == sorted(names)
    passed = {os.path.basename(one.path): one.reason for one in seen if isinstance(one, PassedOver)}
    assert set(passed) == {b"circle", b"out", b"broken", b"pipe", b"socket"}
    assert passed[b"pipe"] == "a pipe"
    assert "not followed" in passed[b"circle"]
    assert not any(one.failed for one in seen if isinstance(one, PassedOver))
    assert count(bytes(root)) == (len(names), len(names))


def test_one_file_and_a_linked_root_are_walked(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one").write_bytes(b"1234")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert [one.path for one in walk(bytes(tmp_path / "folder" / "one"))] == [bytes(tmp_path / "folder" / "one")]
    assert [os.path.basename(one.path) for one in walk(bytes(tmp_path / "link"))] == [b"one"]


def test_a_folder_that_cannot_be_opened_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").write_bytes(b"")
    scandir = os.scandir

    def refuse(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    seen = list(walk(bytes(tmp_path)))
    assert [one.reason for one in seen if isinstance(one, PassedOver) and one.failed] == [
        "cannot be opened: Permission denied"
    ]
    assert len([one for one in seen if isinstance(one, Found)]) == 1


def test_B67_a_report_has_one_line_for_a_file_whatever_its_name(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.txt")
    assert not report.path.exists()
    report.add(b"/x/new\nline\x1b[2J \xff", "reason\nwith newline")
    report.close()
    (line,) = report.path.read_text("utf-8").splitlines()
    assert line == "/x/new\\nline\\x1b[2J \\udcff\treason\\nwith newline"


def test_B67_files_are_found_one_at_a_time_however_many_there_are(tmp_path: Path) -> None:
    many = 20_000
    for number in range(many):
        os.close(os.open(tmp_path / f"{number}", os.O_CREAT | os.O_WRONLY))
    tracemalloc.start()
    try:
        assert sum(1 for _ in walk(bytes(tmp_path))) == many
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200_000
