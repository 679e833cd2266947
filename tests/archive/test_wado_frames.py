"""WADO-RS of frames and pixel data end to end on one archive: C7.7, with the sections of PS3.18 that say so."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    MPEG4HP41,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from adapters.codecs.decoding import decoded
from adapters.codecs.image import Image
from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.test_wado import converted, get, parts_of
from tests.codecs.pictures import made, saved

STUDY = "1.2.826.0.1.3680043.8.498.13"
SERIES = f"{STUDY}.1"
BROKEN = f"{STUDY}.2"
LARGE = bytes(range(256)) * 8
OCTETS = "application/octet-stream"
RELATED = f'multipart/related; type="{OCTETS}"'
COUNT = 4
_FORMS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plain": ({}, ()),
    "implicit": ({}, ("dcmconv", "+ti")),
    "big": ({}, ("dcmconv", "+tb")),
    "j2k": ({}, ("gdcmconv", "--j2k")),
    "rle": ({}, ("gdcmconv", "--rle")),
    "jpeg": ({"bits_allocated": 8, "bits_stored": 8}, ("dcmcjpeg", "+eb", "+un")),
    "bits": ({"bits_allocated": 1, "bits_stored": 1, "rows": 5, "columns": 7}, ()),
    "deflated": ({"bits_allocated": 1, "bits_stored": 1, "rows": 5, "columns": 7}, ("dcmconv", "+td")),
    "words": ({"bits_allocated": 8, "bits_stored": 8, "rows": 3, "columns": 5, "vr": "OW"}, ()),
}
_FRAGMENTED = ("with-offsets", "without-offsets", "extended-offsets")
"""Forms of the same compressed frames, each in three fragments but in the last form, where a frame has but one."""

STREAM = b"\0\0\0\x18ftypmp42" + bytes(range(250))
UIDS = {"video": f"{SERIES}.98"} | {name: f"{SERIES}.{number}" for number, name in enumerate(_FORMS, 1)}
UIDS |= {name: f"{SERIES}.{number}" for number, name in enumerate(_FRAGMENTED, 90)}


def _codestreams(path: Path) -> list[bytes]:
    """The frames of a JPEG 2000 object, every other one of odd length."""
    frames = [frame.rstrip(b"\0") for frame in generate_frames(dcmread(path).PixelData, number_of_frames=COUNT)]
    return [frame + b"\0" * ((len(frame) + number) % 2) for number, frame in enumerate(frames)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("frames")
    found = {}
    for name, (form, command) in _FORMS.items():
        image = made(frames=COUNT, **{key: value for key, value in form.items() if key != "vr"})
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = STUDY, SERIES, UIDS[name]
        image["PixelData"].VR = form.get("vr", image["PixelData"].VR)
        path = saved(image, folder / f"{name}.dcm")
        found[name] = converted(path, *command) if command else path
    for name in _FRAGMENTED:
        image = dcmread(found["j2k"])
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = STUDY, f"{SERIES}.3", UIDS[name]
        if name == "extended-offsets":
            image.PixelData, image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths = encapsulate_extended(
                _codestreams(found["j2k"])
            )
        else:
            image.PixelData = encapsulate(
                _codestreams(found["j2k"]), fragments_per_frame=3, has_bot=name == "with-offsets"
            )
        image["PixelData"].is_undefined_length = True
        found[name] = saved(image, folder / f"{name}.dcm", JPEG2000Lossless)
    for number, private in ((1, b""), (2, LARGE)):
        broken = made(bits_allocated=8, bits_stored=8)
        broken.StudyInstanceUID, broken.SeriesInstanceUID = BROKEN, f"{BROKEN}.{number}"
        broken.SOPInstanceUID = f"{BROKEN}.{number}.1"
        broken.private_block(0x0029, "ANNALS TEST", create=True).add_new(0x01, "OB", private)
        broken.PixelData = encapsulate([bytes(100)])
        broken["PixelData"].is_undefined_length = True
        found[f"broken{number}"] = saved(broken, folder / f"broken{number}.dcm", JPEGBaseline8Bit)
    report = made()
    report.StudyInstanceUID, report.SeriesInstanceUID, report.SOPInstanceUID = STUDY, SERIES, f"{SERIES}.99"
    del report.PixelData
    found["none"] = saved(report, folder / "none.dcm")
    video = made(frames=COUNT, bits_allocated=8, bits_stored=8)
    video.StudyInstanceUID, video.SeriesInstanceUID, video.SOPInstanceUID = STUDY, f"{SERIES}.2", UIDS["video"]
    video.PixelData = encapsulate([STREAM])
    video["PixelData"].is_undefined_length = True
    found["video"] = saved(video, folder / "video.dcm", MPEG4HP41)
    return found


@pytest.fixture(scope="module")
def archive(files: dict[str, Path]) -> Iterator[Archive]:
    with running_archive(SMALL) as running:
        for path in files.values():
            sample = samples.read(path)
            assert sample
            # One has no pixels, and is stored with a warning.
            assert samples.send(running.port, sample)[0] == (0xB007 if path.stem == "none" else 0), path
        yield running


def _path(name: str, what: str = "frames/1") -> str:
    series = f"{SERIES}.2" if name == "video" else f"{SERIES}.3" if name in _FRAGMENTED else SERIES
    return f"/studies/{STUDY}/series/{series}/instances/{UIDS.get(name, f'{SERIES}.99')}/{what}"


def _native(path: Path, number: int) -> bytes:
    """The octets of a frame as PS3.18 8.7.3.3.1 has them."""
    pixels = dcmread(path).pixel_array[number - 1]
    if pixels.size == 35:
        return np.packbits(pixels.ravel(), bitorder="little").tobytes()
    return bytes(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())


@pytest.mark.parametrize("name", _FORMS)
@pytest.mark.parametrize("numbers", [[1], [3, 1], [1, 2, 3, 4]], ids=str)
def test_C7_7_each_frame_is_a_part_of_its_own(
    archive: Archive, files: dict[str, Path], name: str, numbers: list[int]
) -> None:
    """10.4.1.1.5: numbers from 1, in any order; Table 8.7.3-4: uncompressed by default."""
    status, headers, body = get(archive, _path(name, f"frames/{','.join(map(str, numbers))}"))
    assert status == 200, body
    assert headers.get_param("type") == OCTETS
    parts = parts_of(headers, body)
    base = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web"
    for number, (fields, content) in zip(numbers, parts, strict=True):
        assert fields["Content-Type"] == f"{OCTETS}; transfer-syntax={ExplicitVRLittleEndian}"
        assert fields["Content-Location"] == base + _path(name, f"frames/{number}")
        assert content == _native(files[name], number)


@pytest.mark.parametrize(
    ("name", "media_type"), [("j2k", "image/jp2"), ("rle", "image/dicom-rle"), ("jpeg", "image/jpeg")]
)
@pytest.mark.parametrize(
    "accept", ["multipart/related; transfer-syntax=*", 'multipart/related; type="{}"', RELATED + "; transfer-syntax=*"]
)
def test_C7_7_compressed_frames_are_given_as_they_are_stored(
    archive: Archive, files: dict[str, Path], name: str, media_type: str, accept: str
) -> None:
    """8.7.3.3.2: the compressed octet stream without the fragment delimiters; the parts name its transfer syntax."""
    status, headers, body = get(archive, _path(name, "frames/2,4"), accept.format(media_type))
    assert status == 200, body
    image = dcmread(files[name])
    stored = list(generate_frames(image.PixelData, number_of_frames=COUNT))
    for frame, (fields, content) in zip((stored[1], stored[3]), parts_of(headers, body), strict=True):
        said = OCTETS if OCTETS in accept else media_type
        assert fields["Content-Type"] == f"{said}; transfer-syntax={image.file_meta.TransferSyntaxUID}"
        assert content == frame


@pytest.mark.parametrize("name", _FRAGMENTED)
def test_C7_7_fragments_are_joined_to_frames_and_their_padding_stays(
    archive: Archive, files: dict[str, Path], name: str
) -> None:
    """8.7.3.3.2: without the fragment delimiters; PS3.5 A.4: whatever offset table there is, odd frames are padded."""
    status, headers, body = get(archive, _path(name, "frames/4,1,2"), "multipart/related; type=image/jp2")
    assert status == 200, body
    frames = _codestreams(files["j2k"])
    for number, (fields, content) in zip((4, 1, 2), parts_of(headers, body), strict=True):
        frame = frames[number - 1]
        assert fields["Content-Type"] == f"image/jp2; transfer-syntax={JPEG2000Lossless}"
        assert content == frame + b"\0" * (len(frame) % 2)
    status, headers, body = get(archive, _path(name, "frames/3"))
    assert parts_of(headers, body)[0][1] == _native(files["j2k"], 3)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ('multipart/related; type="image/jls"', ("image/jls", JPEGLSLossless)),
        ("multipart/related; type=image/jphc", ("image/jphc", HTJ2KLossless)),
        (f"multipart/related; type=image/jp2; transfer-syntax={JPEG2000Lossless}", ("image/jp2", JPEG2000Lossless)),
        ("image/jpeg", ("image/jpeg", JPEGLosslessSV1)),
        ("image/dicom-rle, image/jls; q=0.5", ("image/dicom-rle", RLELossless)),
        (
            f"image/png, multipart/related; type=image/jls; transfer-syntax={JPEGLSLossless}",
            ("image/jls", JPEGLSLossless),
        ),
    ],
)
@pytest.mark.parametrize("name", ["plain", "j2k", "big"])
def test_C7_5_C7_7_frames_in_another_syntax(
    archive: Archive, files: dict[str, Path], name: str, accept: str, expected: tuple[str, str]
) -> None:
    """Table 8.7.3-5: the default transfer syntax of each media type, or the one that is named."""
    status, headers, body = get(archive, _path(name, "frames/2"), accept)
    assert status == 200, body
    content_type = headers["Content-Type"]
    if headers.get_content_type() == "multipart/related":
        ((fields, body),) = parts_of(headers, body)
        content_type = fields["Content-Type"]
    assert content_type == "{}; transfer-syntax={}".format(*expected)
    described = Image(33, 31, 1, 16, 12, 11, False, "MONOCHROME2", 0, COUNT)
    assert np.array_equal(decoded(body, expected[1], described), dcmread(files[name]).pixel_array[1])


def test_C7_5_one_frame_alone_and_never_several(archive: Archive, files: dict[str, Path]) -> None:
    """10.4.4: a single part media type is for what is a single response item."""
    for accept in (OCTETS, f"{OCTETS}; transfer-syntax=*", "application/*"):
        status, headers, body = get(archive, _path("plain", "frames/3"), accept)
        assert (status, headers["Content-Length"]) == (200, str(len(body)))
        assert headers["Content-Type"] == f"{OCTETS}; transfer-syntax={ExplicitVRLittleEndian}"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert body == _native(files["plain"], 3)
        assert get(archive, _path("plain", "frames/1,2"), accept)[0] == 406


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "multipart/related; type=image/jls; transfer-syntax=1.2.3",
        "multipart/related; type=application/dicom",
        f"{RELATED}; transfer-syntax=1.2.840.10008.1.2",
        f"{RELATED}; q=0",
    ],
)
def test_B59_what_is_not_acceptable(archive: Archive, accept: str) -> None:
    """8.7.8.1: 406."""
    status, headers, _ = get(archive, _path("plain"), accept)
    assert (status, headers.get_content_type()) == (406, "application/problem+json")


def test_C8_2_frames_are_not_compressed_with_loss_twice(archive: Archive) -> None:
    accept = f"multipart/related; type=image/jls; transfer-syntax={JPEGLSNearLossless}"
    assert get(archive, _path("plain"), accept)[0] == 200
    assert get(archive, _path("jpeg"), accept)[0] == 406
    _, headers, _ = get(archive, _path("jpeg"), "image/jpeg")
    assert headers["Content-Type"] == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"


@pytest.mark.parametrize(
    "frames",
    ["0", "-1", "1000000000", "5", "1,0", "1,1", "x", "1,", "1.5", "%C2%B2", ",".join(map(str, range(1, 10_002)))],
)
def test_B59_numbers_that_are_none(archive: Archive, frames: str) -> None:
    """10.4.1.1.5: positive, no frame twice; Table 10.4.3-1: 400."""
    status, headers, body = get(archive, _path("plain", f"frames/{frames}"))
    assert status in (400, 414), body
    assert headers.get_content_type() == "application/problem+json"


def test_C7_7_what_has_no_frames_or_is_not_there(archive: Archive) -> None:
    """Table 10.4.3-1: 404."""
    assert get(archive, _path("none"))[0] == get(archive, _path("none", "pixeldata"))[0] == 404
    assert get(archive, _path("plain").replace(UIDS["plain"], "1.2.3"))[0] == 404
    assert get(archive, _path("plain").replace(SERIES + "/", "1.2.3/"))[0] == 404


@pytest.mark.parametrize("name", ["plain", "big", "bits", "j2k"])
def test_C7_7_pixel_data_is_all_frames(archive: Archive, files: dict[str, Path], name: str) -> None:
    """10.4.3.3.6: all the Pixel Data, where the metadata says it is."""
    status, headers, body = get(archive, _path(name, "pixeldata"))
    assert status == 200
    parts = parts_of(headers, body)
    whole = [_native(files[name], number) for number in range(1, COUNT + 1)]
    if name == "j2k":
        assert [content for _, content in parts] == whole
    else:
        ((fields, content),) = parts
        assert fields["Content-Location"].endswith(_path(name, "bulkdata/7FE00010"))
        pixels = dcmread(files["plain" if name == "big" else name]).PixelData
        assert pixels[: len(content)] == content
        assert len(pixels) - len(content) <= 1
        assert get(archive, _path(name, "pixeldata"), OCTETS)[2] == content


@pytest.mark.parametrize("accept", ["image/*", "image/png, image/*;q=0.5", 'multipart/related; type="image/*"'])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", f"image/jpeg; transfer-syntax={JPEGLosslessSV1}"),
        ("j2k", f"image/jp2; transfer-syntax={JPEG2000Lossless}"),
        ("rle", f"image/dicom-rle; transfer-syntax={RLELossless}"),
        ("jpeg", f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"),
    ],
)
def test_C7_5_any_image_is_what_is_stored_where_that_is_one(
    archive: Archive, accept: str, name: str, expected: str
) -> None:
    """RFC 9110 12.5.1: a media range; Table 8.7.3-5: the first of a frame's media types is the default."""
    status, headers, body = get(archive, _path(name), accept)
    fields = parts_of(headers, body)[0][0] if accept.startswith("multipart") else headers
    assert (status, fields["Content-Type"]) == (200, expected)
    status, headers, _ = get(archive, _path(name), "image/jpeg;q=0, image/*")
    assert (status, headers.get_content_type() == "image/jpeg") == (200, False), "12.4.2: no weight"


