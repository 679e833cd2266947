"""Metadata with bulk data by STOW-RS (C7.12; PS3.18 10.5.1.4, 10.5.2, Table 10.5.2-1; B60)."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.uid import HEVCMP51, RLELossless, generate_uid

from tests.archive import samples
from tests.archive.conftest import Archive
from tests.archive.shown_objects import GIF, PNG
from tests.archive.stow import BOUNDARY, Answer, post
from tests.archive.test_wado import get
from tests.dicom.encoding import CT_CLASS

JSON, XML, OCTETS = "application/dicom+json", "application/dicom+xml", "application/octet-stream"
CANNOT_UNDERSTAND, SYNTAX_NOT_SUPPORTED = 0xC000, 0xC122
DERIVED = (
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    "PixelRepresentation",
)
VIDEO = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_JXL = "1.2.840.10008.1.2.4.112"
Part = tuple[str, str, bytes]


def body(*parts: Part) -> bytes:
    framed = b""
    for content_type, location, data in parts:
        fields = f"Content-Type: {content_type}\r\n" + (f"Content-Location: {location}\r\n" if location else "")
        framed += f"--{BOUNDARY}\r\n{fields}\r\n".encode() + data + b"\r\n"
    return framed + f"--{BOUNDARY}--\r\n".encode()


def store(archive: Archive, *parts: Part, kind: str = JSON) -> Answer:
    content_type = f'multipart/related; type="{kind}"; boundary={BOUNDARY}'
    return post(archive.dicomweb_port, body(*parts), content_type=content_type)


def objects(archive: Archive) -> int:
    return len(list(archive.data.glob("storage/??/?/*.dcm")))


def kept(archive: Archive, uid: str) -> FileDataset:
    """The stored object of an instance, found by its own file."""
    shown = archive.annals("events", "--stream", uid).stdout
    path = re.search(r"(../?./[0-9a-f]{64}[0-9a-f-]*\.dcm)", shown)
    assert path, shown
    return dcmread(archive.data / "storage" / path[1])


def parted(sample: Path, threshold: int = 64) -> tuple[FileDataset, Part, list[Part]]:
    """A file as metadata and bulk data, by pydicom."""
    image = dcmread(sample)
    image.SOPInstanceUID = generate_uid()
    bulks: list[Part] = []

    def take(element: Any) -> str:
        uri = f"bulk/{len(bulks)}"
        bulks.append((OCTETS, uri, element.value))
        return uri

    model = image.to_json_dict(bulk_data_threshold=threshold, bulk_data_element_handler=take)
    return image, (JSON, "", json.dumps([model]).encode()), bulks


def told(model: Dataset) -> dict[str, Any]:
    """A data set as JSON without what each writer writes as it likes."""
    told: dict[str, Any] = model.to_json_dict()
    return {
        tag: element
        for tag, element in told.items()
        if tag != "00080005" and not tag.endswith("0000") and element.get("Value") != []
    }


@pytest.mark.parametrize(
    "name",
    [
        *("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "waveform_ecg.dcm", "test-SR.dcm", "liver_1frame.dcm"),
        "examples_palette.dcm",
    ],
)
def test_C7_12_metadata_and_bulk_data_are_the_object_again(archive: Archive, name: str) -> None:
    """10.5.1.4: a part for each BulkDataURI, named by its Content-Location."""
    path = next((one for one in samples.SAMPLES.rglob(name)), None)
    if path is None:
        pytest.skip("not among pydicom's files here")
    image, metadata, bulks = parted(path)
    answer = store(archive, metadata, *bulks)
    assert answer.status in (200, 202), answer.body
    assert answer.stored == [image.SOPInstanceUID]
    stored = kept(archive, image.SOPInstanceUID)
    assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert told(stored) == told(image)


def test_C7_11_several_data_sets_share_a_request_and_a_broken_one_fails_alone(archive: Archive) -> None:
    """Table I.1-1: Failed SOP Sequence names the instance; Other Failures (0008,119A) are of what told none."""
    first, (_, _, one), bulks = parted(samples.SAMPLES / "CT_small.dcm")
    broken = {**json.loads(one)[0], "00080018": {"vr": "UI", "Value": ["../../x"]}}
    missing = {**json.loads(one)[0], "00080018": {"vr": "UI", "Value": ["1.2.3.99"]}}
    missing["7FE00010"] = {"vr": "OW", "BulkDataURI": "bulk/none"}
    document = json.dumps([broken, *json.loads(one), missing]).encode()
    answer = store(archive, (JSON, "", document), *bulks, (OCTETS, "bulk/unused", b"x"), (OCTETS, "", b"x"))
    assert (answer.status, answer.stored) == (202, [first.SOPInstanceUID])
    assert answer.failed == {"1.2.3.99": CANNOT_UNDERSTAND}
    assert answer.others == 3 * [CANNOT_UNDERSTAND]


def test_metadata_alone_needs_no_multipart(archive: Archive) -> None:
    model = _model("1.2.3.5.1", **{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Жук^И", "Phonetic": "x"}]}})
    answer = post(archive.dicomweb_port, json.dumps([model]).encode(), content_type=JSON)
    assert (answer.status, answer.stored) == (200, ["1.2.3.5.1"])
    stored = kept(archive, "1.2.3.5.1")
    assert (stored.SpecificCharacterSet, str(stored.PatientName)) == ("ISO_IR 192", "Жук^И==x")


def test_the_native_model_as_DCMTK_writes_it(archive: Archive, tmp_path: Path) -> None:
    """PS3.19 A.1: one part a data set; binary values inline or as bulk data."""
    uids, parts = [], []
    for number, name in enumerate(("CT_small.dcm", "test-SR.dcm", "rtplan.dcm")):
        image = dcmread(samples.SAMPLES / name)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.save_as(tmp_path / f"{number}.dcm")
        written = subprocess.run(
            ["dcm2xml", "--native-format", "--encode-base64", "+U8", tmp_path / f"{number}.dcm"],
            capture_output=True,
            check=True,
        )
        uids.append(image.SOPInstanceUID)
        parts.append((XML, "", written.stdout))
    answer = store(archive, *parts, kind=XML)
    assert answer.stored == uids, answer.body
    image, stored = dcmread(samples.SAMPLES / "CT_small.dcm"), kept(archive, uids[0])
    # DCMTK 3.6.7 writes words with their high byte first; what is stored comes little endian (PS3.18 10.5.1.4).
    assert stored.PixelData == b"".join(image.PixelData[at : at + 2][::-1] for at in range(0, len(image.PixelData), 2))
    assert stored[0x0043104E].value == image[0x0043104E].value
    assert stored[0x00431012].value == image[0x00431012].value
    assert (stored.PatientName, stored.SliceThickness) == (image.PatientName, image.SliceThickness)
    assert kept(archive, uids[1]).ContentSequence == dcmread(samples.SAMPLES / "test-SR.dcm").ContentSequence


def _model(uid: str, sop_class: str = CT_CLASS, /, **more: Any) -> dict[str, Any]:
    named = {"00080016": sop_class, "00080018": uid, "0020000D": "1.2.3.5", "0020000E": "1.2.3.5.0"}
    return {**{tag: {"vr": "UI", "Value": [value]} for tag, value in named.items()}, **more}


def _jp2(codestream: bytes) -> bytes:
    """A codestream in the boxes of a JP2 file (T.800 Annex I)."""
    size = struct.pack(">II", 1, 1)
    header = struct.pack(">I4s", 22, b"ihdr") + size + b"\0\1\7\7\0\0"
    return (
        b"\0\0\0\x0cjP  \r\n\x87\n"
        + struct.pack(">I4s", 20, b"ftyp")
        + b"jp2 \0\0\0\0jp2 "
        + struct.pack(">I4s", 8 + len(header), b"jp2h")
        + header
        + struct.pack(">I4s", 0, b"jp2c")
        + codestream
    )


@pytest.mark.parametrize(
    ("name", "media_type", "wrap"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg", bytes),
        ("SC_rgb_jpeg_gdcm.dcm", "image/jpeg", bytes),
        ("JPEG-lossy.dcm", "image/jpeg", bytes),
        ("MR_small_jpeg_ls_lossless.dcm", "image/jls", bytes),
        ("MR_small_jp2klossless.dcm", "image/jp2", bytes),
        ("MR_small_jp2klossless.dcm", "image/jp2", _jp2),
        ("JPEG2000.dcm", "image/jp2", bytes),
    ],
)
def test_compressed_pixels_describe_themselves_and_are_encapsulated_unchanged(
    archive: Archive, name: str, media_type: str, wrap: Callable[[bytes], bytes]
) -> None:
    """Table 10.5.2-1: unchanged; the Image Pixel Description Macro may be left out."""
    image = dcmread(samples.SAMPLES / name)
    (codestream,) = generate_frames(image.PixelData, number_of_frames=1)
    uid = generate_uid()
    model = _model(uid, **{"7FE00010": {"vr": "OB", "BulkDataURI": "http://elsewhere/pixels"}})
    answer = store(
        archive,
        (JSON, "", json.dumps([model]).encode()),
        (media_type, "http://elsewhere/pixels", wrap(codestream)),
    )
    assert (answer.status, answer.stored) == (200, [uid]), answer.body
    stored = kept(archive, uid)
    assert stored.file_meta.TransferSyntaxUID == image.file_meta.TransferSyntaxUID
    (given,) = generate_frames(stored.PixelData, number_of_frames=1)
    assert given[: len(codestream)] == codestream
    for keyword in DERIVED:
        if keyword != "PhotometricInterpretation":
            assert stored.get(keyword) is not None, keyword
    assert (stored.Rows, stored.Columns) == (image.Rows, image.Columns)
    assert (stored.SamplesPerPixel, stored.BitsAllocated) == (image.SamplesPerPixel, image.BitsAllocated)
    if image.SamplesPerPixel == 1:
        assert stored.PhotometricInterpretation == "MONOCHROME2"


def test_what_the_metadata_says_of_the_image_stands(archive: Archive) -> None:
    image = dcmread(samples.SAMPLES / "SC_rgb_jpeg_dcmtk.dcm")
    (codestream,) = generate_frames(image.PixelData, number_of_frames=1)
    model = _model(
        "1.2.3.5.2",
        **{
            "00280004": {"vr": "CS", "Value": ["YBR_FULL_422"]},
            "7fe00010": {"vr": "OB", "BulkDataURI": "p"},
            "00280010": {"vr": "US"},
        },
    )
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), ("image/jpeg", "p", codestream))
    assert answer.stored == ["1.2.3.5.2"]
    stored = kept(archive, "1.2.3.5.2")
    assert (stored.PhotometricInterpretation, stored.Rows) == ("YBR_FULL_422", image.Rows)


def _frames_of(name: str) -> tuple[FileDataset, list[bytes]]:
    image = dcmread(samples.SAMPLES / name)
    return image, list(generate_frames(image.PixelData, number_of_frames=int(image.get("NumberOfFrames", 1))))


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg"), ("SC_rgb_rle_2frame.dcm", "image/dicom-rle")],
)
@pytest.mark.parametrize(("location", "order"), [("p", (1, 2, 3)), ("p/frames/{}", (3, 1, 2))])
def test_C7_12_each_frame_is_a_part(
    archive: Archive, name: str, media_type: str, location: str, order: tuple[int, ...]
) -> None:
    """8.7.3.3.2: a compressed multi-frame image comes as frames, of one location in order or each of its own."""
    image, frames = _frames_of(name)
    frames = [frames[0], frames[-1], frames[0]]
    uid = generate_uid()
    described = (
        {}
        if media_type == "image/jpeg"
        else {f"{image[keyword].tag:08X}": image[keyword].to_json_dict(None, 0) for keyword in DERIVED}
    )
    model = _model(uid, **described, **{"7FE00010": {"vr": "OB", "BulkDataURI": "p"}})
    parts = [(media_type, location.format(number), frames[number - 1]) for number in order]
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), *parts)
    assert (answer.status, answer.stored) == (200, [uid]), answer.body
    stored = kept(archive, uid)
    assert (stored.NumberOfFrames, stored.Rows, stored.Columns) == (3, image.Rows, image.Columns)
    assert list(generate_frames(stored.PixelData, number_of_frames=3)) == frames
    path = f"/studies/1.2.3.5/series/1.2.3.5.0/instances/{uid}/frames/2"
    status, _, body = get(archive, path, media_type)
    assert (status, body) == (200, frames[1])


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        pytest.param({"00280008": {"vr": "IS", "Value": [3]}}, ("SC_rgb_jpeg_dcmtk.dcm",) * 2, id="fewer-than-said"),
        pytest.param({"00280008": {"vr": "IS", "Value": ["2"]}}, ("SC_rgb_jpeg_dcmtk.dcm",), id="one-of-two"),
        pytest.param({}, ("SC_rgb_jpeg_dcmtk.dcm", "JPEG-lossy.dcm"), id="not-alike"),
    ],
)
def test_C7_12_frames_that_are_not_those_of_one_image_are_refused(
    archive: Archive, said: dict[str, Any], parts: tuple[str, ...]
) -> None:
    """10.5.1.4, 8.7.3.3.2: Table I.2-2, C000."""
    model = _model("1.2.3.5.10", **said, **{"7FE00010": {"vr": "OB", "BulkDataURI": "p"}})
    frames = [("image/jpeg", "p", _frames_of(name)[1][0]) for name in parts]
    before = objects(archive)
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), *frames)
    assert (answer.status, answer.failed) == (400, {"1.2.3.5.10": CANNOT_UNDERSTAND}), answer.body
    assert objects(archive) == before


def _png(image: Image.Image, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **how)
    return file.getvalue()


def _gif(frames: list[Image.Image], **how: Any) -> bytes:
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], **how)
    return file.getvalue()


def _pictures() -> dict[str, tuple[str, bytes, Any]]:
    """Pictures of each kind, and the pixels that Pillow sees in them, without transparency."""
    rng = np.random.default_rng(7)
    gray, deep = rng.integers(0, 256, (9, 7), dtype=np.uint8), rng.integers(0, 65536, (9, 7), dtype=np.uint16)
    colour, with_alpha = (rng.integers(0, 256, (9, 7, count), dtype=np.uint8) for count in (3, 4))
    indexed = Image.fromarray(colour).quantize(16)
    bits = Image.fromarray(gray).convert("1")
    alpha = Image.fromarray(np.stack([gray, colour[..., 0]], axis=-1))
    found: dict[str, tuple[str, bytes, Any]] = {
        "gray": (PNG, _png(Image.fromarray(gray)), gray),
        "16-bits": (PNG, _png(Image.fromarray(deep)), deep),
        "1-bit": (PNG, _png(bits), np.asarray(bits, np.uint8) * 255),
        "colour": (PNG, _png(Image.fromarray(colour)), colour),
        "alpha": (PNG, _png(Image.fromarray(with_alpha)), with_alpha[..., :3]),
        "gray-alpha": (PNG, _png(alpha), gray),
        "indexed": (PNG, _png(indexed, bits=4), np.asarray(indexed.convert("RGB"))),
        "transparent": (PNG, _png(indexed, transparency=3), np.asarray(indexed.convert("RGB"))),
    }
    moving = [Image.fromarray(rng.integers(0, 256, (10, 20, 3), dtype=np.uint8)).quantize(32) for _ in range(3)]
    parts = [Image.new("P", (20, 10)) for _ in range(4)]
    for number, part in enumerate(parts):
        part.putpalette(range(256 * 3 // 4))
        part.paste(10 * number + 5, (3 + number, 2, 9 + number, 6))
    for name, frames, how in (
        ("one", moving[:1], {}),
        ("interlaced", moving[:1], {"interlace": 1}),
        ("animated", moving, {}),
        ("left", parts, {"disposal": 1, "optimize": False}),
        ("background", parts, {"disposal": 2, "optimize": False}),
        ("previous", parts, {"disposal": [1, 3, 3, 1], "optimize": False}),
        ("transparency", parts, {"disposal": 2, "transparency": 0, "optimize": False}),
    ):
        data = _gif(frames, **how)
        seen = []
        with Image.open(io.BytesIO(data)) as read:
            for at in range(len(frames)):
                read.seek(at)
                over = Image.new("RGBA", read.size, "black")
                seen.append(np.asarray(Image.alpha_composite(over, read.convert("RGBA")).convert("RGB")))
        found[f"gif-{name}"] = (GIF, data, np.stack(seen) if len(seen) > 1 else seen[0])
    return found


@pytest.mark.parametrize("name", _pictures())
def test_C7_12_a_PNG_or_GIF_is_transformed_without_loss(archive: Archive, name: str) -> None:
    """Table 10.5.2-1: "Transform", to an uncompressed syntax; its notes: RGB for indexed colours, no transparency,

    an animation as fully decoded frames, MONOCHROME2 for a single channel.
    """
    media_type, data, pixels = _pictures()[name]
    uid = generate_uid()
    model = _model(uid, **{"7FE00010": {"vr": "OB", "BulkDataURI": "p"}})
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), (media_type, "p", data))
    assert (answer.status, answer.stored) == (200, [uid]), answer.body
    stored = kept(archive, uid)
    assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    is_gray = pixels.ndim == 2
    assert stored.PhotometricInterpretation == ("MONOCHROME2" if is_gray else "RGB")
    bits = 16 if pixels.dtype == np.uint16 else 8
    assert (stored.BitsAllocated, stored.BitsStored, stored.HighBit) == (bits, bits, bits - 1)
    assert (stored.PixelRepresentation, stored.get("PlanarConfiguration")) == (0, None if is_gray else 0)
    assert stored.get("NumberOfFrames") == (len(pixels) if pixels.ndim == 4 else None)
    assert "LossyImageCompression" not in stored
    assert np.array_equal(stored.pixel_array, pixels)


def test_C7_12_pictures_are_frames_and_their_metadata_may_say_what_grays_mean(archive: Archive) -> None:
    """10.5.1.4: each frame as a part; 10.5.2 note 1: what the IOD wants decides whether grays are one channel."""
    pictures = _pictures()
    shades = [np.full((5, 4), level, np.uint8) for level in (10, 200)]
    animation = _gif([Image.fromarray(one) for one in shades])
    one_channel = {"00280002": {"vr": "US", "Value": [1]}, "00280004": {"vr": "CS", "Value": ["MONOCHROME1"]}}
    for media_type, parts, expected in (
        (PNG, [pictures["gray"][1], pictures["gray-alpha"][1]], np.stack([pictures["gray"][2]] * 2)),
        (GIF, [animation], np.stack(shades)),
    ):
        uid = generate_uid()
        said = {**one_channel, "00280008": {"vr": "IS", "Value": [2]}, "00280101": {"vr": "US", "Value": [8]}}
        model = _model(uid, **said, **{"7FE00010": {"vr": "OW", "BulkDataURI": "p"}})
        answer = store(archive, (JSON, "", json.dumps([model]).encode()), *((media_type, "p", one) for one in parts))
        assert answer.stored == [uid], answer.body
        stored = kept(archive, uid)
        assert (stored.PhotometricInterpretation, stored.NumberOfFrames) == ("MONOCHROME1", 2)
        assert np.array_equal(stored.pixel_array, expected)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        pytest.param({}, (b"",), id="empty"),
        pytest.param({}, (b"\x89PNG",), id="no-header"),
        pytest.param({}, ("gray", "16-bits"), id="not-alike"),
        pytest.param({}, ("colour", b"GIF89a"), id="second-damaged"),
        pytest.param({"00280010": {"vr": "US", "Value": [8]}}, ("gray",), id="other-rows"),
        pytest.param({"00280100": {"vr": "US", "Value": [16]}}, ("gray",), id="other-depth"),
        pytest.param({"00280103": {"vr": "US", "Value": [1]}}, ("gray",), id="signed"),
        pytest.param({"00280002": {"vr": "US", "Value": [1]}}, ("colour",), id="colours-for-grays"),
        pytest.param({"00280002": {"vr": "US", "Value": [3]}}, ("gray",), id="grays-for-colours"),
        pytest.param({"00280004": {"vr": "CS", "Value": ["YBR_FULL"]}}, ("colour",), id="other-colours"),
        pytest.param({"00280008": {"vr": "IS", "Value": [2]}}, ("gray",), id="other-frames"),
        pytest.param({}, ("cut",), id="cut"),
        pytest.param({}, ("bomb",), id="B14-bomb"),
    ],
)
def test_C7_12_a_PNG_that_is_damaged_or_not_what_the_metadata_says_is_refused(
    archive: Archive, said: dict[str, Any], parts: tuple[str | bytes, ...]
) -> None:
    """Table I.2-2: C000. It is decoded in the limited processes of the codecs (B14)."""
    whole = _pictures()["gray"][1]
    known = {name: data for name, (_, data, _) in _pictures().items()}
    # A size of 2^31 - 1 by 2^31 - 1.
    known |= {"cut": whole[:-30], "bomb": whole[:16] + b"\x7f\xff\xff\xff" * 2 + whole[24:]}
    model = _model("1.2.3.5.11", **said, **{"7FE00010": {"vr": "OB", "BulkDataURI": "p"}})
    before = objects(archive)
    datas = (one if isinstance(one, bytes) else known[one] for one in parts)
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), *((PNG, "p", one) for one in datas))
    assert (answer.status, [*answer.failed.values(), *answer.others]) == (400, [CANNOT_UNDERSTAND]), answer.body
    assert objects(archive) == before


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [("image/x-dicom-rle", RLELossless), (f"image/jxl; transfer-syntax={_JXL}", _JXL), ("video/H265", HEVCMP51)],
)
def test_C7_12_every_media_type_of_compressed_bulk_data_is_stored(
    archive: Archive, media_type: str, syntax: str
) -> None:
    """Table 8.7.3-5: what can be retrieved can be stored; the metadata describes what is not looked into."""
    image = dcmread(samples.SAMPLES / "SC_rgb_rle_2frame.dcm")
    described = {f"{image[keyword].tag:08X}": image[keyword].to_json_dict(None, 0) for keyword in DERIVED}
    uid = generate_uid()
    model = _model(uid, **described, **{"7FE00010": {"vr": "OB", "BulkDataURI": "p"}})
    octets = bytes(range(100))
    metadata = (JSON, "", json.dumps([model]).encode())
    answer = store(archive, metadata, (media_type, "p", octets))
    assert answer.stored == [uid], answer.body
    stored = kept(archive, uid)
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert list(generate_frames(stored.PixelData, number_of_frames=1)) == [octets]
    if "jxl" in media_type:
        assert store(archive, metadata, ("image/jxl", "p", octets)).status == 400


def test_C7_12_what_is_retrieved_as_frames_is_stored_again(archive: Archive) -> None:
    """Table 8.7.3-5, both ways; T.814 A.2: high throughput is not what image/jp2 says."""
    image, metadata, bulks = parted(samples.SAMPLES / "CT_small.dcm")
    assert store(archive, metadata, *bulks).stored == [image.SOPInstanceUID]
    names = (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
    path = "/studies/{}/series/{}/instances/{}/frames/1".format(*names)
    for media_type in ("image/jpeg", "image/jls", "image/jp2", "image/jphc", "image/dicom-rle"):
        status, headers, frame = get(archive, path, media_type)
        assert status == 200
        uid = generate_uid()
        described = {f"{image[keyword].tag:08X}": image[keyword].to_json_dict(None, 0) for keyword in DERIVED}
        model = _model(uid, **described, **{"7FE00010": {"vr": "OW", "BulkDataURI": "p"}})
        again = (JSON, "", json.dumps([model]).encode())
        assert store(archive, again, (media_type, "p", frame)).stored == [uid], media_type
        stored = kept(archive, uid)
        assert headers["Content-Type"] == f"{media_type}; transfer-syntax={stored.file_meta.TransferSyntaxUID}"
        assert np.array_equal(get_pixels(archive, uid), image.pixel_array)
        other = {"image/jp2": "image/jphc", "image/jphc": "image/jp2"}.get(media_type)
        if other:
            assert store(archive, again, (other, "p", frame)).status == 415


def get_pixels(archive: Archive, uid: str) -> Any:
    """The pixels of a CT image, decoded by the archive."""
    status, _, data = get(archive, f"/studies/1.2.3.5/series/1.2.3.5.0/instances/{uid}/frames/1", OCTETS)
    assert status == 200
    return np.frombuffer(data, "<i2").reshape(128, 128)


def _mpeg2(structures: list[int], columns: int = 720, rows: int = 576) -> bytes:
    """A video stream of pictures: frames (3), fields (1, 2), or of MPEG-1 (0) without an extension."""
    stream = b"\0\0\1\xb3" + (columns << 12 | rows).to_bytes(3, "big") + bytes(5)
    for structure in structures:
        stream += b"\0\0\1\0" + bytes((0x10, 0x20, 0x30, 0x40))
        if structure:
            stream += b"\0\0\1\xb5" + bytes((0x8F, 0xFF, 0xF0 | structure, 0x80, 0))
        stream += b"\0\0\1\1" + b"\x55" * 700
    return stream


def _in_packets(stream: bytes) -> bytes:
    """A transport stream of it, beside packets of another program's (H.222.0 2.4.3)."""
    stream = b"\0\0\1\xe0\0\0\x80\0\0" + stream
    packets, begins = b"", 0x40
    for at in range(0, len(stream), 184):
        payload = stream[at : at + 184]
        stuffing = 184 - len(payload)
        field = b"" if not stuffing else bytes((stuffing - 1,)) + (b"\0" + b"\xff" * (stuffing - 2))[: stuffing - 1]
        packets += bytes((0x47, begins | 1, 0, 0x10 | (0x20 if stuffing else 0))) + field + payload
        packets += bytes((0x47, 2, 0, 0x10)) + b"\0\0\1\0" * 46
        begins = 0
    return packets


