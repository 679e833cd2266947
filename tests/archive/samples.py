"""Sample files of other makers, as an independent sender sends them: pydicom's own, and what tools make of them."""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, generate_uid
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dsutils import split_dataset

from adapters.dicom.syntaxes import encoding_of

SAMPLES = Path(get_testdata_files("CT_small.dcm")[0]).parent


@dataclass(frozen=True, slots=True)
class Sample:
    """A Part 10 file that names an instance: what a sender says of it, and its data set's bytes."""

    path: Path
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    def data_set(self) -> bytes:
        _, offset = split_dataset(self.path)
        return self.path.read_bytes()[offset:]

    def as_given_back(self) -> bytes:
        """The data set as DIMSE takes it: fragments are even, DCMTK refuses others; a deflated one may be padded."""
        data = self.data_set()
        return data + bytes(len(data) % 2 if encoding_of(self.transfer_syntax_uid).deflated else 0)


def read(path: Path) -> Sample | None:
    """The sample, or None where the file names no complete instance (DICOMDIR, text, broken on purpose)."""
    try:
        header = dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError):
        return None
    named = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    if not all(header.get(name) for name in named) or "TransferSyntaxUID" not in header.file_meta:
        return None
    return _named(path, header)


def _named(path: Path, header: FileDataset) -> Sample:
    return Sample(
        path,
        header.SOPClassUID,
        header.StudyInstanceUID,
        header.SeriesInstanceUID,
        header.SOPInstanceUID,
        header.file_meta.TransferSyntaxUID,
    )


def all_different(folder: Path) -> Iterator[Sample]:
    """Every sample of pydicom with an instance UID of its own: one that comes twice is changed in place."""
    seen: set[str] = set()
    for path in sorted(SAMPLES.rglob("*")):
        sample = read(path) if path.is_file() else None
        if sample is None:
            continue
        if sample.sop_instance_uid in seen:
            old = sample.sop_instance_uid.encode()
            fresh = generate_uid(entropy_srcs=[str(path)])[: len(old)].rstrip(".").ljust(len(old), "1").encode()
            data = path.read_bytes()
            if data.count(old) < 2:
                continue
            changed = folder / f"{len(seen):04}.dcm"
            changed.write_bytes(data.replace(old, fresh))
            sample = read(changed)
            assert sample
        seen.add(sample.sop_instance_uid)
        yield sample


def converted(folder: Path) -> Iterator[Sample]:
    """CT_small in every syntax that the tools of DCMTK and GDCM write, each an instance of its own."""
    for number, command in enumerate(
        (
            ["dcmconv", "+ti"],
            ["dcmconv", "+te"],
            ["dcmconv", "+tb"],
            ["dcmconv", "+td"],
            ["dcmcrle"],
            ["dcmcjpeg", "+e1"],
            ["dcmcjpeg", "+el"],
            ["dcmcjpeg", "+eb"],
            ["dcmcjpeg", "+ee"],
            ["dcmcjpls"],
            ["gdcmconv", "--raw"],
            ["gdcmconv", "--raw", "--implicit"],
            ["gdcmconv", "--deflated"],
            ["gdcmconv", "--j2k"],
            ["gdcmconv", "--jpegls"],
            ["gdcmconv", "--jpeg"],
            ["gdcmconv", "--rle"],
        )
    ):
        made = folder / f"{number:02}-{command[0]}.dcm"
        subprocess.run([*command, str(SAMPLES / "CT_small.dcm"), str(made)], check=True, capture_output=True)
        uid = generate_uid(entropy_srcs=[str(number)])
        subprocess.run(["dcmodify", "-nb", "-m", f"SOPInstanceUID={uid}", str(made)], check=True, capture_output=True)
        sample = read(made)
        assert sample
        yield sample


def pretended(folder: Path, transfer_syntax_uid: str) -> Sample:
    """CT_small with made-up pixels, or a reference to some, said to be in a syntax that no tool here writes."""
    syntax = UID(transfer_syntax_uid)
    image = dcmread(SAMPLES / "CT_small.dcm")
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.file_meta.TransferSyntaxUID = syntax
    if "JPIP" in syntax.name:
        del image.PixelData
        image.PixelDataProviderURL = "http://127.0.0.1/none"
    else:
        image.PixelData = encapsulate([b"\xff\x4f" + transfer_syntax_uid.encode().ljust(64)])
        image["PixelData"].is_undefined_length = True
    made = folder / "pretended.dcm"
    image.save_as(made, enforce_file_format=True)
    if syntax.name.endswith("Referenced Deflate"):
        _, offset = split_dataset(made)
        data = made.read_bytes()
        made.write_bytes(data[:offset] + zlib.compress(data[offset:], wbits=-zlib.MAX_WBITS))
    return _named(made, image)


def send(port: int, sample: Sample) -> tuple[int, str]:
    """Send the file's bytes as they are with pynetdicom; the status and the peer's Error Comment."""
    ae = ApplicationEntity("SENDER")
    ae.add_requested_context(sample.sop_class_uid, sample.transfer_syntax_uid)
    association = ae.associate("127.0.0.1", port, ae_title="ANNALS")
    assert association.is_established
    try:
        answer = association.send_c_store(sample.path)
        return answer.Status, answer.get("ErrorComment", "")
    finally:
        association.release()


def digest(sample: Sample) -> str:
    """The name that the archive's storage gives to the sample's data set."""
    return hashlib.sha256(sample.data_set()).hexdigest()