@pytest.mark.parametrize("accept", ['multipart/related; type="{}"', "multipart/related; type={}; transfer-syntax=*"])
@pytest.mark.parametrize(("name", "media_type"), [("j2k", "image/jp2"), ("rle", "image/dicom-rle")])
def test_C7_7_C7_9_compressed_bulk_data_is_given_as_it_is_stored(
    archive: Archive, files: dict[str, Path], name: str, media_type: str, accept: str
) -> None:
    """8.7.3.3.2: a media type of Table 8.7.3-5 gives the compressed octets of each frame, also by the BulkDataURI."""
    image = dcmread(files[name])
    stored = list(generate_frames(image.PixelData, number_of_frames=COUNT))
    for resource in ("bulkdata/7FE00010", "pixeldata"):
        status, headers, body = get(archive, _path(name, resource), accept.format(media_type))
        assert status == 200, body
        parts = parts_of(headers, body)
        assert [content for _, content in parts] == stored
        assert {fields["Content-Type"] for fields, _ in parts} == {
            f"{media_type}; transfer-syntax={image.file_meta.TransferSyntaxUID}"
        }
    plain = b"".join(_native(files[name], number) for number in range(1, COUNT + 1))
    assert get(archive, _path(name, "bulkdata/7FE00010"))[2] == plain
    assert get(archive, _path(name, "bulkdata/7FE00010"), "image/png, image/jp2")[0] == 406


