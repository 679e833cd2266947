"""The OHIF viewer beside DICOMweb, driven in Chromium: what a person sees who opens a study."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from tests.archive.conftest import SMALL, Archive, running_archive, until

_ROOT = Path(__file__).parent.parent.parent
_CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
_SECONDS = 60
_STUDIES = {"slices": "CT_small.dcm", "frames": "examples_ybr_color.dcm", "compressed": "JPEG2000.dcm"}
_LISTED = {**_STUDIES, "nameless": "MR_small.dcm"}
"""Also a study whose object names no modality."""


def _build() -> Path:
    """The ready build that ``make ohif`` brought."""
    return next(iter(sorted((_ROOT / ".tools").glob("ohif-*/index.html")))).parent


def _stored(archive: Archive, name: str, count: int) -> str:
    """Store a study of ``count`` images made of a sample; its Study Instance UID."""
    study, series = generate_uid(), generate_uid()
    images = []
    for number in range(1, count + 1):
        image = dcmread(get_testdata_file(_LISTED[name]))
        image.StudyInstanceUID, image.SeriesInstanceUID, image.InstanceNumber = study, series, number
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.PatientID = image.PatientName = name.upper()
        if name == "nameless":
            del image.Modality
        if "ImagePositionPatient" in image:
            image.ImagePositionPatient = [*image.ImagePositionPatient[:2], 5.0 * number]
        images.append(image)
    DICOMwebClient(f"{_base(archive)}/dicom-web").store_instances(images)
    return study


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with running_archive({**SMALL, "ANNALS_DICOMWEB__OHIF": str(_build())}) as running:
        yield running


@pytest.fixture(scope="module")
def studies(archive: Archive) -> dict[str, str]:
    return {name: _stored(archive, name, 3 if name == "slices" else 1) for name in _LISTED}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(_CHROMIUM))
        yield opened
        opened.close()


@pytest.fixture
def page(archive: Archive, browser: Browser) -> Iterator[Page]:
    """A page whose every request is answered without an error by the archive alone, and that breaks no policy."""
    faults: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(_SECONDS * 1000)

    def note(is_fault: bool, text: str) -> None:
        if is_fault:
            faults.append(text)

    opened.on("response", lambda answer: note(answer.status >= 400, f"{answer.status} {answer.url}"))
    opened.on("request", lambda asked: note(not asked.url.startswith((_base(archive), "data:", "blob:")), asked.url))
    opened.on("pageerror", lambda error: note(True, str(error)))
    opened.on("console", lambda said: note("Content Security Policy" in said.text, said.text))
    yield opened
    opened.close()
    assert faults == []


def _base(archive: Archive) -> str:
    return f"http://127.0.0.1:{archive.dicomweb_port}"


def _grey(shown: Locator) -> float:
    """How much the pixels of a place on the page differ: nothing where it is of one colour."""
    return float(np.asarray(imagecodecs.png_decode(shown.screenshot())).std())


def _open(page: Page, archive: Archive, study: str) -> Locator:
    """Open a study; the viewport, once an image is in it."""
    page.goto(f"{_base(archive)}/ohif/viewer?StudyInstanceUIDs={study}")
    viewport = page.locator("canvas").first
    viewport.wait_for()
    until(lambda: _grey(viewport) > 5, _SECONDS, "an image is shown")
    return viewport


def test_the_study_list_shows_what_the_archive_holds(page: Page, archive: Archive, studies: dict[str, str]) -> None:
    page.goto(f"{_base(archive)}/ohif/")
    for name in studies:
        expect(page.get_by_text(name.upper()).first).to_be_visible(timeout=_SECONDS * 1000)


@pytest.mark.parametrize("name", list(_STUDIES))
def test_an_image_and_its_thumbnail_are_shown(page: Page, archive: Archive, studies: dict[str, str], name: str) -> None:
    _open(page, archive, studies[name])
    thumbnail = page.locator("[data-cy^=study-browser-thumbnail] img").first
    thumbnail.wait_for()
    until(lambda: _grey(thumbnail) > 5, _SECONDS, "the thumbnail is shown")


@pytest.mark.parametrize(("name", "second"), [("slices", "(2/3)"), ("frames", "(2/30)")])
def test_the_wheel_scrolls_through_slices_and_frames(
    page: Page, archive: Archive, studies: dict[str, str], name: str, second: str
) -> None:
    viewport = _open(page, archive, studies[name])
    viewport.hover()
    page.mouse.wheel(0, 100)
    expect(page.get_by_text(second).first).to_be_visible(timeout=_SECONDS * 1000)


def _asked(archive: Archive, path: str) -> tuple[int, str, str]:
    """Status, policy and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", archive.dicomweb_port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Security-Policy", ""), answer.read().decode(errors="replace")
    finally:
        connection.close()


def test_the_viewer_gives_out_its_build_and_nothing_beside_it(archive: Archive) -> None:
    status, policy, page = _asked(archive, "/ohif/viewer?StudyInstanceUIDs=1.2")
    assert (status, "unsafe-eval'" in policy.replace("wasm-unsafe-eval'", "")) == (200, False)
    assert "frame-ancestors 'none'" in policy
    assert 'src="/ohif/app.bundle' in page
    assert '"wadoRoot":"/dicom-web"' in _asked(archive, "/ohif/app-config.js")[2]
    for path in (
        "/ohif/no-such.js",
        "/ohif/../index.html",
        "/ohif/assets/..%2f..%2f..%2fMakefile",
        "/ohif/assets/no.png",
    ):
        assert _asked(archive, path)[0] == 404, path