@pytest.mark.parametrize(
    ("video", "frames", "syntax"),
    [
        pytest.param(_mpeg2([3] * 12), 12, "100", id="frames"),
        pytest.param(_mpeg2([0] * 7), 7, "100", id="mpeg-1"),
        pytest.param(_mpeg2([1, 2] * 5 + [3], 1920, 1080), 6, "101", id="fields"),
        pytest.param(b"\0\0\1\xba" + bytes(10) + b"\0\0\1\xe0\x10\0\x80\0\0" + _mpeg2([3] * 3), 3, "100", id="program"),
        pytest.param(_in_packets(_mpeg2([3] * 20)), 20, "100", id="transport"),
        pytest.param(_mpeg2([3] * 1700), 1700, "100", id="long"),
    ],
)
def test_C7_12_a_video_is_counted(archive: Archive, video: bytes, frames: int, syntax: str) -> None:
    """10.5.2: rows, columns and frames are derived from the stream (H.262 6.2.2.1, 6.2.3)."""
    uid = generate_uid()
    model = _model(uid, VIDEO, **{"7FE00010": {"vr": "OB", "BulkDataURI": "v"}})
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), ("video/mpeg", "v", video))
    assert answer.stored == [uid], answer.body
    stored = kept(archive, uid)
    assert stored.file_meta.TransferSyntaxUID == f"1.2.840.10008.1.2.4.{syntax}"
    assert (stored.Columns, stored.Rows) == ((1920, 1080) if syntax == "101" else (720, 576))
    assert stored.NumberOfFrames == frames
    assert video in stored.PixelData


