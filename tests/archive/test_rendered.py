"""Rendered resources and thumbnails end to end on one archive: C7.10, B13 to B16, B51, B52, B59, F45 (PS3.18 10.4)."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient

from tests.archive.conftest import Archive, until
from tests.archive.shown_objects import GIF, JPEG, PDF, PNG, ROOT, get, path_of, without_download


@pytest.fixture
def archive(shown_archive: Archive) -> Archive:
    return shown_archive


def _png(archive: Archive, number: str, query: str = "", resource: str = "rendered") -> np.ndarray[Any, Any]:
    status, headers, body = get(archive, f"{path_of(number)}/{resource}{query}", PNG)
    assert (status, headers["Content-Type"]) == (200, PNG), body
    return np.asarray(imagecodecs.png_decode(body))


def test_C7_10_modality_lut_and_window_of_the_object(archive: Archive) -> None:
    """PS3.3 C.11.2.1.2.1 by hand: y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255 for the first window, c 40 and w 1024."""
    x = np.arange(256) * 16 - 1024
    expected = np.rint(np.clip(((x - 39.5) / 1023 + 0.5) * 255, 0, 255))
    assert np.array_equal(_png(archive, "1.1.1")[0], expected)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("linear", lambda x: np.clip((x - 99.5) / 499 + 0.5, 0, 1) * 255),
        ("linear-exact", lambda x: np.clip((x - 100) / 500 + 0.5, 0, 1) * 255),
        ("sigmoid", lambda x: 255 / (1 + np.exp(-4 * (x - 100) / 500))),
    ],
)
def test_C7_10_window_of_the_request_with_each_function(archive: Archive, function: str, expected: Any) -> None:
    """8.3.5.1.4; PS3.3 C.11.2.1.2.1, C.11.2.1.3.2, C.11.2.1.3.1."""
    got = _png(archive, "1.1.1", f"?window=100,500,{function}")
    assert np.array_equal(got[0], np.rint(expected(np.arange(256) * 16.0 - 1024)))


def test_C7_10_viewport_crops_flips_and_scales(archive: Archive) -> None:
    """8.3.5.1.3: vw,vh,sx,sy,sw,sh; the largest picture within the viewport; negative sizes flip."""
    whole = _png(archive, "1.3.1")
    assert whole.shape == (40, 60, 3)
    assert np.array_equal(_png(archive, "1.3.1", "?viewport=20,10,30,20,20,10"), whole[20:30, 30:50])
    assert np.array_equal(_png(archive, "1.3.1", "?viewport=60,40,,,-60,40"), whole[:, ::-1])
    assert np.array_equal(_png(archive, "1.3.1", "?viewport=60,40,,,,-40"), whole[::-1])
    assert np.array_equal(_png(archive, "1.3.1", "?viewport=10,10,50,30"), whole[30:, 50:])
    assert _png(archive, "1.3.1", "?viewport=30,30").shape == (20, 30, 3)
    assert _png(archive, "1.3.1", "?viewport=600,100").shape == (100, 150, 3)
    status, _, body = get(archive, f"{path_of('1.3.1')}/rendered?viewport=10,10,60,0,5,5")
    assert status == 400
    assert "outside" in body.decode()


def test_C7_10_quality_makes_smaller_jpegs(archive: Archive) -> None:
    """8.3.5.1.2."""
    sizes = [len(get(archive, f"{path_of('1.3.1')}/rendered?quality={number}", JPEG)[2]) for number in (5, 50, 100)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


@pytest.mark.parametrize(
    ("accept", "number", "expected"),
    [
        ("*/*", "1.1.1", JPEG),
        ("image/*", "1.1.1", JPEG),
        ("image/png, image/jpeg;q=0.5", "1.1.1", PNG),
        ("image/webp, image/*;q=0.8", "1.1.1", JPEG),
        ("image/jp2", "1.1.1", "image/jp2"),
        ("*/*", "1.2.1", GIF),
        (JPEG, "1.2.1", JPEG),
        ("*/*", "3.1.1", "text/html; charset=utf-8"),
        ("text/plain", "3.1.1", "text/plain; charset=utf-8"),
        ("text/xml", "3.1.1", "text/xml"),
        ("*/*", "3.2.1", "application/pdf"),
        ("application/pdf", "3.2.1", "application/pdf"),
        ("*/*", "3.2.2", "text/xml"),
    ],
)
def test_C7_10_the_media_type_is_negotiated(archive: Archive, accept: str, number: str, expected: str) -> None:
    """8.7.4 Table 8.7.4-1, 8.7.8.1."""
    status, headers, body = get(archive, f"{path_of(number)}/rendered", accept)
    assert (status, headers["Content-Type"]) == (200, expected)
    assert int(headers["Content-Length"]) == len(body)
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("number", "accept", "status"),
    [
        ("1.1.1", "video/mp4", 406),
        ("1.1.1", "application/dicom", 406),
        ("1.1.1", "text/html", 406),
        ("3.1.1", JPEG, 406),
        ("3.3.1", "*/*", 406),
        ("3.2.3", "*/*", 406),
        ("3.2.4", "*/*", 406),
        ("4.1.1", "*/*", 406),
        ("4.1.2", "*/*", 406),
        ("9.9.9", "*/*", 404),
        ("9", "*/*", 404),
        ("1.9", "*/*", 404),
        ("1.1.9", "*/*", 404),
    ],
)
def test_C7_10_B14_B16_B51_what_cannot_be_shown_says_so(
    archive: Archive, number: str, accept: str, status: int
) -> None:
    """Table 10.4.3-1: 404 and 406; 8.7.8.1."""
    got, headers, body = get(archive, f"{path_of(number)}/rendered", accept)
    assert (got, headers["Content-Type"]) == (status, "application/problem+json")
    assert json.loads(body)["status"] == status
    assert archive.ready()


@pytest.mark.parametrize(
    "query",
    [
        "window=40",
        "window=40,400",
        "window=40,400,cubic",
        "window=40,0,linear",
        "window=nan,400,linear",
        "window=1e999,400,linear",
        "viewport=1000000000,1000000000",
        "viewport=0,10",
        "viewport=-1,10",
        "viewport=100",
        "viewport=100,100,1,1,0,5",
        "viewport=100,100,1,1,1,1,1",
        "quality=0",
        "quality=101",
        "quality=",
        "quality=abc",
        "annotation=",
        "annotation=patient,height",
        "iccprofile=cmyk",
        "quality=5&quality=6",
    ],
)
def test_B59_wrong_parameters_are_named(archive: Archive, query: str) -> None:
    """8.3: an invalid value of a supported parameter is 400."""
    status, _, body = get(archive, f"{path_of('1.1.1')}/rendered?{query}")
    assert status == 400
    assert json.loads(body)["faults"][0].startswith(query.partition("=")[0])


def test_B59_all_faults_at_once(archive: Archive) -> None:
    status, _, body = get(archive, f"{path_of('1.1.1')}/rendered?quality=0&window=1&viewport=9")
    assert status == 400
    assert len(json.loads(body)["faults"]) == 3


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ("0", 400),
        ("-1", 400),
        ("x", 400),
        ("1,,2", 400),
        ("1000000000", 400),
        ("1,1", 400),
        ("4", 404),
        ("1,4", 404),
        ("3", 200),
    ],
)
def test_B59_frames_that_are_not_there(archive: Archive, frames: str, status: int) -> None:
    assert get(archive, f"{path_of('1.2.1')}/frames/{frames}/rendered", PNG)[0] == status


def test_B59_ten_thousand_frames_are_more_than_a_request_may_ask(archive: Archive) -> None:
    many = ",".join(["1"] * 10_001)
    assert get(archive, f"{path_of('1.2.1')}/frames/{many}/rendered", PNG)[0] in (400, 414)


def test_C7_10_frames_of_a_multi_frame_object(archive: Archive) -> None:
    """10.4.1.1.3, Table 8.7.4-1: all frames as image/gif."""
    for number, level in ((1, 10), (2, 120), (3, 250)):
        assert np.all(_png(archive, "1.2.1", resource=f"frames/{number}/rendered") == level)
    status, headers, body = get(archive, f"{path_of('1.2.1')}/rendered", GIF)
    assert status == 200
    shown = np.asarray(imagecodecs.gif_decode(body))
    assert [int(frame.max()) for frame in shown] == [10, 120, 250]
    assert b"NETSCAPE2.0" in body
    status, headers, body = get(archive, f"{path_of('1.2.1')}/rendered", PNG)
    assert np.all(np.asarray(imagecodecs.png_decode(body)) == 10)
    assert "first frame" in headers["Warning"]


def _parts(headers: Any, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    boundary = headers["Content-Type"].partition("boundary=")[2].encode()
    parts = []
    for piece in body.split(b"--" + boundary)[1:-1]:
        head, _, data = piece.strip(b"\r\n").partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        parts.append((fields, data[: int(fields["Content-Length"])]))
    return parts


def test_C7_10_several_parts_each_in_its_own_media_type(archive: Archive) -> None:
    """8.7.8.1: the media type is chosen for each part; what cannot be shown is left out."""
    status, headers, body = get(archive, f"{path_of('3')}/rendered")
    assert status == 200
    assert headers["Content-Type"].startswith("multipart/related")
    assert sorted(fields["Content-Type"] for fields, _ in _parts(headers, body)) == [
        "application/pdf",
        "text/html; charset=utf-8",
        "text/xml",
    ]
    status, headers, body = get(archive, f"{path_of('1.2.1')}/frames/3,1/rendered", PNG)
    shown = _parts(headers, body)
    assert [int(np.asarray(imagecodecs.png_decode(data)).max()) for _, data in shown] == [250, 10]
    assert shown[0][0]["Content-Location"].endswith("/frames/3/rendered")
    status, headers, body = get(archive, f"{path_of('2.1')}/rendered", f'multipart/related; type="{PNG}"')
    assert len(_parts(headers, body)) == 5
    status, headers, body = get(archive, f"{path_of('1.1.1')}/rendered", f'multipart/related; type="{PNG}"')
    assert len(_parts(headers, body)) == 1


@pytest.mark.parametrize(
    ("number", "level"), [("2", 120), ("2.1", 120), ("2.2", 7), ("2.1.4", 160), ("1.2.1", 120), ("1.2", 120), ("4", 99)]
)
def test_C8_11_a_thumbnail_is_the_middle_of_what_it_stands_for(archive: Archive, number: str, level: int) -> None:
    """10.4.1.1.4; of study 4, whose first images are damaged, the one that can be shown."""
    picture = _png(archive, number, resource="thumbnail")
    assert picture.shape == (171, 256)
    assert np.all(picture == level)


def test_C8_11_thumbnails_have_a_size_a_default_type_and_a_warning(archive: Archive) -> None:
    status, headers, body = get(archive, f"{path_of('2')}/thumbnail?viewport=30,30")
    assert (status, headers["Content-Type"]) == (200, JPEG)
    assert np.asarray(imagecodecs.jpeg8_decode(body)).shape == (20, 30)
    assert "not for diagnosis" in headers["Warning"]
    assert headers["Content-Location"].endswith("/thumbnail")
    frame = f"{path_of('1.2.1')}/frames/3/thumbnail"
    assert abs(np.asarray(imagecodecs.jpeg8_decode(get(archive, frame)[2])).astype(int) - 250).max() <= 2
    for path, expected in (
        (f"{path_of('3')}/thumbnail", 404),
        (f"{path_of('3.1.1')}/thumbnail", 404),
        (f"{path_of('9')}/thumbnail", 404),
        (f"{path_of('2')}/thumbnail?viewport=30,30,1,1,5,5", 400),
        (f"{path_of('2')}/thumbnail?viewport=99999,1", 400),
    ):
        assert get(archive, path)[0] == expected, path
    assert get(archive, f"{path_of('2')}/thumbnail", "text/html")[0] == 406


def test_C7_10_a_presentation_state_is_shown_as_its_images(archive: Archive) -> None:
    """10.4.1.1.3, 8.3.5.1: each of the images and frames that it refers to and that is here, as PS3.4 N.2 says."""
    path = path_of("5.2.1")
    status, headers, body = get(archive, f"{path}/rendered", PNG)
    assert status == 200
    parts = _parts(headers, body)
    shown = [np.asarray(imagecodecs.png_decode(data)) for _, data in parts]
    assert [one.shape for one in shown] == 2 * [(60, 40)], "of three, one is not here; turned by 90 degrees"
    assert {fields["Content-Location"].partition("/dicom-web")[2] for fields, _ in parts} == {
        f"{path.removeprefix('/dicom-web')}/rendered"
    }
    bare = np.rot90(_png(archive, "5.1.1", "?window=300,500,linear"), -1)
    ground = shown[0] != 222
    assert np.array_equal(shown[0][ground], bare[ground]), "but for its graphics"
    assert 0 < np.count_nonzero(~ground) < 400
    status, headers, body = get(archive, f"{path_of('5.2')}/rendered", PNG)
    assert (status, len(_parts(headers, body))) == (200, 2), "a state of a class that is not applied is left out"
    status, headers, body = get(archive, f"{path_of('5')}/rendered", PNG)
    assert (status, len(_parts(headers, body))) == (200, 3), "of a study its images, each once"


@pytest.mark.parametrize(
    ("number", "resource", "status"),
    [
        ("5.2.1", "rendered?window=40,400,linear", 400),
        ("5.2.1", "rendered?viewport=50,50,1,1,5,5", 400),
        ("5.2.1", "rendered?viewport=30,30", 200),
        ("5.2.1", "frames/1/rendered", 404),
        ("5.2.1", "thumbnail?viewport=30,30", 200),
        ("5.2.1", "frames/1/thumbnail", 404),
        ("5.2.2", "rendered", 406),
        ("5.2.2", "thumbnail", 406),
    ],
)
def test_C7_10_what_is_not_for_a_presentation_state_is_refused(
    archive: Archive, number: str, resource: str, status: int
) -> None:
    """8.3.5.1.3, 8.3.5.1.4: 400 for a window, and for more of a viewport than its size."""
    assert get(archive, f"{path_of(number)}/{resource}", PNG)[0] == status


def test_C7_14_what_is_known_is_not_sent_again(archive: Archive) -> None:
    """RFC 9110 13.1.2, 15.4.5."""
    for path in (
        f"{path_of('1.1.1')}/rendered",
        f"{path_of('2')}/thumbnail",
        f"{path_of('1')}/rendered",
        f"{path_of('5.2.1')}/rendered",
    ):
        _, headers, _ = get(archive, path)
        tag = headers["ETag"]
        status, headers, body = get(archive, path, If_None_Match=f'"other", W/{tag}')
        assert (status, headers["ETag"], body) == (304, tag, b"")
        assert "no-cache" in headers["Cache-Control"]
        assert get(archive, path + "?viewport=9,9", If_None_Match=tag)[0] == 200
        assert get(archive, path, PNG, If_None_Match=tag)[0] == 200


def test_C7_10_annotations_are_burned_in(archive: Archive) -> None:
    """8.3.5.1.1: after all else; Table 10.4.1-5: an origin server must. Without the parameter there is none."""
    bare = _png(archive, "5.1.1", "?viewport=500,500")
    patient = _png(archive, "5.1.1", "?viewport=500,500&annotation=patient")
    both = _png(archive, "5.1.1", "?viewport=500,500&annotation=technique,patient")
    changed = np.argwhere(patient != bare)
    assert len(changed) > 0
    assert changed.max(axis=0)[0] < 40
    assert np.array_equal(patient[:100], both[:100])
    assert np.count_nonzero(both[200:] != bare[200:]) > 0
    thumbnails = [_png(archive, "5.1.1", query, "thumbnail") for query in ("", "?annotation=patient")]
    assert np.array_equal(*thumbnails), "10.4.1.1.4: no patient is named in a thumbnail"


def test_C7_10_B50_a_report_is_readable_and_does_nothing(archive: Archive) -> None:
    """Table 8.7.4-1: text is shown as text/html, text/plain or text/xml."""
    status, headers, body = get(archive, f"{path_of('3.1.1')}/rendered", "text/html")
    text = body.decode()
    assert status == 200
    for shown in ("Chest CT Report", "Findings", "Nodule.<br>&lt;img", "12.5 mm", "Doe, Jane", "Иванова", "COMPLETE"):
        assert shown in text, shown
    assert "<img" not in text
    assert "<script" not in text
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    plain = get(archive, f"{path_of('3.1.1')}/rendered", "text/plain")[2].decode()
    assert "  Diameter: 12.5 mm\n" in plain
    report = ElementTree.fromstring(get(archive, f"{path_of('3.1.1')}/rendered", "text/xml")[2])
    assert report.get("title") == "Chest CT Report"
    values = {one.get("name"): one.findtext("value") for one in report.find("item") or ()}
    assert values["Diameter"] == "12.5 mm"
    assert "<script>alert(2)</script>" in str(values["Finding"])


def test_C7_10_B51_documents_come_as_they_were_stored(archive: Archive) -> None:
    """8.7.4: application/pdf is of documents; what a browser could run is not shown in it."""
    _, headers, body = get(archive, f"{path_of('3.2.1')}/rendered")
    assert body == PDF
    assert headers["Content-Disposition"] == 'inline; filename="document.pdf"'
    _, headers, body = get(archive, f"{path_of('3.2.2')}/rendered")
    assert body.endswith(b"<ClinicalDocument/>")
    assert headers["Content-Disposition"].startswith("attachment")


def test_B52_who_may_not_retrieve_is_told_nothing(archive: Archive) -> None:
    with without_download(archive):
        paths = [f"{path_of(number)}/{name}" for number in ("1.1.1", "9.9.9") for name in ("rendered", "thumbnail")]
        answers = {(status, body) for status, _, body in (get(archive, path) for path in paths)}
    ((status, _),) = answers
    assert status == 403


def test_C7_10_dicomweb_client_gets_pictures(archive: Archive) -> None:
    """10.4.1.1.3 as a client asks for it."""
    client = DICOMwebClient(f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web")
    uids = [f"{ROOT}.1", f"{ROOT}.1.3", f"{ROOT}.1.3.1"]
    got = client.retrieve_instance_rendered(*uids, media_types=(PNG,))
    assert np.asarray(imagecodecs.png_decode(got)).shape == (40, 60, 3)
    got = client.retrieve_instance_frames_rendered(*uids, frame_numbers=[1], media_types=(JPEG,))
    assert np.asarray(imagecodecs.jpeg8_decode(got)).shape == (40, 60, 3)
    got = client.retrieve_series_rendered(f"{ROOT}.2", f"{ROOT}.2.2", media_types=(PNG,))
    assert np.all(np.asarray(imagecodecs.png_decode(got)) == 7)


def test_C8_11_thumbnails_are_made_in_the_background_and_kept(archive: Archive) -> None:
    """Issue 4, 6: they come without the image, whose file is away when one is first asked for."""
    until(lambda: "thumbnail: 0 series due, 0 failed" in archive.annals("derived", "list").stdout, 60, "all are made")
    files = list((archive.data / "storage").rglob("*.dcm"))
    assert files
    for file in files:
        file.rename(f"{file}.away")
    try:
        status, headers, body = get(archive, f"{path_of('1.3')}/thumbnail")
        assert get(archive, f"{path_of('1.3')}/thumbnail?viewport=50,50")[0] in (404, 500)
    finally:
        for file in files:
            Path(f"{file}.away").rename(file)
    assert (status, headers["Content-Type"]) == (200, JPEG)
    assert np.asarray(imagecodecs.jpeg8_decode(body)).shape == (171, 256, 3)
    assert get(archive, f"{path_of('1.3')}/thumbnail?viewport=50,50")[0] == 200
