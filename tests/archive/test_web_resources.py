"""Every resource that the service describes, by each method (RFC 9110 9.3.2, 15.5.6), on one archive."""

from __future__ import annotations

import http.client
import json
from email.message import Message

import pytest

from tests.archive.conftest import Archive
from tests.archive.shown_objects import ROOT, get
from tests.archive.stow import post
from tests.dicomweb.test_commitment_modules import sequence, sop

_NAMES = {"study_uid": f"{ROOT}.1", "series_uid": f"{ROOT}.1.2", "instance_uid": f"{ROOT}.1.2.1", "frames": "2"}
_BULK_DATA = {"path": "7FE00010"}
_COMMITMENT = {"transaction_uid": f"{ROOT}.88"}
_WADO = f"/wado?requestType=WADO&studyUID={ROOT}.1&seriesUID={ROOT}.1.2&objectUID={ROOT}.1.2.1"
_CHANGING = {"date", "connection"}


@pytest.fixture(scope="module")
def archive(shown_archive: Archive) -> Archive:
    path = "/dicom-web/commitment-requests/{transaction_uid}".format(**_COMMITMENT)
    asked = json.dumps({"00081199": sequence(sop(_NAMES["instance_uid"]))}).encode()
    assert post(shown_archive.dicomweb_port, asked, path, "application/dicom+json").status == 200
    return shown_archive


def _asked(archive: Archive, method: str, path: str, accept: str = "*/*") -> tuple[int, Message, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", archive.dicomweb_port, timeout=60)
    try:
        connection.request(method, f"/dicom-web{path}", headers={"Accept": accept, "Range": "bytes=0-1"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def _resources(archive: Archive) -> list[str]:
    """All that can be retrieved, with the UIDs of an object of three frames."""
    status, _, body = get(archive, "/dicom-web/openapi.json")
    assert status == 200
    paths = [path.removeprefix("/dicom-web") for path, said in json.loads(body)["paths"].items() if "get" in said]
    return [_WADO if path == "/wado" else path.format(**_NAMES, **_BULK_DATA, **_COMMITMENT) for path in paths]


def test_WEB_1_every_resource_of_the_standard_is_there(archive: Archive) -> None:
    """PS3.18 Tables 10.4.1-1 to 10.4.1-6, 10.6.1-1 and 9.1-1; 13.5.1."""
    study, series = f"/studies/{ROOT}.1", f"/studies/{ROOT}.1/series/{ROOT}.1.2"
    instance = f"{series}/instances/{ROOT}.1.2.1"
    below = ("", "/metadata", "/rendered", "/thumbnail", "/bulkdata", "/pixeldata")
    expected = {f"{one}{what}" for one in (study, series, instance) for what in below}
    expected |= {f"{instance}/frames/2{what}" for what in ("", "/rendered", "/thumbnail")}
    expected |= {"/studies", "/series", "/instances", f"{study}/series", f"{study}/instances", f"{series}/instances"}
    expected |= {_WADO, f"{instance}/bulkdata/7FE00010", f"/commitment-requests/{ROOT}.88"}
    assert set(_resources(archive)) == expected


def test_WEB_1_HEAD_is_GET_without_its_body(archive: Archive) -> None:
    """RFC 9110 9.3.2: the same header fields; 14.2: a Range is only of GET."""
    for path in _resources(archive):
        whole, got, body = get(archive, f"/dicom-web{path}")
        assert (whole, bool(body)) == (200, True), path
        status, head, nothing = _asked(archive, "HEAD", path)
        assert (status, nothing) == (200, b""), path
        random = _CHANGING | ({"content-type"} if got.get_content_maintype() == "multipart" else set())
        assert head.get_content_type() == got.get_content_type()
        assert {(name.lower(), value) for name, value in head.items() if name.lower() not in random} == {
            (name.lower(), value) for name, value in got.items() if name.lower() not in random
        }, path
    assert _asked(archive, "HEAD", f"/studies/{ROOT}.99/metadata")[0] == 404
    assert _asked(archive, "HEAD", f"/studies/{ROOT}.1", "image/png")[0] == 406


def test_WEB_1_what_is_not_allowed_says_what_is(archive: Archive) -> None:
    """RFC 9110 15.5.6: 405 lists the methods that there are, as OPTIONS does."""
    for path in _resources(archive):
        status, headers, _ = _asked(archive, "DELETE", path)
        assert status == 405
        _, said, _ = _asked(archive, "OPTIONS", path)
        assert headers["Allow"] == said["Allow"], path
        assert {"GET", "HEAD", "OPTIONS"} <= set(headers["Allow"].split(", "))