def test_C7_7_a_video_is_one_stream(archive: Archive) -> None:
    """8.7.3.3: what can only be had with loss is given as it is; Table 8.7.3-5: video/mp4. Its frames are not parts."""
    for accept in ("*/*", "multipart/related; type=video/mp4", "multipart/related; transfer-syntax=*"):
        for resource in ("pixeldata", "bulkdata/7FE00010"):
            status, headers, body = get(archive, _path("video", resource), accept)
            assert status == 200, body
            ((fields, content),) = parts_of(headers, body)
            assert fields["Content-Type"] == f"video/mp4; transfer-syntax={MPEG4HP41}"
            assert fields["Content-Location"].endswith(_path("video", "bulkdata/7FE00010"))
            assert content == STREAM
    status, headers, body = get(archive, _path("video", "pixeldata"), "video/mp4")
    assert (status, headers.get_content_type(), body) == (200, "video/mp4", STREAM)
    assert get(archive, _path("video", "pixeldata"), RELATED)[0] == 406
    assert get(archive, _path("video"), "video/mp4")[0] == 406


def test_C7_9_pixel_data_that_cannot_be_decoded_is_given_as_it_is(archive: Archive) -> None:
    """8.7.3: a BulkDataURI that metadata names can be retrieved where its media type is acceptable."""
    path = f"/studies/{BROKEN}/series/{BROKEN}.1/instances/{BROKEN}.1.1/bulkdata/7FE00010"
    status, headers, body = get(archive, path, "*/*")
    ((fields, content),) = parts_of(headers, body)
    assert (status, content) == (200, bytes(100))
    assert fields["Content-Type"] == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
    assert get(archive, path, OCTETS)[0] == 406


