"""WADO-RS of instances end to end on one archive: C7.5, C7.6, with the sections of PS3.18 that say so."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.codecs.pictures import made, saved

ROOT = "1.2.826.0.1.3680043.8.498.12"
STUDY = f"{ROOT}.1"
PLAIN, MIXED, LOSSY = f"{STUDY}.1", f"{STUDY}.2", f"{STUDY}.3"
DICOM = 'multipart/related; type="application/dicom"'
ANY = f"{DICOM}; transfer-syntax=*"

Part = tuple[dict[str, str], bytes]


def _image(series: str, number: int, **changes: Any) -> Dataset:
    image = made(seed=number, **changes)
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, series
    image.SOPInstanceUID, image.InstanceNumber = f"{series}.{number}", number
    image.SpecificCharacterSet = "ISO_IR 192"
    image.PatientName, image.PatientID = "Щербаков^Евгений", "WADO"
    return image


def converted(path: Path, *command: str) -> Path:
    """The same object in another syntax, by a tool of another maker."""
    target = path.with_suffix(f".{'.'.join(command)}.dcm".replace("/", "_"))
    subprocess.run([*command, str(path), str(target)], check=True, capture_output=True)
    return target


class Sent:
    """The objects of one study as they were sent, by SOP Instance UID."""

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, Path] = {}
        for number in range(1, 4):
            self._add(saved(_image(PLAIN, number), folder / f"plain{number}.dcm"))
        for number, command in enumerate(
            (["gdcmconv", "--j2k"], ["gdcmconv", "--rle"], ["dcmconv", "+ti"], ["dcmconv", "+tb"], ["dcmconv", "+td"]),
            1,
        ):
            self._add(converted(saved(_image(MIXED, number), folder / f"mixed{number}.dcm"), *command))
        grey = _image(LOSSY, 1, bits_allocated=8, bits_stored=8)
        self._add(converted(saved(grey, folder / "lossy.dcm"), "dcmcjpeg", "+eb", "+un"))
        self.images = {uid: dcmread(path) for uid, path in self.files.items()}

    def _add(self, path: Path) -> None:
        uid = dcmread(path, stop_before_pixels=True).SOPInstanceUID
        self.files[uid] = path

    def syntax(self, uid: str) -> str:
        return str(self.images[uid].file_meta.TransferSyntaxUID)

    def data_set(self, uid: str) -> bytes:
        sample = samples.read(self.files[uid])
        assert sample
        return sample.data_set()

    def under(self, *uids: str) -> list[str]:
        return [uid for uid in self.files if uid.startswith(tuple(uids))]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    return Sent(tmp_path_factory.mktemp("wado"))


@pytest.fixture(scope="module")
def archive(sent: Sent) -> Iterator[Archive]:
    with running_archive(SMALL) as running:
        for path in sent.files.values():
            sample = samples.read(path)
            assert sample
            assert samples.send(running.port, sample)[0] == 0
        yield running


def get(archive: Archive, path: str, accept: str = "", **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web{path}",
        headers={
            **({"Accept": accept} if accept else {}),
            **{name.replace("_", "-"): v for name, v in headers.items()},
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


def parts_of(headers: Any, body: bytes) -> list[Part]:
    """The parts of a multipart/related, each line end and each delimiter checked (RFC 2046 5.1.1)."""
    assert headers.get_content_type() == "multipart/related"
    boundary = headers.get_param("boundary").encode("ascii")
    first, *parts, end = body.split(b"\r\n--" + boundary)
    assert (first, end) == (b"", b"--\r\n")
    found = []
    for part in parts:
        head, separator, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        assert part.startswith(b"\r\n")
        assert separator
        fields = dict(line.split(": ", 1) for line in head.decode("ascii").split("\r\n"))
        assert len(content) == int(fields["Content-Length"])
        found.append((fields, content))
    return found


def instance_path(uid: str) -> str:
    return f"/studies/{STUDY}/series/{uid.rpartition('.')[0]}/instances/{uid}"


def _syntax(fields: dict[str, str]) -> str:
    media_type, _, syntax = fields["Content-Type"].partition("; transfer-syntax=")
    assert media_type == "application/dicom"
    return syntax


@pytest.mark.parametrize(
    ("path", "series"),
    [
        (f"/studies/{STUDY}", (PLAIN, MIXED, LOSSY)),
        (f"/studies/{STUDY}/series/{MIXED}", (MIXED,)),
        (instance_path(f"{PLAIN}.2"), (f"{PLAIN}.2",)),
    ],
)
def test_C7_6_a_resource_is_a_part_for_each_instance(
    archive: Archive, sent: Sent, path: str, series: tuple[str, ...]
) -> None:
    """10.4.3: the payload holds representations of all of the Target Resource; 8.6.1.2.2: Content-Location."""
    status, headers, body = get(archive, path, ANY)
    assert status == 200
    assert headers.get_param("type") == "application/dicom"
    assert headers["X-Content-Type-Options"] == "nosniff"
    parts = parts_of(headers, body)
    uids = sent.under(*series)
    base = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web"
    assert sorted(fields["Content-Location"] for fields, _ in parts) == sorted(
        base + instance_path(uid) for uid in uids
    )
    for fields, content in parts:
        image = dcmread(BytesIO(content))
        assert content[:132] == b"\0" * 128 + b"DICM", "PS3.10 7.5: a preamble may hold a program"
        assert _syntax(fields) == image.file_meta.TransferSyntaxUID
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID


@pytest.mark.parametrize("query", ["", "?accept=*/*"])
@pytest.mark.parametrize(
    ("resource", "accept"),
    [
        (f"/studies/{STUDY}", ANY),
        (f"/studies/{STUDY}", "application/zip"),
        (f"/studies/{STUDY}/series/{PLAIN}", ANY),
        (instance_path(f"{PLAIN}.2"), ANY),
        (instance_path(f"{PLAIN}.2"), DICOM),
        (f"/studies/{STUDY}/metadata", "application/dicom+json"),
        (f"{instance_path(f'{PLAIN}.2')}/metadata", 'multipart/related; type="application/dicom+xml"'),
        (f"{instance_path(f'{PLAIN}.2')}/frames/1", "multipart/related"),
        (f"{instance_path(f'{PLAIN}.2')}/frames/1/rendered", "image/jpeg"),
    ],
)
def test_C7_6_the_answer_says_which_resource_its_payload_holds(
    archive: Archive, resource: str, accept: str, query: str
) -> None:
    """8.4.2, Content-Location: "Shall be present if the payload contains a representation of a resource." """
    status, headers, _ = get(archive, resource + query, accept)
    assert status == 200
    assert headers["Content-Location"] == f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web{resource}"


def test_C7_5_any_transfer_syntax_gives_what_is_stored_byte_for_byte(archive: Archive, sent: Sent) -> None:
    """8.7.3.5.2: the asterisk allows to answer without transcoding; 8.7.3: never Implicit VR, never big endian."""
    status, headers, body = get(archive, f"/studies/{STUDY}", ANY)
    assert (status, headers["Warning"]) == (200, None)
    for fields, content in parts_of(headers, body):
        uid = fields["Content-Location"].rpartition("/")[2]
        if sent.syntax(uid) in (ImplicitVRLittleEndian, "1.2.840.10008.1.2.2"):
            assert _syntax(fields) == ExplicitVRLittleEndian
            assert np.array_equal(dcmread(BytesIO(content)).pixel_array, sent.images[uid].pixel_array)
        else:
            assert _syntax(fields) == sent.syntax(uid)
            assert content.endswith(sent.data_set(uid))


@pytest.mark.parametrize("accept", ["", "*/*", DICOM, "multipart/related", "multipart/related; type=application/dicom"])
def test_C7_5_by_default_explicit_VR_little_endian(archive: Archive, sent: Sent, accept: str) -> None:
    """Table 8.7.3-2: 1.2.840.10008.1.2.1 is the default; Table 10.4.4-1: so is multipart/related."""
    status, headers, body = get(archive, f"/studies/{STUDY}", accept)
    parts = parts_of(headers, body)
    assert (status, len(parts)) == (200, len(sent.files))
    for fields, content in parts:
        image = dcmread(BytesIO(content))
        assert _syntax(fields) == image.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert np.array_equal(image.pixel_array, sent.images[image.SOPInstanceUID].pixel_array)
        assert image.PatientName == sent.images[image.SOPInstanceUID].PatientName


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{DICOM}; transfer-syntax={JPEGLSLossless}", JPEGLSLossless),
        (f'{DICOM}; transfer-syntax="{JPEG2000Lossless}"', JPEG2000Lossless),
        (f"{DICOM}; transfer-syntax={JPEGLSLossless}; q=0.4, {DICOM}; transfer-syntax={RLELossless}", RLELossless),
        (f"{DICOM}; transfer-syntax={JPEGLSLossless}; q=0.4, {DICOM}; q=0.5", ExplicitVRLittleEndian),
        (f"{DICOM}; transfer-syntax={JPEGLSLossless}, {DICOM}; transfer-syntax={ExplicitVRLittleEndian}", "stored"),
        (f"image/png, {DICOM}; transfer-syntax=1.2.3, {DICOM}; transfer-syntax={RLELossless}; q=0.1", RLELossless),
    ],
)
def test_C7_5_the_transfer_syntax_asked_for_most(archive: Archive, sent: Sent, accept: str, expected: str) -> None:
    """8.7.8.2: the parameter of the Selected Media Type; 8.7.3.5.2 note: alternatives by weight."""
    uid = f"{PLAIN}.1"
    for given in ({"accept": accept}, {"path": f"?accept={quote(accept)}", "accept": "image/png"}):
        status, headers, body = get(archive, instance_path(uid) + given.get("path", ""), given["accept"])
        assert status == 200
        ((fields, content),) = parts_of(headers, body)
        assert _syntax(fields) == (sent.syntax(uid) if expected == "stored" else expected)
        assert np.array_equal(dcmread(BytesIO(content)).pixel_array, sent.images[uid].pixel_array)


@pytest.mark.parametrize(
    ("accept", "is_served"),
    [
        ("application/dicom", True),
        ("application/dicom; transfer-syntax=*", True),
        (f"application/dicom; transfer-syntax={RLELossless}", True),
        ("application/*", True),
        ("application/zip", False),
        ("image/png", False),
        (f"{DICOM}; q=0", False),
        (f"{DICOM}; transfer-syntax=1.2.3", False),
        (f"{DICOM}; transfer-syntax=not-a-uid", False),
        (f"{DICOM}; transfer-syntax={ImplicitVRLittleEndian}", False),
        (f"{DICOM}; transfer-syntax={JPEGBaseline8Bit}", False),
        ('multipart/related; type="text/html"', False),
    ],
)
def test_C7_5_B59_one_instance_alone_or_not_acceptable(
    archive: Archive, sent: Sent, accept: str, is_served: bool
) -> None:
    """10.4.4: application/dicom is for individual instances; 8.7.8.1: 406 where nothing acceptable is supported."""
    uid = f"{PLAIN}.1"
    status, headers, body = get(archive, instance_path(uid), accept)
    assert status == (200 if is_served else 406), body
    if is_served:
        assert headers.get_content_type() == "application/dicom"
        assert headers["Content-Disposition"] == f'attachment; filename="{uid}.dcm"'
        assert headers["X-Content-Type-Options"] == "nosniff"
        image = dcmread(BytesIO(body))
        assert headers.get_param("transfer-syntax") == image.file_meta.TransferSyntaxUID
        assert int(headers["Content-Length"]) == len(body)
        assert np.array_equal(image.pixel_array, sent.images[uid].pixel_array)
    else:
        assert headers.get_content_type() == "application/problem+json"


@pytest.mark.parametrize("syntax", ["", f"; transfer-syntax={ExplicitVRLittleEndian}"])
def test_C8_12_a_ZIP_of_a_study_and_of_a_series(archive: Archive, sent: Sent, syntax: str) -> None:
    """Table 10.4.4-1: application/zip; names after the attributes, of safe characters, marked as UTF-8, each once."""
    for path, uids in (
        (f"/studies/{STUDY}", sent.under(STUDY)),
        (f"/studies/{STUDY}/series/{MIXED}", sent.under(MIXED)),
    ):
        status, headers, body = get(archive, path, f"application/zip{syntax}")
        assert (status, headers.get_content_type()) == (200, "application/zip")
        assert headers["Content-Disposition"] == f'attachment; filename="{path.rpartition("/")[2]}.zip"'
        with ZipFile(BytesIO(body)) as found:
            assert found.testzip() is None
            names = [entry.filename for entry in found.infolist()]
            images = [dcmread(BytesIO(found.read(name))) for name in names]
            assert all(entry.flag_bits & 0x800 for entry in found.infolist()), "APPNOTE 4.4.4, bit 11"
        assert len({name.casefold() for name in names}) == len(uids)
        assert all(re.fullmatch(r"Щербаков Евгений_WADO/CT( \(\d\))?/\d{6}\.dcm", name) for name in names), names
        assert sorted(image.SOPInstanceUID for image in images) == sorted(uids)
        for image in images:
            if syntax:
                assert image.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
            assert np.array_equal(image.pixel_array, sent.images[image.SOPInstanceUID].pixel_array)


def test_C7_5_a_single_part_is_not_for_several(archive: Archive) -> None:
    """10.4.4: single part media types are ignored for other resources, and 406 is right where none remains."""
    for path in (f"/studies/{STUDY}", f"/studies/{STUDY}/series/{PLAIN}"):
        assert get(archive, path, "application/dicom")[0] == 406
        assert get(archive, path, f"application/dicom, {ANY}; q=0.1")[0] == 200


def test_C8_2_nothing_is_compressed_with_loss_twice_and_the_rest_is_partial(archive: Archive) -> None:
    """Table 10.4.3-1: 206, representations for some, but not all, of the Target Resources."""
    status, headers, body = get(archive, f"/studies/{STUDY}", f"{DICOM}; transfer-syntax={JPEGLSNearLossless}")
    assert status == 206
    assert "1 of the instances cannot be had" in headers["Warning"]
    parts = parts_of(headers, body)
    assert LOSSY not in "".join(fields["Content-Location"] for fields, _ in parts)
    for _, content in parts:
        assert dcmread(BytesIO(content)).LossyImageCompression == "01"


def test_C7_4_B52_what_is_not_there_is_not_told_apart(archive: Archive) -> None:
    """Table 10.4.3-1: 404, the Target Resource does not exist; 400, errors in the request."""
    other = instance_path(f"{MIXED}.1").replace(MIXED, PLAIN, 1)
    answers = [
        get(archive, path)
        for path in (f"/studies/{ROOT}", f"/studies/{STUDY}/series/{ROOT}", f"/studies/{ROOT}/series/{PLAIN}", other)
    ]
    assert {status for status, _, _ in answers} == {404}
    assert len({body for _, _, body in answers}) == 1
    for bad in ("1..2", "x", "1." * 40, "..", "%00"):
        assert get(archive, f"/studies/{bad}")[0] in (400, 404)
    assert get(archive, f"/studies/{STUDY}/series/1.a")[0] == 400


def test_B49_ranges_of_an_instance_are_not_followed(archive: Archive) -> None:
    """RFC 9110 14.2: a server may ignore Range; the whole is the answer, however many are asked for."""
    ranges = ",".join(f"{start}-{start}" for start in range(2000))
    status, headers, _ = get(archive, instance_path(f"{PLAIN}.1"), "application/dicom", Range=f"bytes={ranges}")
    assert (status, headers["Content-Range"]) == (200, None)


def test_DEV_5_without_DOWNLOAD_nothing_is_given(archive: Archive) -> None:
    archive.annals("device", "wado", "add", "127.0.0.1", "--rights", "UPLOAD,FIND")
    try:
        paths = (f"/studies/{STUDY}", f"/studies/{STUDY}/series/{PLAIN}", instance_path(f"{PLAIN}.1"), "/studies/1.2.3")
        until(lambda: get(archive, paths[0])[0] == 403, 60, "the device is known")
        assert {get(archive, path, "image/png")[0] for path in paths} == {403}
    finally:
        archive.annals("device", "wado", "remove", "127.0.0.1")
    until(lambda: get(archive, f"/studies/{STUDY}")[0] == 200, 60, "the device is forgotten")


class Large:
    """A study of its own: four images of 32 MB."""

    study, series = f"{ROOT}.2", f"{ROOT}.2.1"
    path = f"/studies/{study}"
    bytes = 4 * 32 * 1024 * 1024

    def __init__(self, archive: Archive, folder: Path) -> None:
        self.files = []
        for number in range(1, 5):
            image = _image(PLAIN, number, rows=8, columns=8)
            image.StudyInstanceUID, image.SeriesInstanceUID = self.study, self.series
            image.SOPInstanceUID = f"{self.series}.{number}"
            image.Rows, image.Columns = 4096, 4096
            image.PixelData = bytes([number]) * (32 * 1024 * 1024)
            self.files.append(saved(image, folder / f"{number}.dcm"))
        sent = archive.dcmtk("storescu", *map(str, self.files))
        assert sent.returncode == 0, sent.stderr


@pytest.fixture(scope="module")
def large(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Large:
    return Large(archive, tmp_path_factory.mktemp("large"))


def memory(archive: Archive, what: str) -> int:
    """What the DICOMweb processes hold, in bytes."""
    found = 0
    for pid in archive.processes("dicomweb"):
        match = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert match
        found += int(match[1]) * 1024
    return found


def _opened_objects(archive: Archive) -> list[str]:
    found = []
    for pid in archive.processes("dicomweb"):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.append(os.readlink(entry))
            except OSError:
                continue
    return [path for path in found if path.endswith(".dcm")]


def test_C7_6_memory_does_not_grow_with_the_study(archive: Archive, large: Large) -> None:
    """C7.6: streamed with back-pressure, a study is never buffered."""
    get(archive, f"/studies/{STUDY}", ANY)
    before = memory(archive, "VmRSS")
    with urllib.request.urlopen(f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web{large.path}") as answer:
        size = 0
        while data := answer.read(1024 * 1024):
            size += len(data)
    assert size > large.bytes
    assert memory(archive, "VmHWM") - before < large.bytes // 4


def test_C7_6_a_client_that_does_not_read_and_goes_away_costs_nothing(archive: Archive, large: Large) -> None:
    """C7.6: streamed with back-pressure, and given up with its client."""
    before = memory(archive, "VmRSS")
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port)) as client:
        client.sendall(f"GET /dicom-web{large.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        until(lambda: bool(_opened_objects(archive)), 60, "an object is being sent")
        assert memory(archive, "VmRSS") - before < large.bytes // 4
    until(lambda: not _opened_objects(archive), 60, "the descriptors are closed")


def test_B51_F14_an_object_that_cannot_be_read_is_left_out_and_told_of(
    archive: Archive, sent: Sent, tmp_path: Path
) -> None:
    """Table 10.4.3-1: 206 where some are returned; the single one is a failure of this server, and a fact."""
    uid = f"{PLAIN}.3"
    kept = next((archive.data / "storage").glob(f"??/?/{samples.digest(_sample(sent, uid))}.dcm"))
    shutil.move(kept, tmp_path / "away")
    try:
        status, headers, body = get(archive, f"/studies/{STUDY}/series/{PLAIN}", ANY)
        assert (status, len(parts_of(headers, body))) == (206, 2)
        assert headers["Warning"].startswith("299 ")
        assert get(archive, instance_path(uid))[0] == 500
        assert "InstanceUnreadable" in archive.annals("events", "--stream", uid).stdout
    finally:
        shutil.move(tmp_path / "away", kept)
    assert get(archive, f"/studies/{STUDY}/series/{PLAIN}", ANY)[0] == 200


def test_C7_6_an_answer_that_lost_a_part_on_the_way_never_looks_whole(archive: Archive, tmp_path: Path) -> None:
    """Once 200 is sent, only a broken message can tell (RFC 9112 8): what can be had goes, its end does not."""
    study = f"{ROOT}.3"
    for number in (1, 2, 3):
        image = _image(PLAIN, number)
        image.StudyInstanceUID, image.SeriesInstanceUID = study, f"{study}.1"
        image.SOPInstanceUID = f"{study}.1.{number}"
        path = converted(saved(image, tmp_path / f"{number}.dcm"), "gdcmconv", "--j2k")
        if number == 2:
            broken = dcmread(path)
            frame = next(generate_frames(broken.PixelData, number_of_frames=1))
            broken.PixelData = encapsulate([frame[:60] + bytes(len(frame) - 60)])
            broken.save_as(path)
        sample = samples.read(path)
        assert sample
        assert samples.send(archive.port, sample)[0] == 0
    explicit = f"{DICOM}; transfer-syntax={ExplicitVRLittleEndian}"
    url = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web/studies/{study}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": explicit}), timeout=60) as answer:
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()
    assert cut.value.partial.count(b"Content-Location") == 2
    assert get(archive, f"/studies/{study}/series/{study}.1/instances/{study}.1.2", explicit)[0] == 406
    status, headers, body = get(archive, f"/studies/{study}")
    syntaxes = sorted(_syntax(fields) for fields, _ in parts_of(headers, body))
    assert (status, syntaxes) == (200, [ExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless])


def _sample(sent: Sent, uid: str) -> samples.Sample:
    sample = samples.read(sent.files[uid])
    assert sample
    return sample


def test_WEB_1_the_client_library_retrieves_everything(archive: Archive, sent: Sent) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web")
    assert {image.SOPInstanceUID for image in client.retrieve_study(STUDY)} == sent.files.keys()
    assert len(client.retrieve_series(STUDY, PLAIN)) == 3
    assert len(list(client.iter_series(STUDY, MIXED, media_types=(("application/dicom", "*"),)))) == 5
    image = client.retrieve_instance(STUDY, MIXED, f"{MIXED}.1", media_types=(("application/dicom", JPEG2000Lossless),))
    assert image.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert client.retrieve_instance(STUDY, PLAIN, f"{PLAIN}.1").InstanceNumber == 1
