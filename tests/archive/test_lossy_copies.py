"""What is compressed with loss on its way out, where it becomes a derived instance (C8.1, TS-2), seen by its peers."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000, CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, MRImageStorage

from domain.derivation import copy_uid
from tests.archive.conftest import SMALL, Archive, running_archive
from tests.archive.test_retrieve import (
    CANNOT_PERFORM,
    IMAGES,
    SUCCESS,
    Destination,
    Study,
    StudyGet,
    counts,
    getter,
    move,
)
from tests.ports import free_port

BOTH = (CTImageStorage, MRImageStorage)


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with running_archive({**SMALL, "ANNALS_TRANSCODING__LOSSY_AS_DERIVED": "true"}) as running:
        yield running


@pytest.fixture(scope="module")
def study(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(archive, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def port(archive: Archive) -> int:
    number = free_port()
    archive.annals("device", "add", "LOSSY", "127.0.0.1", str(number), "--preferred-transfer-syntax", JPEG2000)
    return number


def check_copies(copies: list[tuple[str, Dataset]], study: Study) -> None:
    """Each image came once, named alike in its request and its data set, with its source."""
    assert sorted(uid for uid, _ in copies) == sorted(copy_uid(uid, JPEG2000) for uid in study.images)
    for uid, image in copies:
        (source,) = image.SourceImageSequence
        assert (image.SOPInstanceUID, uid) == (uid, copy_uid(source.ReferencedSOPInstanceUID, JPEG2000))
        assert (source.ReferencedSOPClassUID, image.ImageType[0]) == (image.SOPClassUID, "DERIVED")
        assert (image.LossyImageCompression, image.StudyInstanceUID) == ("01", study.uid)


def test_C8_1_a_move_names_the_derived_instances(archive: Archive, study: Study, port: int) -> None:
    for _ in range(2):
        destination = Destination(port)
        with destination.running([(sop_class, JPEG2000) for sop_class in BOTH]):
            status, identifier = move(archive, "LOSSY", study.query())
        assert (status.Status, counts(status)[1:], identifier) == (SUCCESS, (IMAGES, 0, 0), None)
        check_copies([(one.request.AffectedSOPInstanceUID, one.dataset) for one in destination.requests], study)
    assert "compressed with loss" not in archive.log_lines()


def test_C8_1_C3_4_the_list_of_what_failed_names_what_was_asked_for(archive: Archive, study: Study, port: int) -> None:
    destination = Destination(port)
    destination.answer = 0xA700
    with destination.running([(sop_class, JPEG2000) for sop_class in BOTH]):
        status, identifier = move(archive, "LOSSY", study.query())
    assert (status.Status, counts(status)[1:]) == (CANNOT_PERFORM, (0, IMAGES, 0))
    assert identifier is not None
    assert sorted(identifier.FailedSOPInstanceUIDList) == sorted(study.images)


def test_C8_1_what_goes_without_loss_is_named_as_it_was_asked_for(archive: Archive, study: Study, port: int) -> None:
    destination = Destination(port)
    with destination.running([(sop_class, ExplicitVRLittleEndian) for sop_class in BOTH]):
        status, _ = move(archive, "LOSSY", study.query())
    assert (status.Status, counts(status)[1:]) == (SUCCESS, (IMAGES, 0, 0))
    assert sorted(one.request.AffectedSOPInstanceUID for one in destination.requests) == sorted(study.images)
    assert sorted(one.dataset.SOPInstanceUID for one in destination.requests) == sorted(study.images)


def test_C8_1_a_get_brings_the_derived_instances(archive: Archive, study: Study, port: int) -> None:
    with getter(archive, list(BOTH), [JPEG2000, ExplicitVRLittleEndian], calling="LOSSY") as (association, received):
        *_, (status, _) = association.send_c_get(study.query(), StudyGet)
    assert (status.Status, counts(status)[1:]) == (SUCCESS, (IMAGES, 0, 0))
    check_copies([(one.request.AffectedSOPInstanceUID, one.dataset) for one in received], study)


@pytest.mark.parametrize(("syntax", "is_derived"), [(JPEG2000, True), (JPEG2000Lossless, False), ("", False)])
def test_C8_1_the_file_that_is_asked_for_with_loss_holds_the_derived_instance(
    archive: Archive, study: Study, syntax: str, is_derived: bool
) -> None:
    asked, series = study.images[1], study.series[1]
    base = f"http://127.0.0.1:{archive.dicomweb_port}"
    accept = f"application/dicom; transfer-syntax={syntax}" if syntax else "application/dicom"
    by_path = urllib.request.Request(
        f"{base}/dicom-web/studies/{study.uid}/series/{series}/instances/{asked}", headers={"Accept": accept}
    )
    query = f"requestType=WADO&studyUID={study.uid}&seriesUID={series}&objectUID={asked}&contentType=application/dicom"
    uid = copy_uid(asked, JPEG2000) if is_derived else asked
    for request in (by_path, f"{base}/wado?{query}{f'&transferSyntax={syntax}' if syntax else ''}"):
        with urllib.request.urlopen(request, timeout=60) as answer:
            file = dcmread(BytesIO(answer.read()))
            assert f'filename="{uid}.dcm"' in answer.headers["Content-Disposition"]
            assert asked in answer.headers["Content-Location"]
        assert (file.file_meta.MediaStorageSOPInstanceUID, file.SOPInstanceUID) == (uid, uid)
        assert ("SourceImageSequence" in file) == is_derived


def test_C8_1_the_copies_are_stored_beside_their_originals(archive: Archive, tmp_path: Path) -> None:
    """Sent back they are instances of their own, never another content of those they were made of."""
    study = Study(archive, tmp_path)
    url = f"http://127.0.0.1:{archive.dicomweb_port}/wado?requestType=WADO&studyUID={study.uid}"
    url += f"&seriesUID={study.series[1]}&objectUID={study.images[1]}&contentType=application/dicom"
    with urllib.request.urlopen(f"{url}&transferSyntax={JPEG2000}", timeout=60) as answer:
        (tmp_path / "copy.dcm").write_bytes(answer.read())
    assert archive.dcmtk("storescu", "-xw", str(tmp_path / "copy.dcm")).returncode == 0
    copy, original = copy_uid(study.images[1], JPEG2000), study.images[1]
    for uid in (copy, original):
        assert archive.dicomweb(f"studies/{study.uid}/series/{study.series[1]}/instances/{uid}") == 200
