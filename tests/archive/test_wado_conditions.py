"""Ranges and conditions of what is retrieved as one body (C7.9, C7.14; RFC 9110 13, 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, JPEGBaseline8Bit

from tests.archive.conftest import SMALL, Archive, running_archive
from tests.archive.stow import store
from tests.archive.test_wado import get
from tests.codecs.pictures import made, saved

ROOT = "1.2.826.0.1.3680043.8.498.14"
STREAM = b"\0\0\0\x18ftypmp42" + bytes(range(250)) * 3
JPEG = b"\xff\xd8" + bytes(range(200)) * 5 + b"\xff\xd9"
FILM, FRAME = (f"/studies/{ROOT}/series/{ROOT}.1/instances/{ROOT}.1.{number}" for number in (1, 2))
WHOLES = [
    (f"{FILM}/rendered", "*/*", STREAM),
    (f"{FILM}/bulkdata/7FE00010", "video/mp4", STREAM),
    (f"{FILM}/pixeldata", "video/mp4", STREAM),
    (f"{FRAME}/frames/1", "image/jpeg", JPEG),
    (f"{FRAME}/bulkdata/7FE00010", "image/jpeg", JPEG),
]


def _object(number: int, pixels: bytes, fragments: int) -> Dataset:
    image = made(bits_allocated=8, bits_stored=8)
    image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = ROOT, f"{ROOT}.1", f"{ROOT}.1.{number}"
    image.PixelData = encapsulate([pixels], fragments_per_frame=fragments)
    image["PixelData"].is_undefined_length = True
    return image


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder: Path = tmp_path_factory.mktemp("conditions")
    files = (
        saved(_object(1, STREAM, 1), folder / "film.dcm", MPEG4HP41),
        saved(_object(2, JPEG, 3), folder / "frame.dcm", JPEGBaseline8Bit),
    )
    with running_archive(SMALL) as running:
        assert store(running.dicomweb_port, *(file.read_bytes() for file in files)).status == 200
        yield running


@pytest.mark.parametrize(("path", "accept", "whole"), WHOLES)
def test_C7_9_what_is_one_body_is_given_in_ranges(archive: Archive, path: str, accept: str, whole: bytes) -> None:
    """PS3.18 8.4.1, 10.4.3: Range may be used; RFC 9110 14: a browser that plays a video asks for it only so."""
    status, headers, body = get(archive, path, accept)
    assert (status, headers["Accept-Ranges"], body) == (200, "bytes", whole)
    for asked, first, last in (("0-1", 0, 1), ("300-702", 300, 702), ("-5", len(whole) - 5, len(whole) - 1)):
        status, told, body = get(archive, path, accept, Range=f"bytes={asked}")
        assert (status, body) == (206, whole[first : last + 1])
        assert told["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
        assert (told["Content-Type"], told["ETag"]) == (headers["Content-Type"], headers["ETag"])
    status, told, body = get(archive, path, accept, Range="bytes=0-3,334-337")
    assert (status, told.get_content_type()) == (206, "multipart/byteranges")
    assert len(body) == int(told["Content-Length"])
    parts = re.split(rb"\r\n--" + told.get_param("boundary").encode(), body)
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [whole[:4], whole[334:338]]
    status, told, _ = get(archive, path, accept, Range=f"bytes={len(whole)}-")
    assert (status, told["Content-Range"]) == (416, f"bytes */{len(whole)}")


@pytest.mark.parametrize(("path", "accept", "whole"), WHOLES)
def test_C7_14_conditions_name_what_there_is(archive: Archive, path: str, accept: str, whole: bytes) -> None:
    """RFC 9110 13.1.1 If-Match, 13.1.2 If-None-Match, 13.1.5 If-Range."""
    tag = get(archive, path, accept)[1]["ETag"]
    status, headers, body = get(archive, path, accept, If_None_Match=f'"other", {tag}')
    assert (status, headers["ETag"], body) == (304, tag, b"")
    assert get(archive, path, accept, If_Range=tag, Range="bytes=0-1")[::2] == (206, whole[:2])
    assert get(archive, path, accept, If_Range='"other"', Range="bytes=0-1")[::2] == (200, whole)
    for match, expected in ((tag, 200), ("*", 200), (f'"other", {tag}', 200), ('"other"', 412), (f"W/{tag}", 412)):
        assert get(archive, path, accept, If_Match=match)[0] == expected


@pytest.mark.parametrize("resource", ["metadata", "rendered"])
def test_C7_14_nothing_else_is_given_than_If_Match_names(archive: Archive, resource: str) -> None:
    """RFC 9110 13.1.1: the condition must be evaluated."""
    path = f"{FILM}/{resource}"
    tag = get(archive, path)[1]["ETag"]
    assert get(archive, path, If_Match='"other"')[0] == 412
    assert get(archive, path, If_Match=tag)[0] == 200


def test_C7_14_a_tag_of_a_multipart_answer_is_weak(archive: Archive) -> None:
    """RFC 9110 8.8.1: a strong one changes with any byte, and each answer has a boundary of its own."""
    answers = [get(archive, f"{FILM}/metadata", 'multipart/related; type="application/dicom+xml"') for _ in "12"]
    assert answers[0][2] != answers[1][2]
    assert answers[0][1]["ETag"] == answers[1][1]["ETag"]
    assert answers[0][1]["ETag"].startswith('W/"')
    assert get(archive, f"{FILM}/metadata", "multipart/related", If_None_Match=answers[0][1]["ETag"])[0] == 304
