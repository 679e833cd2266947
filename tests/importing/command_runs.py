"""Runs of ``dcm_import`` as a user runs it, each with a home and a report folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.archive import samples

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
