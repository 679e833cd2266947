"""Copies that are compressed with loss say so, and may be instances of their own (C8.1; PS3.3 C.7.6.1.1.5, C.12.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, generate_uid

from adapters.codecs.transcoder import Transcoder
from domain.derivation import copy_uid
from domain.errors import Refused
from domain.limits import Limits
from domain.transcoding import (
    BIG_ENDIAN,
    DEFLATED,
    ENCODED_LOSSLESS,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LS_NEAR,
    RLE,
)
from tests.codecs import toolkits
from tests.codecs.derived import code, enhanced, errors_of_dciodvfy, frame_type, item, origin
from tests.codecs.pictures import made, opened, saved, transcoded
from tests.codecs.test_samples import raw

KINDS: dict[str, dict[str, Any]] = {
    JPEG_BASELINE: {"bits_allocated": 8, "bits_stored": 8},
    JPEG_EXTENDED: {},
    JPEG_LS_NEAR: {},
    JPEG_2000: {"signed": True},
    HTJ2K: {"bits_stored": 16},
}
METHODS = {
    JPEG_BASELINE: "ISO_10918_1",
    JPEG_EXTENDED: "ISO_10918_1",
    JPEG_LS_NEAR: "ISO_14495_1",
    JPEG_2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}
LOSSY_COMPRESSION, PREDECESSOR = ("113040", "DCM", "Lossy Compression"), ("121320", "DCM", "Uncompressed predecessor")
SOURCES = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, RLE)
_CHANGING = {0x00080008, 0x00082111, 0x00089215, 0x00282110, 0x00282112, 0x00282114, 0x7FE00010}
_CHANGING_OF_AN_INSTANCE = {*_CHANGING, 0x00080018, 0x00082112}


SOURCE_SEQUENCES = {"SourceImageSequence", "SourceImageEvidenceSequence", "ReferencedSeriesSequence"}


@pytest.fixture(scope="module")
def deriving() -> Iterator[Transcoder]:
    """A transcoder that makes instances of lossy copies."""
    running = Transcoder(Limits(), 2, lossy_as_instance=True)
    yield running
    running.close()


def codes(items: Any) -> list[tuple[str, str, str]]:
    return [(one.CodeValue, one.CodingSchemeDesignator, one.CodeMeaning) for one in items]


def check_source(source: Dataset, image: Dataset) -> None:
    """An item of Source Image Sequence names the image as the uncompressed predecessor."""
    assert (source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID) == (image.SOPClassUID, image.SOPInstanceUID)
    assert codes(source.PurposeOfReferenceCodeSequence) == [PREDECESSOR]
    assert "ReferencedFrameNumber" not in source


def check_evidence(derived: Dataset, image: Dataset) -> None:
    """The study and series of the source are told, by the enhanced images' sequence and by the common one."""
    ((study,), (common,)) = derived.SourceImageEvidenceSequence, derived.ReferencedSeriesSequence
    (series,) = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == image.StudyInstanceUID
    for one, (reference,) in ((series, series.ReferencedSOPSequence), (common, common.ReferencedInstanceSequence)):
        assert one.SeriesInstanceUID == image.SeriesInstanceUID
        assert reference.ReferencedSOPInstanceUID == image.SOPInstanceUID


@pytest.mark.parametrize("syntax", KINDS)
def test_C8_1_a_lossy_copy_tells_how_it_was_made_and_keeps_all_else(
    transcoder: Transcoder, tmp_path: Path, syntax: str
) -> None:
    image = made(**KINDS[syntax])
    for source in SOURCES:
        path = transcoded(transcoder, saved(image, tmp_path / "a.dcm"), source)
        copied = transcoded(transcoder, path, syntax)
        lossy = dcmread(copied)
        said = f"Lossy compression ({METHODS[syntax]}), ratio {lossy.LossyImageCompressionRatio:.2f}:1"
        assert lossy.DerivationDescription == said
        assert codes(lossy.DerivationCodeSequence) == [LOSSY_COMPRESSION]
        assert (lossy.SOPInstanceUID, "SourceImageSequence" in lossy) == (image.SOPInstanceUID, False)
        ratio = len(image.PixelData) / len(lossy.PixelData)
        assert lossy.LossyImageCompressionRatio == pytest.approx(ratio, rel=0.05)
        if source not in (IMPLICIT, BIG_ENDIAN):
            assert raw(dcmread(copied), _CHANGING) == raw(dcmread(tmp_path / "a.dcm"), _CHANGING), source