def _mp4(columns: int, rows: int, frames: int) -> bytes:
    def box(kind: bytes, *content: bytes) -> bytes:
        inside = b"".join(content)
        return struct.pack(">I4s", 8 + len(inside), kind) + inside

    entry = bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HH", columns, rows) + bytes(50)
    stsd = box(b"stsd", struct.pack(">II", 0, 1), box(b"avc1", entry))
    stts = box(b"stts", struct.pack(">IIIIII", 0, 2, frames - 1, 512, 1, 512))
    video = box(b"trak", box(b"tkhd", bytes(84)), box(b"mdia", box(b"minf", box(b"stbl", stsd, stts))))
    sound = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(b"stsd", bytes(4))))))
    return box(b"ftyp", b"isom") + box(b"mdat", bytes(1000)) + box(b"moov", sound, video)


def test_a_video_tells_its_size_and_frames(archive: Archive) -> None:
    model = _model("1.2.3.5.3", VIDEO, **{"7FE00010": {"vr": "OB", "BulkDataURI": "v"}})
    video = _mp4(640, 480, 25)
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), ("video/mp4", "v", video))
    assert answer.stored == ["1.2.3.5.3"], answer.body
    stored = kept(archive, "1.2.3.5.3")
    assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.102"
    assert (stored.Rows, stored.Columns, stored.NumberOfFrames) == (480, 640, 25)
    assert stored.LossyImageCompression == "01"
    assert video in stored.PixelData


