"""C-MOVE and C-GET in the syntax that a device prefers, and the fallbacks (TS-2, TS-3, C3.9), seen by pynetdicom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSNearLossless,
    MRImageStorage,
    generate_uid,
)

from tests.archive import samples
from tests.archive.conftest import Archive, until
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
def study(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(archive, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def port(archive: Archive) -> int:
    number = free_port()
    archive.annals(
        "device", "add", "PREFERS", "127.0.0.1", str(number), "--preferred-transfer-syntax", JPEG2000Lossless
    )
    return number


@pytest.mark.parametrize(
    ("taken", "sent"),
    [
        ((ExplicitVRLittleEndian, JPEG2000Lossless), JPEG2000Lossless),
        ((ExplicitVRLittleEndian, JPEGLSNearLossless), ExplicitVRLittleEndian),
        ((ImplicitVRLittleEndian,), ImplicitVRLittleEndian),
    ],
)
def test_TS_2_a_study_goes_in_the_preferred_syntax_else_in_the_next_that_is_taken(
    archive: Archive, study: Study, port: int, taken: tuple[str, ...], sent: str
) -> None:
    destination = Destination(port)
    with destination.running([(sop_class, syntax) for sop_class in BOTH for syntax in taken]):
        status, _ = move(archive, "PREFERS", study.query())
    assert status.Status == SUCCESS
    assert counts(status)[1:] == (IMAGES, 0, 0)
    expected = {name: dcmread(samples.SAMPLES / f"{name}_small.dcm").pixel_array for name in ("CT", "MR")}
    for request in destination.requests:
        assert request.context.transfer_syntax == sent
        image = request.dataset
        image.file_meta = request.file_meta
        assert np.array_equal(image.pixel_array, expected[image.Modality])
    assert sorted(request.dataset.SOPInstanceUID for request in destination.requests) == sorted(study.images)


def test_TS_3_where_only_a_lossy_syntax_is_taken_all_fail_and_are_listed(
    archive: Archive, study: Study, port: int
) -> None:
    destination = Destination(port)
    with destination.running([(sop_class, JPEGLSNearLossless) for sop_class in BOTH]):
        status, identifier = move(archive, "PREFERS", study.query())
    assert status.Status == CANNOT_PERFORM
    assert counts(status)[1:] == (0, IMAGES, 0)
    assert identifier is not None
    assert sorted(identifier.FailedSOPInstanceUIDList) == sorted(study.images)


def test_C8_1_what_is_compressed_with_loss_keeps_its_UID_and_the_log_warns_of_it(
    archive: Archive, study: Study
) -> None:
    destination = Destination(free_port())
    archive.annals(
        "device", "add", "LOSSY", "127.0.0.1", str(destination.port), "--preferred-transfer-syntax", JPEG2000
    )
    with destination.running([(sop_class, JPEG2000) for sop_class in BOTH]):
        status, _ = move(archive, "LOSSY", study.query())
    assert (status.Status, counts(status)[1:]) == (SUCCESS, (IMAGES, 0, 0))
    assert sorted(one.dataset.SOPInstanceUID for one in destination.requests) == sorted(study.images)
    assert {one.dataset.LossyImageCompression for one in destination.requests} == {"01"}
    warning = f"{IMAGES} objects were compressed with loss ({JPEG2000}) and kept their SOP Instance UIDs"
    until(lambda: archive.log_lines().count(warning) == 1, 60, "it is told of once")


def test_C3_9_a_get_is_answered_in_the_preferred_syntax_though_it_is_proposed_last(
    archive: Archive, study: Study, port: int
) -> None:
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless]
    with getter(archive, list(BOTH), [syntaxes], calling="PREFERS") as (association, received):
        *_, (status, _) = association.send_c_get(study.query(), StudyGet)
    assert (status.Status, counts(status)[1:]) == (SUCCESS, (IMAGES, 0, 0))
    assert {event.context.transfer_syntax for event in received} == {JPEG2000Lossless}


def test_C3_9_an_object_that_no_codec_can_convert_goes_as_it_is_stored_and_the_others_as_preferred(
    archive: Archive, port: int, tmp_path: Path
) -> None:
    """Reported for each: all are sent, the one that fails in a syntax that the destination takes too."""
    study = Study(archive, tmp_path)
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    image.StudyInstanceUID, image.SeriesInstanceUID, image.PatientID = study.uid, study.series[1], study.patient_id
    image.SOPInstanceUID = generate_uid()
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    # Its description contradicts itself: no codec can be told what to do.
    image.BitsStored = 32
    broken = tmp_path / "broken.dcm"
    image.save_as(broken)
    assert archive.dcmtk("storescu", str(broken)).returncode == 0
    destination = Destination(port)
    with destination.running([(c, s) for c in BOTH for s in (JPEG2000Lossless, ExplicitVRLittleEndian)]):
        status, _ = move(archive, "PREFERS", study.query())
    assert status.Status == SUCCESS
    assert counts(status)[1:] == (IMAGES + 1, 0, 0)
    went = {request.dataset.SOPInstanceUID: request.context.transfer_syntax for request in destination.requests}
    assert went.pop(image.SOPInstanceUID) == ExplicitVRLittleEndian
    assert set(went.values()) == {JPEG2000Lossless}