@pytest.mark.parametrize("syntax", KINDS)
def test_C8_1_a_derived_copy_is_an_instance_of_its_own_that_names_its_source(
    deriving: Transcoder, transcoder: Transcoder, tmp_path: Path, syntax: str
) -> None:
    image = made(**KINDS[syntax])
    for source in SOURCES:
        path = transcoded(deriving, saved(image, tmp_path / "a.dcm"), source)
        derived = dcmread(transcoded(deriving, path, syntax))
        assert derived.SOPInstanceUID == derived.file_meta.MediaStorageSOPInstanceUID
        assert derived.SOPInstanceUID == copy_uid(image.SOPInstanceUID, syntax)
        (predecessor,) = derived.SourceImageSequence
        check_source(predecessor, image)
        kept = dcmread(transcoded(transcoder, path, syntax))
        assert raw(derived, _CHANGING_OF_AN_INSTANCE - _CHANGING) == raw(kept, _CHANGING_OF_AN_INSTANCE - _CHANGING)


def test_C8_1_what_was_derived_already_keeps_its_history(deriving: Transcoder, tmp_path: Path) -> None:
    image = made()
    earlier, first = "Überlagert mit 3 Bildern ", item(ReferencedSOPClassUID=CTImageStorage)
    first.ReferencedSOPInstanceUID = generate_uid()
    first.is_undefined_length_sequence_item = True
    image.ImageType = ["DERIVED", "SECONDARY", "MPR"]
    image.DerivationDescription = earlier
    image.DerivationCodeSequence = [code("113072", "Multiplanar reformatting")]
    image.SourceImageSequence = [first]
    image["SourceImageSequence"].is_undefined_length = True
    for source in SOURCES:
        lossy = dcmread(transcoded(deriving, transcoded(deriving, saved(image, tmp_path / "a.dcm"), source), JPEG_2000))
        assert lossy.ImageType == image.ImageType
        assert lossy.DerivationDescription.startswith(
            "Überlagert mit 3 Bildern; Lossy compression (ISO_15444_1), ratio "
        )
        assert codes(lossy.DerivationCodeSequence) == [
            ("113072", "DCM", "Multiplanar reformatting"),
            LOSSY_COMPRESSION,
        ]
        kept, predecessor = lossy.SourceImageSequence
        assert kept.ReferencedSOPInstanceUID == first.ReferencedSOPInstanceUID
        check_source(predecessor, image)


def test_C8_1_sources_that_came_without_their_VR_are_kept(deriving: Transcoder, tmp_path: Path) -> None:
    """UN holds implicit items, where an implicit sequence went through one that did not know it (PS3.5 6.2.2)."""
    image, uid = made(), b"1.2.3.40"
    reference = struct.pack("<HHI", 0x0008, 0x1155, len(uid)) + uid
    items = struct.pack("<HHI", 0xFFFE, 0xE000, len(reference)) + reference
    source = saved(image, tmp_path / "a.dcm")
    unknown = struct.pack("<HH2sHI", 0x0008, 0x2112, b"UN", 0, len(items)) + items
    source.write_bytes(source.read_bytes().replace(b"\x10\x00\x10\x00PN", unknown + b"\x10\x00\x10\x00PN"))
    lossy = dcmread(transcoded(deriving, source, JPEG_2000))
    kept, predecessor = lossy.SourceImageSequence
    assert kept.ReferencedSOPInstanceUID == uid.decode()
    check_source(predecessor, image)


@pytest.mark.parametrize("length", [1000, 1024, 5000])
def test_C8_1_a_description_that_leaves_no_room_stays_as_it_is(
    transcoder: Transcoder, tmp_path: Path, length: int
) -> None:
    image = made()
    image.DerivationDescription = "x" * length
    lossy = dcmread(transcoded(transcoder, saved(image, tmp_path / "a.dcm"), JPEG_2000))
    assert lossy.DerivationDescription == image.DerivationDescription
    assert codes(lossy.DerivationCodeSequence) == [LOSSY_COMPRESSION]


