"""What is gone is answered like what never was, on every resource and whatever the asker still knows of it (B52)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, until
from tests.archive.test_wado import get
from tests.codecs.pictures import made, saved
from tests.conftest import lay_database

ROOT = "1.2.826.0.1.3680043.8.498.31"
GONE, NEVER = f"{ROOT}.1", f"{ROOT}.2"
"""Two studies of as long UIDs; of the second there is nothing at any time."""

LARGE = bytes(range(256)) * 8
ZIP = "application/zip"
SETTINGS = {
    **SMALL,
    "ANNALS_WORKER__ENABLED": "true",
    "ANNALS_LIMITS__STORAGE_CHECK_SECONDS": "0.2",
    "ANNALS_LIMITS__DERIVATION_REST_SECONDS": "0.1",
}
_CHANGING = {"date", "connection"}


def _image(frames: int = 2, private: bytes = LARGE) -> Dataset:
    image = made(frames=frames, bits_allocated=8, bits_stored=8)
    image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = GONE, f"{GONE}.1", f"{GONE}.1.1"
    image.PatientID = ROOT
    image.private_block(0x0029, "ANNALS TEST").add_new(0x01, "OB", private)
    return image


def _send(archive: Archive, path: Path) -> int:
    sample = samples.read(path)
    assert sample
    return samples.send(archive.port, sample)[0]


@dataclass
class Site:
    """An archive with one study, and what an asker knows of it."""

    archive: Archive
    file: Path
    etags: dict[str, str] = field(default_factory=dict)

    def resources(self) -> list[str]:
        """Everything that can be asked of the study, with what its metadata says of its bulk data."""
        status, _, body = get(self.archive, "/openapi.json")
        assert status == 200
        names = {"study_uid": GONE, "series_uid": f"{GONE}.1", "instance_uid": f"{GONE}.1.1", "frames": "2"}
        paths = [path.removeprefix("/dicom-web") for path, said in json.loads(body)["paths"].items() if "get" in said]
        found = [
            path.format(**names, path=value)
            for path in paths
            if "{study_uid}" in path
            for value in (("00291001", "7FE00010") if "{path}" in path else ("",))
        ]
        found.append(f"/wado?requestType=WADO&studyUID={GONE}&seriesUID={GONE}.1&objectUID={GONE}.1.1")
        found += [f"{level}?StudyInstanceUID={GONE}" for level in ("/studies", "/series", "/instances")]
        return found

    def asks(self) -> list[tuple[str, dict[str, str]]]:
        """The resources, each as it is asked for by who has it already, and the downloads."""
        asked: list[tuple[str, dict[str, str]]] = []
        for path in self.resources():
            asked.append((path, {}))
            if path in self.etags:
                asked += [(path, {"If_None_Match": self.etags[path]}), (path, {"If_None_Match": "*"})]
        asked += [(f"/studies/{GONE}", {"Accept": ZIP}), (f"/studies/{GONE}/series/{GONE}.1", {"Accept": ZIP})]
        return asked

    def said(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """An answer, with the UIDs of the one study in it as those of the other."""
        status, got, body = get(self.archive, path, **headers)
        return status, _told(got), body.replace(GONE.encode(), NEVER.encode())


def _told(headers: Message) -> dict[str, str]:
    return {
        name.lower(): value.replace(GONE, NEVER) for name, value in headers.items() if name.lower() not in _CHANGING
    }


def _by_a_removed_storage(site: Site) -> None:
    site.archive.annals("storage", "edit", "default", "--disable")
    site.archive.annals("storage", "remove", "default", "--force")


def _by_a_removed_storage_and_a_rebuild(site: Site) -> None:
    _by_a_removed_storage(site)
    site.archive.annals("rebuild", "catalogue")


def _by_a_storage_removed_with_its_files(site: Site) -> None:
    site.archive.annals("storage", "edit", "default", "--disable")
    site.archive.annals("storage", "remove", "default", "--files", "--force", "--yes")


def _by_the_log_of_an_earlier_day(site: Site) -> None:
    """Its files and all that was prepared of them stay (F49)."""
    assert site.archive.stop() == 0
    database = site.archive.data / "postgres"
    shutil.rmtree(database)
    lay_database(database)
    site.archive.start()


WAYS: dict[str, Callable[[Site], None]] = {
    "a removed storage": _by_a_removed_storage,
    "a removed storage and a rebuild": _by_a_removed_storage_and_a_rebuild,
    "a storage removed with its files": _by_a_storage_removed_with_its_files,
    "the log of an earlier day": _by_the_log_of_an_earlier_day,
}


@pytest.fixture
def site(make_archive: Callable[..., Archive], tmp_path: Path) -> Site:
    made_site = Site(make_archive(SETTINGS).with_database().start(), saved(_image(), tmp_path / "image.dcm"))
    assert _send(made_site.archive, made_site.file) == 0
    listed = ""

    def is_prepared() -> bool:
        nonlocal listed
        listed = made_site.archive.annals("derived", "list").stdout
        return listed.count(": 0 series due, 0 failed") == 2

    until(is_prepared, 60, "metadata and thumbnails are prepared")
    return made_site


@pytest.mark.parametrize("way", WAYS)
def test_B52_a_study_that_is_gone_is_answered_like_one_that_never_was(site: Site, way: str) -> None:
    """Also for the URLs and entity tags of before; PS3.18 Table 10.4.3-1: 404, or not willing to disclose."""
    for path in site.resources():
        status, headers, body = get(site.archive, path)
        assert (status, bool(body)) == (200, True), path
        if headers["ETag"]:
            site.etags[path] = headers["ETag"]
    assert any("thumbnail" in path for path in site.etags)
    assert any("metadata" in path for path in site.etags)
    WAYS[way](site)
    for path, headers in site.asks():
        status, said, body = site.said(path, headers)
        is_search = "?StudyInstanceUID" in path or path.endswith(("/series", "/instances"))
        assert (status, body == b"[]") == ((200, True) if is_search else (404, False)), (path, headers, body)
        assert (status, said, body) == site.said(path.replace(GONE, NEVER), headers), (path, headers)
    status, _, body = get(site.archive, f"/studies?PatientID={ROOT}")
    assert (status, body) == (200, b"[]")


def test_B52_P1_what_comes_again_is_there_again(site: Site, tmp_path: Path) -> None:
    """I1: what is acknowledged is readable, also where the storage that had it is used no more."""
    first = site.archive.data / "storage"
    site.archive.annals("storage", "add", "second", str(tmp_path / "second"), "--create")
    _by_a_removed_storage(site)
    assert get(site.archive, f"/studies/{GONE}")[0] == 404
    until(
        lambda: _send(site.archive, site.file) == 0 and get(site.archive, f"/studies/{GONE}")[0] == 200,
        60,
        "every process knows that the storage is removed",
    )
    for path in site.resources():
        assert get(site.archive, path)[0] == 200, path
    site.archive.annals("storage", "adopt", str(first))
    (found,) = json.loads(get(site.archive, f"/studies?StudyInstanceUID={GONE}")[2])
    assert found["00201208"]["Value"] == [1]
    assert len(site.archive.annals("explain", f"{GONE}.1.1").stdout.splitlines()) == 3


def test_B52_STO_5_a_storage_that_is_back_brings_its_studies_back(site: Site) -> None:
    site.archive.annals("storage", "edit", "default", "--disable")
    site.archive.annals("storage", "remove", "default", "--force")
    assert "InstanceStored" in site.archive.annals("explain", GONE).stdout
    refused = site.archive.annals("storage", "remove", "default", "--files", check=False)
    assert (refused.returncode, "1 instances" in refused.stderr) == (2, True)
    site.archive.annals("storage", "adopt", str(site.archive.data / "storage"))
    for path in site.resources():
        until(lambda path=path: get(site.archive, path)[0] == 200, 60, path)  # type: ignore[misc]


def test_B52_NET_6_an_earlier_version_is_not_read_any_more(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    """The URLs and entity tags of what was overwritten lead to what there is now, or to nothing."""
    archive = make_archive({**SETTINGS, "ANNALS_STORAGE__OVERWRITE_IMAGE": "yes"}).with_database().start()
    assert _send(archive, saved(_image(), tmp_path / "1.dcm")) == 0
    instance = f"/studies/{GONE}/series/{GONE}.1/instances/{GONE}.1.1"
    value = f"{instance}/bulkdata/00291001"
    status, headers, body = get(archive, value)
    assert (status, body) == (200, LARGE)
    tags = {path: get(archive, path)[1]["ETag"] for path in (f"{instance}/metadata", f"{instance}/rendered", value)}
    assert _send(archive, saved(_image(1, b""), tmp_path / "2.dcm")) == 0
    never = get(archive, f"{instance}/bulkdata/00291002")
    for headers in ({}, {"If_None_Match": tags[value]}, {"If_None_Match": "*"}, {"Range": "bytes=0-1"}):
        status, told, body = get(archive, value, **headers)
        assert (status, _told(told), body) == (404, _told(never[1]), never[2])
    for path in (f"{instance}/metadata", f"{instance}/rendered"):
        status, headers, body = get(archive, path, If_None_Match=tags[path])
        assert (status, headers["ETag"] != tags[path]) == (200, True), path
    assert b"bulkdata/00291001" not in get(archive, f"{instance}/metadata")[2]
    assert get(archive, f"{instance}/frames/2")[0] == get(archive, f"{instance}/frames/3")[0] == 400
