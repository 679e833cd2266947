"""One series that comes over several associations at once, in any order (C2.11)."""

from __future__ import annotations

import random
import threading

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyFind,
)

from tests.archive import samples
from tests.archive.conftest import Archive

SUCCESS = 0x0000
TRANSIENT = 2
ASSOCIATIONS, INSTANCES = 4, 40


def send(archive: Archive, images: list[Dataset], statuses: list[int]) -> None:
    ae = ApplicationEntity("MODALITY")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    while association.is_rejected and association.acceptor.primitive.result == TRANSIENT:
        association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    statuses += [association.send_c_store(image).get("Status", -1) for image in images]
    association.release()


def test_C2_11_a_series_over_four_associations_is_one_study_and_one_series(archive: Archive) -> None:
    study, series = generate_uid(), generate_uid()
    images = []
    for number in range(INSTANCES):
        image = dcmread(samples.SAMPLES / "CT_small.dcm")
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.InstanceNumber = number
        images.append(image)
    random.shuffle(images)
    # Every association sends its share, and one instance that another sends too.
    shares = [[*images[part::ASSOCIATIONS], images[part - 1]] for part in range(ASSOCIATIONS)]
    statuses: list[int] = []
    senders = [threading.Thread(target=send, args=(archive, share, statuses)) for share in shares]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
    assert statuses == [SUCCESS] * (INSTANCES + ASSOCIATIONS)
    ae = ApplicationEntity("WORKSTATION")
    ae.add_requested_context(StudyFind)
    association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "STUDY"
    wanted.StudyInstanceUID = study
    wanted.NumberOfStudyRelatedSeries = wanted.NumberOfStudyRelatedInstances = None
    found = [answer for _, answer in association.send_c_find(wanted, StudyFind) if answer is not None]
    association.release()
    assert [(one.NumberOfStudyRelatedSeries, one.NumberOfStudyRelatedInstances) for one in found] == [(1, INSTANCES)]