def test_C8_1_an_object_without_image_type_gets_one_that_says_derived(transcoder: Transcoder, tmp_path: Path) -> None:
    image = made()
    image.SOPClassUID = SecondaryCaptureImageStorage
    del image.ImageType
    lossy = dcmread(transcoded(transcoder, saved(image, tmp_path / "a.dcm"), JPEG_2000))
    assert lossy.ImageType == ["DERIVED", "PRIMARY"]


def test_C8_1_what_loses_nothing_stays_the_same_instance(deriving: Transcoder, tmp_path: Path) -> None:
    image = made()
    source = saved(image, tmp_path / "a.dcm")
    for syntax in (*ENCODED_LOSSLESS, IMPLICIT, BIG_ENDIAN):
        read = dcmread(transcoded(deriving, source, syntax))
        assert (read.SOPInstanceUID, read.ImageType) == (image.SOPInstanceUID, image.ImageType), syntax
        assert read.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
        assert not {"SourceImageSequence", "DerivationCodeSequence", "DerivationDescription"} & set(read.dir()), syntax


def test_C8_1_a_derived_copy_without_loss_keeps_its_own_UID_and_its_marks(deriving: Transcoder, tmp_path: Path) -> None:
    derived = transcoded(deriving, saved(made(), tmp_path / "a.dcm"), JPEG_2000)
    again = transcoded(deriving, derived, JPEG_2000_LOSSLESS)
    assert raw(dcmread(again), {0x7FE00010}) == raw(dcmread(derived), {0x7FE00010})


def test_C8_1_what_has_no_pixels_is_not_derived(deriving: Transcoder, tmp_path: Path) -> None:
    report = made()
    del report.PixelData
    source = saved(report, tmp_path / "a.dcm")
    assert raw(dcmread(transcoded(deriving, source, JPEG_BASELINE)), set()) == raw(dcmread(source), set())


def test_C8_1_what_does_not_say_what_instance_it_is_is_not_derived(deriving: Transcoder, tmp_path: Path) -> None:
    image = made()
    path = saved(image, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"\x08\x00\x18\x00UI", b"\x08\x00\x17\x00UI"))
    with opened(path) as stored, pytest.raises(Refused, match="what instance"):
        deriving.converted(stored, JPEG_2000)


def test_C8_1_many_frames_that_several_processes_encode_become_one_instance(
    deriving: Transcoder, tmp_path: Path
) -> None:
    image = made(bits_allocated=8, bits_stored=8)
    image.Rows, image.Columns, image.NumberOfFrames = 1024, 1024, 9
    image.PixelData = bytes(9 * 1024 * 1024)
    derived = dcmread(transcoded(deriving, saved(image, tmp_path / "a.dcm"), JPEG_LS_NEAR))
    assert derived.SOPInstanceUID == copy_uid(image.SOPInstanceUID, JPEG_LS_NEAR)
    check_source(derived.SourceImageSequence[0], image)


@pytest.mark.parametrize("source", SOURCES)
def test_C8_1_frames_with_functional_groups_are_derived_each(
    deriving: Transcoder, transcoder: Transcoder, tmp_path: Path, source: str
) -> None:
    image = enhanced(
        [item(CTImageFrameTypeSequence=frame_type("ORIGINAL"))],
        [item(FrameContentSequence=[item(FrameAcquisitionNumber=number)]) for number in (1, 2, 3)],
    )
    path = transcoded(transcoder, saved(image, tmp_path / "a.dcm"), source)
    for running in (transcoder, deriving):
        lossy = dcmread(transcoded(running, path, JPEG_2000))
        (shared,) = lossy.SharedFunctionalGroupsSequence
        assert [one.FrameType[0] for one in shared.CTImageFrameTypeSequence] == ["DERIVED"]
        assert shared.CTImageFrameTypeSequence[0].FrameType[1:] == ["PRIMARY", "VOLUME", "NONE"]
        assert shared.CTImageFrameTypeSequence[0].PixelPresentation == "MONOCHROME"
        assert lossy.PerFrameFunctionalGroupsSequence == image.PerFrameFunctionalGroupsSequence
        assert lossy.ImageType == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
        assert ("DerivationDescription" in lossy) == (running is not deriving)
        assert not SOURCE_SEQUENCES & set(lossy.dir()) or running is deriving
    (derivation,) = shared.DerivationImageSequence
    assert derivation.DerivationDescription.startswith("Lossy compression (ISO_15444_1), ratio ")
    assert codes(derivation.DerivationCodeSequence) == [LOSSY_COMPRESSION]
    check_source(derivation.SourceImageSequence[0], image)
    check_evidence(lossy, image)