@pytest.mark.parametrize(
    ("sop_class", "media_type", "document"),
    [
        (PDF, "application/pdf", b"%PDF-1.4 od"),
        (f"{PDF[:-1]}2", "text/xml", b"<ClinicalDocument/>"),
        (f"{PDF[:-1]}3", "model/stl", b"solid ascii"),
        (f"{PDF[:-1]}4", "model/obj", b"v 1 2 3\nv 4 5 6"),
    ],
)
def test_C7_12_a_document_is_encapsulated(archive: Archive, sop_class: str, media_type: str, document: bytes) -> None:
    """10.5.2: PDF, CDA, STL and OBJ; its type and length are what its part tells."""
    uid = generate_uid()
    model = _model(uid, sop_class, **{"00420011": {"vr": "OB", "BulkDataURI": "d"}})
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), (media_type, "d", document))
    assert answer.stored == [uid]
    stored = kept(archive, uid)
    assert (stored.MIMETypeOfEncapsulatedDocument, stored.EncapsulatedDocumentLength) == (media_type, len(document))
    assert stored.EncapsulatedDocument == document + b"\0" * (len(document) & 1)
    status, headers, body = get(archive, f"/studies/1.2.3.5/series/1.2.3.5.0/instances/{uid}/rendered", "*/*")
    assert (status, headers.get_content_type(), body) == (200, media_type, document)


