"""Objects of new studies over both doors, and what is told of those who send too many."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.ae import ApplicationEntity

from tests.archive import stow
from tests.archive.conftest import Archive
from tests.archive.stow import part10
from tests.dicom.encoding import minimal

OUT_OF_RESOURCES = 0xA700


def image(study: str) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = study, generate_uid()
    made.ensure_file_meta()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def send(archive: Archive, studies: Sequence[str], calling: str = "CT") -> list[int]:
    """Store one more object of each study over one association; the statuses."""
    ae = ApplicationEntity(calling)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    assert association.is_established
    try:
        return [association.send_c_store(image(study)).Status for study in studies]
    finally:
        association.release()


def post(archive: Archive, studies: Sequence[str]) -> stow.Answer:
    """Store one more object of each study over STOW."""
    files = []
    for study in studies:
        uid = generate_uid()
        files.append(part10(minimal(instance=uid, study=study, series=generate_uid()), uid))
    return stow.store(archive.dicomweb_port, *files)


def rejections(archive: Archive, why: str) -> tuple[int, int, int]:
    """How many facts and log lines tell of senders that were turned away for a reason, and how often they were."""
    facts = [line for line in archive.annals("events").stdout.splitlines() if "PeerRejected" in line and why in line]
    lines = [line for line in archive.log_lines().splitlines() if "was turned away" in line and why in line]
    return len(facts), len(lines), sum(int(line.partition("count=")[2].split()[0]) for line in facts)