@pytest.mark.parametrize("source", SOURCES)
def test_C8_1_a_derivation_of_single_frames_is_told_frame_by_frame(
    deriving: Transcoder, tmp_path: Path, source: str
) -> None:
    groups = [
        item(DerivationImageSequence=[origin("one")], CTImageFrameTypeSequence=frame_type("DERIVED")),
        item(CTImageFrameTypeSequence=frame_type("ORIGINAL")),
        item(DerivationImageSequence=[], CTImageFrameTypeSequence=frame_type("ORIGINAL")),
    ]
    groups[0].is_undefined_length_sequence_item = True
    image = enhanced(None, groups)
    image.ImageType = ["MIXED", "PRIMARY", "VOLUME", "NONE"]
    image["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
    path = transcoded(deriving, saved(image, tmp_path / "a.dcm"), source)
    lossy = dcmread(transcoded(deriving, path, JPEG_2000))
    assert (lossy.ImageType[0], "SharedFunctionalGroupsSequence" in lossy) == ("DERIVED", False)
    frames = lossy.PerFrameFunctionalGroupsSequence
    assert [one.CTImageFrameTypeSequence[0].FrameType[0] for one in frames] == ["DERIVED"] * 3
    assert frames[0].DerivationImageSequence[0] == groups[0].DerivationImageSequence[0]
    assert [len(one.DerivationImageSequence) for one in frames] == [2, 1, 1]
    for one in frames:
        check_source(one.DerivationImageSequence[-1].SourceImageSequence[0], image)


def test_C8_1_groups_of_frames_alone_get_a_shared_one_that_tells_the_derivation(
    deriving: Transcoder, tmp_path: Path
) -> None:
    without: list[list[Dataset] | None] = [None, []]
    for shared in without:
        image = enhanced(shared, [item(CTImageFrameTypeSequence=frame_type("ORIGINAL")) for _ in range(3)])
        lossy = dcmread(transcoded(deriving, saved(image, tmp_path / "a.dcm"), JPEG_2000))
        (only,) = lossy.SharedFunctionalGroupsSequence
        check_source(only.DerivationImageSequence[0].SourceImageSequence[0], image)
        frames = lossy.PerFrameFunctionalGroupsSequence
        assert [one.CTImageFrameTypeSequence[0].FrameType[0] for one in frames] == ["DERIVED"] * 3


@pytest.mark.parametrize("syntax", KINDS)
def test_C8_1_other_toolkits_and_dciodvfy_take_a_copy_of_either_mode(
    deriving: Transcoder, transcoder: Transcoder, tmp_path: Path, syntax: str
) -> None:
    images = [made(**KINDS[syntax])]
    if syntax in (JPEG_2000, JPEG_LS_NEAR):
        groups = [item(FrameContentSequence=[item(FrameAcquisitionNumber=number)]) for number in (1, 2, 3)]
        images.append(enhanced([item(CTImageFrameTypeSequence=frame_type("ORIGINAL"))], groups))
    for image in images:
        source = saved(image, tmp_path / "a.dcm")
        known = errors_of_dciodvfy(source)
        for running in (deriving, transcoder):
            lossy = transcoded(running, source, syntax)
            seen = list(toolkits.seen(lossy))
            assert seen
            for toolkit, samples, _ in seen:
                assert toolkits.decibels(toolkits.samples_of(dcmread(source)), samples) > 28, toolkit
            # Debian's dciodvfy does not know HTJ2K.
            if syntax != HTJ2K:
                assert errors_of_dciodvfy(lossy) <= known
