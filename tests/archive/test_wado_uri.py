"""The URI service end to end on one archive: C7.13, B51, B52, B59 (PS3.18 section 9)."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import quote, urlencode

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread

from tests.archive.conftest import Archive
from tests.archive.shown_objects import GIF, JPEG, PDF, PNG, ROOT, get, path_of, without_download

_DICOM, _RLE = "application/dicom", "1.2.840.10008.1.2.5"


@pytest.fixture
def archive(shown_archive: Archive) -> Archive:
    return shown_archive


def _uids(number: str) -> dict[str, str]:
    study, series, _ = number.split(".")
    return {"studyUID": f"{ROOT}.{study}", "seriesUID": f"{ROOT}.{study}.{series}", "objectUID": f"{ROOT}.{number}"}


def _ask(archive: Archive, number: str, accept: str = "*/*", **asked: str) -> tuple[int, Any, bytes]:
    query = urlencode({"requestType": "WADO", **_uids(number), **asked})
    return get(archive, f"/wado?{query}", accept)


def _png(archive: Archive, number: str, **asked: str) -> np.ndarray[Any, Any]:
    status, headers, body = _ask(archive, number, contentType=PNG, **asked)
    assert (status, headers["Content-Type"]) == (200, PNG), body
    return np.asarray(imagecodecs.png_decode(body))


@pytest.mark.parametrize(
    ("number", "asked", "expected"),
    [
        ("1.1.1", {}, JPEG),
        ("1.3.1", {}, JPEG),
        ("1.2.1", {}, _DICOM),
        ("1.2.1", {"frameNumber": "2"}, JPEG),
        ("1.2.1", {"contentType": JPEG}, JPEG),
        ("1.2.1", {"contentType": GIF}, GIF),
        ("3.1.1", {}, "text/html; charset=utf-8"),
        ("3.1.1", {"contentType": "text/plain"}, "text/plain; charset=utf-8"),
        ("3.2.1", {}, "application/pdf"),
        ("3.3.1", {}, _DICOM),
        ("1.1.1", {"contentType": _DICOM}, _DICOM),
        ("1.1.1", {"contentType": "image/webp, image/png;q=0.7, image/jpeg;q=0.5"}, PNG),
        ("1.1.1", {"accept": "text/html,application/xhtml+xml,image/webp,*/*;q=0.8"}, JPEG),
        ("1.1.1", {"accept": "image/png"}, PNG),
        ("1.1.1", {"accept": _DICOM}, _DICOM),
    ],
)
def test_C7_13_content_types_and_their_defaults(
    archive: Archive, number: str, asked: dict[str, str], expected: str
) -> None:
    """9.3, 9.1.2.2.1, Table 8.7.4-1."""
    accept = asked.pop("accept", "*/*")
    status, headers, body = _ask(archive, number, accept, **asked)
    assert (status, headers["Content-Type"]) == (200, expected), body
    assert int(headers["Content-Length"]) == len(body)
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_C7_13_the_object_itself_in_a_transfer_syntax(archive: Archive) -> None:
    """9.4.2.4: Explicit VR Little Endian unless another is asked for."""
    for asked, syntax in (({}, "1.2.840.10008.1.2.1"), ({"transferSyntax": _RLE}, _RLE)):
        status, headers, body = _ask(archive, "1.1.1", contentType=_DICOM, **asked)
        assert status == 200
        read = dcmread(io.BytesIO(body))
        assert (read.SOPInstanceUID, read.file_meta.TransferSyntaxUID) == (f"{ROOT}.1.1.1", syntax)
        assert headers["Content-Disposition"].startswith("attachment")
    assert _ask(archive, "1.1.1", contentType=_DICOM, transferSyntax="1.2.3")[0] == 406
    assert _ask(archive, "3.2.1", contentType="application/pdf")[2] == PDF


def test_C7_13_window_region_and_size(archive: Archive) -> None:
    """9.5.1.2.4 to 9.5.1.2.6; the window is LINEAR."""
    x = np.arange(256) * 16.0 - 1024
    expected = np.rint(np.clip((x - 99.5) / 499 + 0.5, 0, 1) * 255)
    assert np.array_equal(_png(archive, "1.1.1", windowCenter="100", windowWidth="500")[0], expected)
    whole = _png(archive, "1.3.1")
    assert np.array_equal(_png(archive, "1.3.1", region="0.5,0.25,1,0.75"), whole[10:30, 30:])
    assert _png(archive, "1.3.1", rows="20", columns="90").shape == (20, 30, 3)
    assert _png(archive, "1.3.1", rows="20", columns="20", region="0,0,0.5,1").shape == (20, 15, 3)
    assert _png(archive, "1.3.1", rows="80").shape == (80, 120, 3), "older editions: the other side follows"
    sizes = [len(_ask(archive, "1.3.1", contentType=JPEG, imageQuality=number)[2]) for number in ("5", "95")]
    assert sizes[0] < sizes[1]
    assert np.all(_png(archive, "1.2.1", frameNumber="3") == 250)
    assert np.all(_png(archive, "1.2.1") == 10)


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({"requestType": "wado"}, "requestType"),
        ({"requestType": ""}, "requestType"),
        ({"studyUID": ""}, "studyUID"),
        ({"seriesUID": "1.2.x"}, "seriesUID"),
        ({"objectUID": "../../etc"}, "objectUID"),
        ({"contentType": "application/dicom, image/jpeg"}, "contentType"),
        ({"contentType": "application/dicom; transfer-syntax=1.2.840.10008.1.2"}, "contentType"),
        ({"contentType": "image"}, "contentType"),
        ({"frameNumber": "0"}, "frameNumber"),
        ({"frameNumber": "-1"}, "frameNumber"),
        ({"rows": "0"}, "rows"),
        ({"rows": "1000000000", "columns": "1"}, "rows"),
        ({"region": "0,0,1"}, "region"),
        ({"region": "0.5,0,0.5,1"}, "region"),
        ({"region": "0,0,1.5,1"}, "region"),
        ({"windowCenter": "1"}, "windowCenter"),
        ({"windowWidth": "1"}, "windowWidth"),
        ({"windowCenter": "1", "windowWidth": "0"}, "windowWidth"),
        ({"windowCenter": "1", "windowWidth": "9", "contentType": "application/dicom"}, "windowCenter"),
        ({"imageQuality": "0"}, "imageQuality"),
        ({"annotation": "name"}, "annotation"),
        ({"anonymize": "no"}, "anonymize"),
        ({"presentationUID": "1.2"}, "presentationUID"),
        ({"presentationUID": "1.2", "presentationSeriesUID": "x"}, "presentationSeriesUID"),
        ({"transferSyntax": "explicit"}, "transferSyntax"),
    ],
)
def test_C7_13_B59_wrong_parameters_are_named(archive: Archive, asked: dict[str, str], fault: str) -> None:
    """9.1.2, 9.5.1.2, 9.5.2: 400 for each."""
    status, _, body = _ask(archive, "1.1.1", **asked)
    assert status == 400
    assert [one.partition(":")[0] for one in json.loads(body)["faults"]] == [fault]


def test_C7_13_names_and_values_are_case_sensitive_but_for_media_types_and_charsets(archive: Archive) -> None:
    """8.3.1.1: all names are, and values; 8.7, 8.8: no media type is, no charset. The RESTful names are others."""
    for name in ("requestType", "studyUID", "seriesUID", "objectUID"):
        asked = {"requestType": "WADO", **_uids("1.1.1")}
        asked[name.lower()] = asked.pop(name)
        status, _, body = get(archive, f"/wado?{urlencode(asked)}")
        assert (status, json.loads(body)["faults"][0].partition(":")[0]) == (400, name)
    assert np.all(_png(archive, "1.2.1", FrameNumber="3") == 10), "an unknown name is ignored (8.3)"
    assert np.all(_png(archive, "1.2.1", frameNumber="3") == 250)
    status, headers, _ = _ask(archive, "1.1.1", contentType="IMAGE/Png", charset="utf-8")
    assert (status, headers["Content-Type"]) == (200, PNG)
    path = path_of("1.1.1")
    assert get(archive, f"{path}/rendered", "Image/PNG")[1]["Content-Type"] == PNG
    assert get(archive, f"{path}/rendered?window=40,400,LINEAR", PNG)[0] == 400, "8.3.5.1.4 note: written otherwise"
    assert get(archive, f"{path}/rendered?Window=40,400,linear", PNG)[2] == get(archive, f"{path}/rendered", PNG)[2]


def test_C7_13_all_faults_at_once_and_the_same_parameter_twice(archive: Archive) -> None:
    """8.3: 400; every fault is named."""
    status, _, body = get(archive, "/wado?rows=x&columns=y&imageQuality=1000&frameNumber=0&frameNumber=1")
    faults = [one.partition(":")[0] for one in json.loads(body)["faults"]]
    assert status == 400
    assert sorted(faults) == sorted(
        [
            "frameNumber",
            "requestType",
            "studyUID",
            "seriesUID",
            "objectUID",
            "frameNumber",
            "rows",
            "columns",
            "imageQuality",
        ]
    )


def test_C7_13_what_is_not_there_or_not_done(archive: Archive) -> None:
    """8.5: 404, 406; 8.3: unknown parameters are ignored."""
    assert _ask(archive, "9.9.9")[0] == 404
    assert _ask(archive, "1.1.1", seriesUID=f"{ROOT}.1.2")[0] == 404
    assert _ask(archive, "1.2.1", frameNumber="4")[0] == 404
    assert _ask(archive, "1.1.1", contentType="video/mp4")[0] == 406
    assert _ask(archive, "3.3.1", contentType=JPEG)[0] == 406
    assert _ask(archive, "4.1.1", contentType=JPEG)[0] == 406
    assert _ask(archive, "1.1.1", charset="iso-8859-5")[0] == 406
    assert _ask(archive, "1.1.1", charset="UTF-8")[0] == 200
    status, _, body = _ask(archive, "1.1.1", anonymize="yes")
    assert status == 406
    assert b"anonymize" in body
    assert _ask(archive, "1.1.1", unknown="x")[0] == 200


@pytest.mark.parametrize(
    ("number", "asked", "fault"),
    [
        ("5.1.1", {"presentationUID": "9.9"}, "presentationUID"),
        ("5.1.1", {"presentationSeriesUID": "9"}, "presentationUID"),
        ("5.1.1", {"presentationUID": f"{ROOT}.5.1.1", "presentationSeriesUID": f"{ROOT}.5.1"}, "presentationUID"),
        ("1.1.1", {}, "presentationUID"),
        ("5.1.3", {}, "presentationUID"),
        ("5.1.1", {"frameNumber": "1"}, "frameNumber"),
        ("5.1.1", {"windowCenter": "1", "windowWidth": "9"}, "windowCenter"),
    ],
)
def test_C7_13_a_presentation_state_that_does_not_fit_is_400(
    archive: Archive, number: str, asked: dict[str, str], fault: str
) -> None:
    """9.5.1.2.7, 9.5.2.3: none there, of another object, or beside what it determines."""
    state = {"presentationSeriesUID": f"{ROOT}.5.2", "presentationUID": f"{ROOT}.5.2.1"}
    status, _, body = _ask(archive, number, **{**state, **asked})
    assert status == 400, body
    assert json.loads(body)["faults"][0].partition(":")[0] == fault


def test_C7_13_annotations_by_either_name(archive: Archive) -> None:
    """9.5.1.2.2; ``annotation`` in editions before 2019."""
    bare, *named = (
        _png(archive, "5.1.1", **asked) for asked in ({}, {"annotation": "patient"}, {"imageAnnotation": "patient"})
    )
    assert np.array_equal(*named)
    assert not np.array_equal(bare, named[0])


def test_C7_13_an_image_is_shown_by_a_presentation_state(archive: Archive) -> None:
    """9.5.1.2.7; 9.5.2.4, 9.5.2.5: then the region, then the viewport. A state alone is shown as its first image."""
    state = {"presentationSeriesUID": f"{ROOT}.5.2", "presentationUID": f"{ROOT}.5.2.1"}
    whole = _png(archive, "5.1.1", **state)
    assert whole.shape == (60, 40)
    assert not np.array_equal(whole, _png(archive, "5.1.1"))
    assert np.array_equal(_png(archive, "5.2.1"), whole)
    assert np.array_equal(_png(archive, "5.1.1", **state, region="0,0.5,1,1"), whole[30:])
    assert _png(archive, "5.1.1", **state, rows="30", columns="90").shape == (30, 20)
    status, headers, _ = _ask(archive, "5.2.1", contentType=JPEG)
    assert (status, "first image" in headers["Warning"]) == (200, True)
    assert _ask(archive, "5.2.1", frameNumber="1")[0] == 400
    assert _ask(archive, "5.2.1", contentType=_DICOM)[1]["Content-Type"] == _DICOM
    assert _ask(archive, "5.2.2", contentType=JPEG)[0] == 406
    assert _ask(archive, "5.2.2")[1]["Content-Type"] == _DICOM


def test_C7_14_what_is_known_is_not_sent_again_by_the_uri_service(archive: Archive) -> None:
    """RFC 9110 13.1.2, 15.4.5."""
    path = "/wado?" + urlencode({"requestType": "WADO", **_uids("1.1.1")})
    tag = get(archive, path)[1]["ETag"]
    assert get(archive, path, If_None_Match=tag)[0] == 304
    assert get(archive, f"{path}&contentType={quote(PNG)}", If_None_Match=tag)[0] == 200


def test_C7_13_the_service_is_below_dicom_web_too(archive: Archive) -> None:
    """9: the base URI of the service is what the parameters follow."""
    path = "/dicom-web/wado?" + urlencode({"requestType": "WADO", **_uids("1.1.1")})
    status, headers, _ = get(archive, path)
    assert status == 200
    base = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web"
    assert headers["Content-Location"].startswith(f"{base}/studies/")


def test_B52_who_may_not_retrieve_is_told_nothing_by_the_uri_service(archive: Archive) -> None:
    with without_download(archive):
        assert {_ask(archive, number)[0] for number in ("1.1.1", "9.9.9")} == {403}