def test_C7_12_a_document_of_another_type_than_the_metadata_says_is_refused(archive: Archive) -> None:
    """10.5.1.4: of the media type that (0042,0012) says."""
    said = {"00420011": {"vr": "OB", "BulkDataURI": "d"}, "00420012": {"vr": "LO", "Value": ["model/stl"]}}
    model = _model("1.2.3.5.5", PDF, **said)
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), ("application/pdf", "d", b"%PDF-1.4"))
    assert (answer.status, answer.failed) == (400, {"1.2.3.5.5": CANNOT_UNDERSTAND})


_BASELINE = next(generate_frames(dcmread(samples.SAMPLES / "SC_rgb_jpeg_dcmtk.dcm").PixelData, number_of_frames=1))


def _with(**more: Any) -> bytes:
    return json.dumps([_model("1.2.3.5.9", **more)]).encode()


def _deep(depth: int) -> bytes:
    return _with(**{"00081140": "@"}).replace(
        b'"@"', b'{"vr":"SQ","Value":[{"00081140":' * depth + b'{"vr":"SQ"}' + b"}]}" * depth
    )


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        pytest.param(b"", JSON, id="empty"),
        pytest.param(b"{", JSON, id="cut"),
        pytest.param(b"[1]", JSON, id="no-data-set"),
        pytest.param(b"[]", JSON, id="no-data-sets"),
        pytest.param(b"[" * 100_000, JSON, id="json-bomb"),
        pytest.param(_deep(65), JSON, id="65-deep"),
        pytest.param(_deep(500), JSON, id="500-deep"),
        pytest.param(_with(**{"00081140": {"vr": "SQ", "Value": [None] * 110_000}}), JSON, id="items"),
        pytest.param(_with(**{"7FE00010": {"vr": "OW", "BulkDataURI": "file:///etc/passwd"}}), JSON, id="B60-file"),
        pytest.param(_with(**{"7FE00010": {"vr": "OW", "BulkDataURI": "http://127.0.0.1:1/x"}}), JSON, id="B60-http"),
        pytest.param(_with(**{"7FE00010": {"vr": "OW", "BulkDataURI": 7}}), JSON, id="no-uri"),
        pytest.param(_with(**{"00280010": {"vr": "US", "Value": [70_000]}}), JSON, id="overflow"),
        pytest.param(_with(**{"00280010": {"vr": "US", "Value": ["x"]}}), JSON, id="no-number"),
        pytest.param(_with(**{"00280010": {"vr": "US", "Value": [1.5]}}), JSON, id="fraction"),
        pytest.param(_with(**{"00280010": {"vr": "ZZ", "Value": [1]}}), JSON, id="no-vr"),
        pytest.param(_with(**{"00280010": 7}), JSON, id="no-element"),
        pytest.param(_with(PatientID={"vr": "LO"}), JSON, id="keyword"),
        pytest.param(_with(**{"00100010": {"vr": "PN", "Value": [{"Alphabetic": 7}]}}), JSON, id="no-name"),
        pytest.param(_with(**{"00100020": {"vr": "LO", "Value": ["A\\B"]}}), JSON, id="backslash"),
        pytest.param(_with(**{"00100020": {"vr": "LO", "Value": ["x" * 70_000]}}), JSON, id="too-long"),
        pytest.param(_with(**{"00091001": {"vr": "OB", "InlineBinary": "!"}}), JSON, id="no-base64"),
        pytest.param(_with(**{"00091001": {"vr": "OB", "Value": [1]}}), JSON, id="bytes-as-value"),
        pytest.param(
            _with(**{"00091001": {"vr": "OB", "InlineBinary": base64.b64encode(b"xx").decode(), "BulkDataURI": "x"}}),
            JSON,
            id="two-values",
        ),
        pytest.param(b"", XML, id="xml-empty"),
        pytest.param(b"<NativeDicomModel>", XML, id="xml-cut"),
        pytest.param(b"<Other/>", XML, id="xml-other"),
        pytest.param(
            b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><NativeDicomModel>&a;</NativeDicomModel>',
            XML,
            id="xml-entity",
        ),
        pytest.param(b"<NativeDicomModel>" + b"<Item>" * 10_000, XML, id="xml-deep"),
        pytest.param(
            b"<NativeDicomModel>" + b'<DicomAttribute tag="00081140" vr="SQ"><Item>' * 10_000, XML, id="xml-nested"
        ),
        pytest.param(
            b'<NativeDicomModel><DicomAttribute tag="00280010" vr="US"><Value>x</Value></DicomAttribute>'
            b"</NativeDicomModel>",
            XML,
            id="xml-no-number",
        ),
    ],
)
def test_B60_B61_metadata_that_is_none_is_refused_and_nothing_is_fetched(
    archive: Archive, metadata: bytes, kind: str
) -> None:
    before = objects(archive)
    answer = store(archive, (kind, "", metadata), (OCTETS, "unused", b"1234"), kind=kind)
    assert answer.status == 400, answer.body
    assert objects(archive) == before
    _, raised, trace = archive.log_lines().partition("Traceback")
    assert not raised, trace[:3500]


