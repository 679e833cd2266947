"""The temp folder (STO-3): conversions use it alone, refuse while it is full or away, and go on by themselves."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapters.codecs.transcoder import Transcoder
from adapters.files.temporary import TemporaryFolder
from domain.errors import Because, Refused
from domain.limits import MIB, Limits
from domain.transcoding import DEFLATED, RLE
from tests.codecs.pictures import made, saved, transcoded
from tests.edges import edges

LIMITS = Limits(temp_free_min=1 * MIB)
PICTURE = {"rows": 512, "columns": 512, "frames": 12}
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A temp folder of 64 MiB."""
    path = tmp_path / "temp"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "annals-test", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def transcoder(folder: Path) -> Iterator[Transcoder]:
    running = Transcoder(LIMITS, 1, TemporaryFolder(LIMITS, str(folder)))
    yield running
    running.close()


def refusal(transcoder: Transcoder, source: Path, syntax: str) -> str:
    with pytest.raises(Refused) as refused:
        transcoded(transcoder, source, syntax)
    assert refused.value.because is Because.OUT_OF_RESOURCES
    return str(refused.value)


def resized(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def test_STO_3_a_full_temp_folder_refuses_is_told_once_and_space_brings_it_back(
    folder: Path, transcoder: Transcoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "annals.files")
    source = saved(made(**PICTURE), tmp_path / "source.dcm")
    transcoded(transcoder, source, RLE)
    filler = folder / "filler"
    filler.write_bytes(bytes(63 * MIB + 512 * 1024))
    for _ in range(3):
        assert "temp_free_min" in refusal(transcoder, source, RLE)
    filler.unlink()
    transcoded(transcoder, source, RLE)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_STO_3_a_conversion_that_does_not_fit_is_refused_and_leaves_nothing(
    folder: Path, transcoder: Transcoder, tmp_path: Path
) -> None:
    source = saved(made(**PICTURE), tmp_path / "source.dcm")
    resized(folder, "2m")
    assert "No space left" in refusal(transcoder, source, RLE)
    assert list(folder.iterdir()) == []
    assert TemporaryFolder(LIMITS, str(folder)).free() == 2 * MIB
    resized(folder, "64m")
    transcoded(transcoder, source, RLE)


def test_STO_3_what_the_child_processes_inflate_lies_in_it_too(
    folder: Path, transcoder: Transcoder, tmp_path: Path
) -> None:
    source = saved(made(**PICTURE), tmp_path / "source.dcm")
    deflated = transcoded(transcoder, source, DEFLATED)
    resized(folder, "2m")
    assert "No space left" in refusal(transcoder, deflated, RLE)
    resized(folder, "64m")
    transcoded(transcoder, deflated, RLE)


def test_STO_3_a_temp_folder_that_is_not_there_refuses(tmp_path: Path) -> None:
    away = TemporaryFolder(LIMITS, str(tmp_path / "none"))
    assert away.free() == 0
    with pytest.raises(Refused, match="not there"), away.file():
        pass
    closed = tmp_path / "closed"
    closed.write_bytes(b"")
    with pytest.raises(Refused, match="Not a directory"), TemporaryFolder(LIMITS, str(closed)).file():
        pass


@edges
def test_D21_STO_3_temp_files_are_made_down_to_so_much_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    folder = TemporaryFolder(LIMITS, str(tmp_path))
    free = SimpleNamespace(f_frsize=1, f_bavail=LIMITS.temp_free_min + off)
    monkeypatch.setattr(os, "statvfs", lambda _: free)
    if off >= 0:
        with folder.file() as descriptor:
            assert os.write(descriptor, b"x") == 1
    else:
        with pytest.raises(Refused, match="temp_free_min"), folder.file():
            pass