def test_C7_9_all_bulk_data_of_what_has_none_or_none_that_can_be_had(archive: Archive) -> None:
    """Table 10.4.3-1: 404 where there is none, 406 where none can be had; a multipart has a part (RFC 2046 5.1.1)."""
    for resource in (_path("none", "bulkdata"), f"/studies/{STUDY}/series/{SERIES}.2/bulkdata"):
        status, headers, _ = get(archive, resource)
        assert status == (404 if "99" in resource else 406)
        assert headers.get_content_type() == "application/problem+json"
    assert get(archive, f"/studies/{BROKEN}/series/{BROKEN}.1/bulkdata")[0] == 406


def test_C7_6_C7_9_all_bulk_data_without_a_value_never_looks_whole(archive: Archive) -> None:
    """RFC 9112 8: what can be had goes, the end of the message does not."""
    url = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web/studies/{BROKEN}/bulkdata"
    with urllib.request.urlopen(url, timeout=60) as answer, pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()
    assert cut.value.partial.endswith(LARGE)


def test_C7_7_pixel_data_of_a_series_and_a_study(archive: Archive, files: dict[str, Path]) -> None:
    """10.4.1.1.6, 10.4.3.3.6: that of every instance that has any; what is not acceptable is told of (206)."""
    base = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web"
    expected: dict[str, bytes] = {}
    for name in _FORMS:
        whole = [_native(files[name], number) for number in range(1, COUNT + 1)]
        if name in ("j2k", "rle", "jpeg"):
            expected |= {base + _path(name, f"frames/{number}"): one for number, one in enumerate(whole, 1)}
        else:
            content = get(archive, _path(name, "pixeldata"), OCTETS)[2]
            assert b"".join(whole) == content or name in ("bits", "deflated")
            expected[base + _path(name, "bulkdata/7FE00010")] = content
    for resource, status_of_all in ((f"/studies/{STUDY}/series/{SERIES}", 200), (f"/studies/{STUDY}", 206)):
        status, headers, body = get(archive, f"{resource}/pixeldata", RELATED)
        assert status == status_of_all, body
        assert ("of 1 instances" in (headers["Warning"] or "")) == (status == 206)
        parts = parts_of(headers, body)
        got = [(fields["Content-Location"], content) for fields, content in parts]
        if status_of_all == 206:
            got = [one for one in got if f"/series/{SERIES}.3/" not in one[0]]
            assert len(got) == len(parts) - COUNT * len(_FRAGMENTED)
        assert len(got) == len(expected)
        assert dict(got) == expected
    status, headers, body = get(archive, f"/studies/{STUDY}/pixeldata")
    assert (status, len(parts_of(headers, body))) == (200, len(expected) + 1 + COUNT * len(_FRAGMENTED))
    assert get(archive, f"/studies/{STUDY}/pixeldata", OCTETS)[0] == 406
    assert get(archive, f"/studies/{STUDY}/series/{SERIES}.2/pixeldata", RELATED)[0] == 406
    assert get(archive, f"/studies/{SERIES}/pixeldata")[0] == 404