def test_metadata_past_its_limit_is_refused(archive: Archive) -> None:
    answer = store(archive, (JSON, "", b" " * (9 * 1024 * 1024)))
    assert answer.status == 413


@pytest.mark.parametrize(
    ("media_type", "data", "reason"),
    [
        ("image/webp", b"RIFF", SYNTAX_NOT_SUPPORTED),
        ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.70", _BASELINE, SYNTAX_NOT_SUPPORTED),
        ("image/png; transfer-syntax=1.2.840.10008.1.2.4.70", b"\x89PNG", SYNTAX_NOT_SUPPORTED),
        ("image/jls; transfer-syntax=1.2.840.10008.1.2.4.50", b"\xff\xd8", SYNTAX_NOT_SUPPORTED),
        ("text/plain", b"x", SYNTAX_NOT_SUPPORTED),
        ("image/jpeg", b"no JPEG", CANNOT_UNDERSTAND),
        ("image/jp2", b"\xff\x4f\xff\x51", CANNOT_UNDERSTAND),
        ("video/mp4", b"\0\0\0\x08moov" * 3, CANNOT_UNDERSTAND),
        ("video/mp4", struct.pack(">I4s", 2**32 - 1, b"moov"), CANNOT_UNDERSTAND),
        ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.90", b"\xff\xd8\xff\xd9", SYNTAX_NOT_SUPPORTED),
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2", b"xx", SYNTAX_NOT_SUPPORTED),
    ],
)
def test_pixels_that_no_transfer_syntax_holds_as_they_are(
    archive: Archive, media_type: str, data: bytes, reason: int
) -> None:
    model = _model("1.2.3.5.6", **{"7FE00010": {"vr": "OB", "BulkDataURI": "p"}})
    before = objects(archive)
    answer = store(archive, (JSON, "", json.dumps([model]).encode()), (media_type, "p", data))
    assert answer.status == {SYNTAX_NOT_SUPPORTED: 415, CANNOT_UNDERSTAND: 400}[reason]
    assert answer.failed == {"1.2.3.5.6": reason}
    assert objects(archive) == before


