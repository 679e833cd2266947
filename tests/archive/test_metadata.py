"""WADO-RS of metadata and bulk data end to end: C7.8, C7.9, C7.14, C7.15, B49, B52, with the sections of PS3.18."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from projections.catalogue.due import KINDS
from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.test_wado import get, parts_of
from tests.codecs.pictures import made, saved
from tests.dicom.test_json_model import expected

ROOT = "1.2.826.0.1.3680043.8.498.14"
STUDY = f"{ROOT}.1"
PLAIN, MIXED = f"{STUDY}.1", f"{STUDY}.2"
JSON, XML, OCTETS = "application/dicom+json", "application/dicom+xml", "application/octet-stream"
XML_PARTS, OCTET_PARTS = f'multipart/related; type="{XML}"', f'multipart/related; type="{OCTETS}"'
LARGE = bytes(range(256)) * 20


def _image(series: str, number: int, study: str = STUDY) -> Dataset:
    image = made(seed=number)
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.SOPInstanceUID, image.InstanceNumber = f"{series}.{number}", number
    image.SpecificCharacterSet = "ISO_IR 144"
    image.PatientName, image.PatientID = "Щербаков^Евгений", "WADO"
    item = Dataset()
    item.RequestedProcedureID = "R1"
    inner = item.private_block(0x0029, "ANNALS TEST", create=True)
    inner.add_new(0x01, "OB", LARGE)
    inner.add_new(0x02, "OW", b"\1\2\3\4")
    image.RequestAttributesSequence = Sequence([Dataset(), item])
    image.private_block(0x0029, "ANNALS TEST", create=True).add_new(0x01, "OB", LARGE[:2048])
    return image


def _sent(archive: Archive, *paths: Path) -> None:
    for path in paths:
        sample = samples.read(path)
        assert sample
        assert samples.send(archive.port, sample)[0] == 0


class Site:
    """An archive with the objects that it was sent, by SOP Instance UID."""

    def __init__(self, archive: Archive, folder: Path) -> None:
        self.archive = archive
        self.folder = folder
        self.images: dict[str, Dataset] = {}

    def add(self, image: Dataset, *command: str) -> None:
        path = saved(image, self.folder / f"{image.SOPInstanceUID}.dcm")
        if command:
            target = path.with_suffix(".converted.dcm")
            subprocess.run([*command, str(path), str(target)], check=True, capture_output=True)
            path = target
        _sent(self.archive, path)
        self.images[image.SOPInstanceUID] = dcmread(path)

    def path(self, uid: str) -> str:
        image = self.images[uid]
        return f"/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}/instances/{uid}"

    def metadata(self, path: str, accept: str = "", **headers: str) -> list[dict[str, Any]]:
        status, answered, body = get(self.archive, f"{path}/metadata", accept, **headers)
        assert status == 200, body
        assert answered["Content-Type"] in (JSON, "application/json")
        found: list[dict[str, Any]] = json.loads(body)
        return found

    def due(self) -> bool:
        listed = self.archive.annals("derived", "list", check=False).stdout
        return any(f"{kind}: 0 series due, 0 failed" not in listed for kind in KINDS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {
        "ANNALS_STORAGE__OVERWRITE_IMAGE": "true",
        "ANNALS_DICOMWEB__HOSTS": "pacs.example",
        "ANNALS_LIMITS__DERIVATION_REST_SECONDS": "0.2",
        "ANNALS_LIMITS__DERIVATION_ATTEMPTS_MAX": "1",
    }
    with running_archive(settings) as archive:
        running = Site(archive, tmp_path_factory.mktemp("metadata"))
        for number in (1, 2, 3):
            running.add(_image(PLAIN, number))
        for number, command in enumerate(
            (["dcmconv", "+ti"], ["dcmconv", "+tb"], ["dcmconv", "+td"], ["gdcmconv", "--j2k"]), 1
        ):
            running.add(_image(MIXED, number), *command)
        yield running


def _uris(model: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for entry in model.values():
        if "BulkDataURI" in entry:
            yield entry["vr"], entry["BulkDataURI"]
        if entry["vr"] == "SQ":
            for item in entry.get("Value", ()):
                yield from _uris(item)


def _path_of(site: Site, uri: str) -> str:
    base = f"http://127.0.0.1:{site.archive.dicomweb_port}/dicom-web"
    assert uri.startswith(base)
    return uri.removeprefix(base)


def test_C7_8_metadata_says_what_the_object_says_in_every_transfer_syntax(site: Site) -> None:
    """10.4.3.3.2: all attributes; Annex F. In the reading order of the study."""
    found = site.metadata(f"/studies/{STUDY}")
    images = {uid: image for uid, image in site.images.items() if image.StudyInstanceUID == STUDY}
    assert [one["00080018"]["Value"][0] for one in found] == list(images)
    for model, (uid, image) in zip(found, images.items(), strict=True):
        assert site.metadata(site.path(uid)) == [model]
        assert model["00100010"]["Value"] == [{"Alphabetic": "Щербаков^Евгений"}]
        assert model["00080005"]["Value"] == ["ISO_IR 192"]
        assert [uri.partition("/bulkdata/")[2] for _, uri in _uris(model)] == [
            "00291001",
            "00400275/2/00291001",
            "7FE00010",
        ]
        told = expected(image)
        for name in told.keys() - {"00291001", "00400275", "7FE00010", "00291002"}:
            assert model[name] == told[name], (uid, name)
        assert model.keys() == told.keys()
    assert site.metadata(f"/studies/{STUDY}/series/{MIXED}", "application/json") == found[3:]


def test_C7_9_every_BulkDataURI_works_afterwards(site: Site) -> None:
    """10.4.3.3.5; 8.7.3: little endian, compressed pixels decoded where octets are asked for."""
    for model in site.metadata(f"/studies/{STUDY}"):
        uid = model["00080018"]["Value"][0]
        pixels = _image(model["0020000E"]["Value"][0], model["00200013"]["Value"][0]).PixelData
        wanted = {"00291001": LARGE[:2048], "00400275/2/00291001": LARGE, "7FE00010": pixels}
        for _, uri in _uris(model):
            path = _path_of(site, uri)
            status, headers, body = get(site.archive, path)
            value = wanted[uri.partition("/bulkdata/")[2]]
            assert (status, headers["Content-Type"], body[: len(value)]) == (200, OCTETS, value), (uid, uri)
            assert len(body) - len(value) in (0, 1), "but for padding"
            assert headers["Content-Location"] == uri
            assert int(headers["Content-Length"]) == len(body)
            status, headers, parts = get(site.archive, path, OCTET_PARTS)
            assert (status, [part[1] for part in parts_of(headers, parts)]) == (200, [body])


def test_C7_9_all_bulk_data_of_an_instance_a_series_and_a_study(site: Site) -> None:
    """10.4.1.1.5: each part names the URI that metadata gives."""
    for path in (site.path(f"{PLAIN}.1"), f"/studies/{STUDY}/series/{PLAIN}", f"/studies/{STUDY}"):
        wanted = [uri for model in site.metadata(path) for _, uri in _uris(model)]
        status, headers, body = get(site.archive, f"{path}/bulkdata", OCTET_PARTS)
        parts = parts_of(headers, body)
        assert (status, [fields["Content-Location"] for fields, _ in parts]) == (200, wanted)
        assert parts[0][1] == LARGE[:2048]
    assert get(site.archive, f"/studies/{STUDY}/bulkdata", "image/jp2")[0] == 406


@pytest.mark.parametrize(
    ("asked", "status", "wanted"),
    [
        ("bytes=0-9", 206, [(0, 10)]),
        ("bytes=2040-", 206, [(2040, 2048)]),
        ("bytes=-8", 206, [(2040, 2048)]),
        ("bytes=-9999", 206, [(0, 2048)]),
        ("bytes=2000-9999", 206, [(2000, 2048)]),
        ("bytes=0-1,10-11, 20-", 206, [(0, 2), (10, 12), (20, 2048)]),
        ("bytes=9999-,0-1", 206, [(0, 2)]),
        ("bytes=2048-", 416, []),
        ("bytes=-0", 416, []),
        ("bytes=5-1", 200, [(0, 2048)]),
        ("bytes=x", 200, [(0, 2048)]),
        ("bytes=-", 200, [(0, 2048)]),
        ("octets=0-1", 200, [(0, 2048)]),
        ("bytes=0-100,50-60", 200, [(0, 2048)]),
        (f"bytes={','.join(f'{n * 2}-{n * 2}' for n in range(10))}", 206, [(n * 2, n * 2 + 1) for n in range(10)]),
        (f"bytes={','.join(f'{n * 2}-{n * 2}' for n in range(11))}", 200, [(0, 2048)]),
        (f"bytes={','.join('0-0' for _ in range(10_000))}", 200, [(0, 2048)]),
    ],
)
def test_C7_9_B49_ranges_are_few_and_never_more_than_the_whole(
    site: Site, asked: str, status: int, wanted: list[tuple[int, int]]
) -> None:
    """RFC 9110 14; B49: at most ten ranges, else the whole."""
    path = f"{site.path(f'{PLAIN}.1')}/bulkdata/00291001"
    answered, headers, body = get(site.archive, path, OCTETS, Range=asked)
    assert answered == status, headers
    if status == 416:
        assert headers["Content-Range"] == "bytes */2048"
    elif len(wanted) > 1:
        assert headers.get_content_type() == "multipart/byteranges"
        _, *parts, _ = body.split(b"\r\n--" + headers.get_param("boundary").encode())
        assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [LARGE[a:b] for a, b in wanted]
        assert f"bytes {wanted[-1][0]}-{wanted[-1][1] - 1}/2048".encode() in parts[-1]
    else:
        ((first, end),) = wanted
        assert body == LARGE[first:end]
        assert headers["Content-Range"] == (f"bytes {first}-{end - 1}/2048" if status == 206 else None)
    assert status == 416 or int(headers["Content-Length"]) == len(body)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_C7_9_ranges_of_pixels_in_every_transfer_syntax(site: Site, number: int) -> None:
    """RFC 9110 14.1; 8.7.3.3.1: of the octets as they are answered, little endian."""
    path = f"{site.path(f'{MIXED}.{number}')}/bulkdata/7FE00010"
    pixels = _image(MIXED, number).PixelData
    status, headers, body = get(site.archive, path, Range="bytes=7-1000")
    assert (status, body) == (206, pixels[7:1001])
    status, headers, body = get(site.archive, path, OCTET_PARTS, Range="bytes=7-1000")
    ((fields, content),) = parts_of(headers, body)
    assert (status, content, fields["Content-Range"].partition("/")[0]) == (206, pixels[7:1001], "bytes 7-1000")


def test_C7_9_If_Range_and_If_None_Match_name_what_there_is(site: Site) -> None:
    """RFC 9110 13.1.5, 13.1.2."""
    path = f"{site.path(f'{PLAIN}.1')}/bulkdata/00291001"
    etag = get(site.archive, path)[1]["ETag"]
    assert get(site.archive, path, Range="bytes=0-1", If_Range=etag)[0] == 206
    assert get(site.archive, path, Range="bytes=0-1", If_Range='"other"')[0] == 200
    status, headers, body = get(site.archive, path, If_None_Match=f'"x", W/{etag}')
    assert (status, headers["ETag"], body) == (304, etag, b"")


def test_HEAD_answers_the_headers_of_GET(site: Site) -> None:
    for path in (f"{site.path(f'{PLAIN}.1')}/bulkdata/00291001", f"/studies/{STUDY}/metadata"):
        url = f"http://127.0.0.1:{site.archive.dicomweb_port}/dicom-web{path}"
        heads = subprocess.run(["curl", "-sSI", url], capture_output=True, text=True, check=True).stdout.lower()
        assert heads.startswith("http/1.1 200")
        assert ("content-length: 2048" in heads) == ("bulkdata" in path)
        assert get(site.archive, path)[1]["ETag"] in heads


def test_C7_14_an_ETag_stands_for_what_is_asked_for_and_as_it_is_given(site: Site) -> None:
    """RFC 9110 8.8.3, 12.5.3: gzip where it is accepted, each with an ETag of its own."""
    path = f"/studies/{STUDY}/series/{PLAIN}/metadata"
    _, plain, body = get(site.archive, path)
    status, packed, compressed = get(site.archive, path, Accept_Encoding="gzip, deflate;q=0.5")
    assert (status, packed["Content-Encoding"], gzip.decompress(compressed)) == (200, "gzip", body)
    assert "Accept-Encoding" in packed["Vary"]
    assert packed["ETag"] != plain["ETag"]
    assert get(site.archive, path, Accept_Encoding="gzip;q=0")[1]["Content-Encoding"] is None
    assert get(site.archive, path, If_None_Match=plain["ETag"])[0] == 304
    assert get(site.archive, path, If_None_Match=plain["ETag"], Accept_Encoding="gzip")[0] == 200
    assert get(site.archive, path, If_None_Match='"other"')[0] == 200


def test_C7_15_the_same_prepared_bytes_serve_every_name_of_the_server(site: Site) -> None:
    """10.4.1.1.2: a BulkDataURI is absolute; its base is what the service is asked by (8.2)."""
    path = f"/studies/{STUDY}/series/{PLAIN}/metadata"
    until(lambda: not site.due(), 60, "all is prepared")
    here, there = get(site.archive, path), get(site.archive, path, Host="pacs.example:81")
    base = f"http://127.0.0.1:{site.archive.dicomweb_port}/".encode()
    assert there[2] == here[2].replace(base, b"http://pacs.example:81/")
    assert here[1]["ETag"] != there[1]["ETag"]


def test_C7_8_XML_says_the_same(site: Site) -> None:
    """PS3.19 A.1; one document a part."""
    path = f"/studies/{STUDY}/series/{PLAIN}"
    models = site.metadata(path)
    status, headers, body = get(site.archive, f"{path}/metadata", XML_PARTS)
    assert status == 200
    parts = parts_of(headers, body)
    for model, (fields, content) in zip(models, parts, strict=True):
        assert fields["Content-Type"] == XML
        document = ET.fromstring(content)
        told = [(one.get("tag"), one.get("privateCreator")) for one in document]
        # Table A.1.5-2: of a private attribute its creator is told, not its block.
        assert told == [("00290001", "ANNALS TEST") if tag == "00291001" else (tag, None) for tag in model]
        assert [one.get("uri") for one in document.iter("BulkData")] == [uri for _, uri in _uris(model)]
        assert (
            document.findtext("DicomAttribute[@keyword='PatientName']/PersonName/Alphabetic/FamilyName") == "Щербаков"
        )


@pytest.mark.parametrize(
    ("accept", "expected_type"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", "application/json"),
        ("text/html, application/dicom+json;q=0.1", JSON),
        (XML_PARTS, "multipart/related"),
        ("multipart/related", "multipart/related"),
        ("image/png", None),
        (OCTET_PARTS, None),
    ],
)
def test_C7_5_metadata_is_answered_in_what_is_wanted(site: Site, accept: str, expected_type: str | None) -> None:
    """Table 8.7.3-3; 8.7.8.1: 406."""
    status, headers, _ = get(site.archive, f"/studies/{STUDY}/metadata", accept)
    assert status == (200 if expected_type else 406)
    assert expected_type in (None, headers.get_content_type())


def test_B52_what_is_not_there_is_not_found_and_never_told_apart(site: Site) -> None:
    other = f"/studies/{STUDY}/series/{MIXED}/instances/{PLAIN}.1"
    for path in (
        f"/studies/{ROOT}.9/metadata",
        f"/studies/{STUDY}/series/{ROOT}.9/metadata",
        f"{other}/metadata",
        f"{other}/bulkdata/7FE00010",
        f"{other}/bulkdata",
        f"{site.path(f'{PLAIN}.1')}/bulkdata/00080018",
        f"{site.path(f'{PLAIN}.1')}/bulkdata/7FE00011",
        f"{site.path(f'{PLAIN}.1')}/bulkdata/00400275/3/00291001",
        f"{site.path(f'{PLAIN}.1')}/bulkdata/00400275/1/00291001",
        f"{site.path(f'{PLAIN}.1')}/bulkdata/x/y",
        f"{site.path(f'{PLAIN}.1')}/bulkdata/00400275/99999999999/00291001",
        f"{site.path(f'{PLAIN}.1')}/bulkdata/../../x",
    ):
        assert get(site.archive, path)[0] == 404, path
    assert get(site.archive, "/studies/1..2/metadata")[0] == 400


def test_what_was_overwritten_or_added_is_never_answered_as_before(site: Site) -> None:
    study, series = f"{ROOT}.4", f"{ROOT}.4.1"
    site.add(_image(series, 1, study))
    path = f"/studies/{study}/series/{series}"
    before = site.metadata(path)
    etag = get(site.archive, f"{path}/metadata")[1]["ETag"]
    until(lambda: not site.due(), 60, "it is prepared")
    changed = _image(series, 1, study)
    changed.SeriesDescription = "CHANGED"
    site.add(changed)
    assert site.metadata(path)[0]["0008103E"]["Value"] == ["CHANGED"]
    assert get(site.archive, f"{path}/metadata", If_None_Match=etag)[0] == 200
    site.add(_image(series, 2, study))
    assert len(site.metadata(path)) == len(before) + 1


def test_WEB_4_the_client_library_retrieves_all_of_it(site: Site) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{site.archive.dicomweb_port}/dicom-web")
    assert len(client.retrieve_study_metadata(STUDY)) >= 7
    assert len(client.retrieve_series_metadata(STUDY, PLAIN)) == 3
    model = client.retrieve_instance_metadata(STUDY, PLAIN, f"{PLAIN}.1")
    read = Dataset.from_json(model, lambda tag, vr, uri: b"")
    assert read.PatientName == "Щербаков^Евгений"
    # The library leaves the port out of its Host header, and so it is not in the URLs of its answers.
    uri = model["00291001"]["BulkDataURI"].replace(
        "http://127.0.0.1/", f"http://127.0.0.1:{site.archive.dicomweb_port}/"
    )
    assert client.retrieve_bulkdata(uri) == [LARGE[:2048]]
    assert client.retrieve_bulkdata(uri, byte_range=(2, 5)) == [LARGE[2:6]]


def test_a_device_without_the_right_DOWNLOAD_is_refused_on_each_path(site: Site) -> None:
    instance = site.path(f"{PLAIN}.1")
    paths = [
        f"{path}/{resource}"
        for path in (f"/studies/{STUDY}", f"/studies/{STUDY}/series/{PLAIN}", instance)
        for resource in ("metadata", "bulkdata")
    ]
    paths.append(f"{instance}/bulkdata/7FE00010")
    site.archive.annals("device", "wado", "add", "127.0.0.1", "--rights", "UPLOAD,FIND")
    try:
        until(lambda: get(site.archive, paths[0])[0] == 403, 60, "the device is known")
        assert [get(site.archive, path)[0] for path in paths] == [403] * len(paths)
    finally:
        site.archive.annals("device", "wado", "remove", "127.0.0.1")
        until(lambda: get(site.archive, paths[0])[0] == 200, 60, "the device is forgotten")


def test_metadata_is_prepared_in_the_background_and_then_needs_no_file(site: Site) -> None:
    study = f"{ROOT}.2"
    for number in (1, 2):
        site.add(_image(f"{study}.1", number, study))
    until(lambda: not site.due(), 60, "all is prepared")
    storage = site.archive.data / "storage"
    for path in storage.rglob("*.dcm"):
        path.rename(path.with_suffix(".away"))
    try:
        assert len(site.metadata(f"/studies/{study}")) == 2
        assert len(site.metadata(f"/studies/{study}/series/{study}.1/instances/{study}.1.2")) == 1
    finally:
        for path in storage.rglob("*.away"):
            path.rename(path.with_suffix(".dcm"))


def test_what_cannot_be_made_is_listed_with_its_reason_until_it_is_retried(site: Site) -> None:
    study = f"{ROOT}.3"
    site.add(_image(f"{study}.1", 1, study))
    until(lambda: not site.due(), 60, "all is prepared")
    newest = max((site.archive.data / "storage").rglob("*.dcm"), key=lambda path: path.stat().st_mtime)
    kept = newest.read_bytes()
    newest.write_bytes(kept[:-2])
    try:
        assert "every series is due" in site.archive.annals("derived", "remake", "metadata").stdout
        until(lambda: "metadata: 0 series due, 1 failed" in _listed(site), 60, "all but one is made again")
        assert f"metadata of series {study}.1: 1 of 1 instances could not be read" in _listed(site)
        assert site.archive.annals("derived", "list", check=False).returncode == 1
        assert site.archive.health()[1]["parts"]["catalogue"]["derived_failed"] == 1
    finally:
        newest.write_bytes(kept)
    assert site.archive.annals("derived", "retry", "metadata").stdout == "1 series are due again\n"
    until(lambda: not site.due(), 60, "it is made")
    assert len(site.metadata(f"/studies/{study}")) == 1
    assert site.archive.annals("derived", "remake", "nothing", check=False).returncode == 2


def _listed(site: Site) -> str:
    return site.archive.annals("derived", "list", check=False).stdout


def test_what_is_asked_for_earlier_is_made_then_and_what_cannot_be_read_is_said(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    """Table 10.4.3-1: 206 where representations of some, but not all, are given."""
    archive = make_archive(SMALL).with_database().start()
    for number in (1, 2):
        _sent(archive, saved(_image(PLAIN, number), tmp_path / f"{number}.dcm"))
    kept = sorted((archive.data / "storage").rglob("*.dcm"), key=lambda path: path.stat().st_mtime)
    shutil.copy(kept[0], tmp_path / "kept")
    kept[0].write_bytes(kept[0].read_bytes()[:-2])
    path = f"/studies/{STUDY}/series/{PLAIN}"
    status, headers, body = get(archive, f"{path}/metadata")
    assert (status, len(json.loads(body)), headers["ETag"]) == (206, 1, None)
    assert "1 of the instances cannot be read" in headers["Warning"]
    (unread,) = {f"{PLAIN}.{number}" for number in (1, 2)} - {json.loads(body)[0]["00080018"]["Value"][0]}
    for resource in ("metadata", "bulkdata/7FE00010"):
        assert get(archive, f"{path}/instances/{unread}/{resource}")[0] == 500
    assert "InstanceUnreadable" in archive.annals("events", "--stream", unread).stdout
    shutil.copy(tmp_path / "kept", kept[0])
    status, headers, body = get(archive, f"{path}/metadata")
    assert (status, len(json.loads(body))) == (200, 2)
    assert "metadata: 1 series due, 0 failed" in archive.annals("derived", "list").stdout