def test_C7_5_bulk_data_is_not_an_instance(archive: Archive) -> None:
    """Table 10.4.4-1: an instance is application/dicom; its bulk data has resources of its own (10.4.1.1.1)."""
    status, _, body = get(archive, _path("plain", "").rstrip("/"), RELATED)
    assert (status, b"/bulkdata" in body) == (406, True)


def test_DEV_5_without_DOWNLOAD_no_frame_is_given(archive: Archive) -> None:
    archive.annals("device", "wado", "add", "127.0.0.1", "--rights", "UPLOAD,FIND")
    try:
        until(lambda: get(archive, _path("plain"))[0] == 403, 60, "the device is known")
        assert get(archive, _path("plain", "pixeldata"))[0] == 403
        assert get(archive, _path("plain", "frames/x"))[0] == 403
    finally:
        archive.annals("device", "wado", "remove", "127.0.0.1")
    until(lambda: get(archive, _path("plain"))[0] == 200, 60, "the device is forgotten")


def test_WEB_1_the_client_library_retrieves_frames(archive: Archive, files: dict[str, Path]) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web")
    names = (STUDY, SERIES, UIDS["plain"])
    frames = client.retrieve_instance_frames(*names, [4, 2], media_types=(OCTETS,))
    assert frames == [_native(files["plain"], 4), _native(files["plain"], 2)]
    (frame,) = client.retrieve_instance_frames(
        STUDY, SERIES, UIDS["j2k"], [2], media_types=(("image/jp2", JPEG2000Lossless),)
    )
    assert frame == list(generate_frames(dcmread(files["j2k"]).PixelData, number_of_frames=COUNT))[1]