def test_bulk_data_that_is_cut_makes_no_object(archive: Archive) -> None:
    model = _model("1.2.3.5.7", **{"7FE00010": {"vr": "OB", "BulkDataURI": "p"}})
    whole = body((JSON, "", json.dumps([model]).encode()), (OCTETS, "p", bytes(1000)))
    content_type = f'multipart/related; type="{JSON}"; boundary={BOUNDARY}'
    answer = post(archive.dicomweb_port, whole[:-100], content_type=content_type)
    assert answer.status == 400
    assert "InstanceStored" not in archive.annals("events", "--stream", "1.2.3.5.7", check=False).stdout


def test_STO_3_bulk_data_lies_in_the_temp_folder(make_archive: Callable[..., Archive]) -> None:
    """While it is not there, or as good as full, nothing that has bulk data is stored."""
    archive = make_archive()
    folder = archive.data.with_name("temp")
    archive.environment["ANNALS_STORAGE__TEMP_FOLDER"] = str(folder)
    archive.with_database().start()
    model = _model("1.2.3.5.8", **{"7FE00010": {"vr": "OW", "BulkDataURI": "p"}})
    parts = (JSON, "", json.dumps([model]).encode()), (OCTETS, "p", bytes(1000))
    assert store(archive, *parts).status == 507
    assert "no bulk data is received" in archive.log_lines()
    assert "no bulk data is received" in archive.annals("storage", "list").stdout
    folder.mkdir()
    assert store(archive, *parts).stored == ["1.2.3.5.8"]
