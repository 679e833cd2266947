"""What other makers' tools send is stored byte for byte and given back byte for byte (C2.1, C2.6)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)
from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dsutils import split_dataset
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as StudyRootGet  # type: ignore[attr-defined]

from tests.archive import samples
from tests.archive.conftest import Archive
from tests.archive.samples import Sample

SUCCESS, NOT_AS_DESCRIBED, CANNOT_UNDERSTAND, IDENTIFIER_DOES_NOT_MATCH = 0x0000, 0xB007, 0xC000, 0xA900
NOT_OF_DATA_SETS = ("MIME", "XML", "SMPTE", "Papyrus")
WRITTEN_BY_TOOLS = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
OTHERS = sorted(
    uid
    for uid, (name, kind, *_) in UID_dictionary.items()
    if kind == "Transfer Syntax" and uid not in WRITTEN_BY_TOOLS and not any(word in name for word in NOT_OF_DATA_SETS)
)


@pytest.fixture(autouse=True)
def _send_files_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)


def stored_file(archive: Archive, data_set: bytes) -> Path:
    digest = hashlib.sha256(data_set).hexdigest()
    found = list((archive.data / "storage" / digest[:2] / digest[2]).glob(f"{digest}*.dcm"))
    assert len(found) == 1
    return found[0]


def check_stored(archive: Archive, sample: Sample) -> None:
    data_set = sample.data_set()
    file = stored_file(archive, data_set)
    meta, offset = split_dataset(file)
    assert file.read_bytes()[offset:] == data_set
    assert meta.TransferSyntaxUID == sample.transfer_syntax_uid
    assert meta.MediaStorageSOPInstanceUID == sample.sop_instance_uid
    assert meta.SourceApplicationEntityTitle == "SENDER"
    assert meta.ImplementationVersionName.startswith("ANNALS")


def expected_status(sample: Sample, comment: str) -> int:
    """Some samples' file headers name another instance than their data sets, and are sent under that name.

    Of some the pixel data is not what they say of it (B08).
    """
    if read_file_meta_info(sample.path).MediaStorageSOPInstanceUID != sample.sop_instance_uid:
        return IDENTIFIER_DOES_NOT_MATCH
    return NOT_AS_DESCRIBED if comment.startswith("PixelData: ") else SUCCESS


def given_back(archive: Archive, sent: list[Sample]) -> dict[str, bytes]:
    """The data sets that a C-GET of their instances brings, with each in the syntax that it was sent in."""
    got: dict[str, bytes] = {}

    def keep(event: evt.Event) -> int:
        got[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return SUCCESS

    by_context: dict[tuple[str, str], list[Sample]] = {}
    for sample in sent:
        by_context.setdefault((sample.sop_class_uid, sample.transfer_syntax_uid), []).append(sample)
    for (sop_class_uid, transfer_syntax_uid), group in by_context.items():
        ae = ApplicationEntity("GETTER")
        ae.add_requested_context(StudyRootGet)
        ae.add_requested_context(sop_class_uid, transfer_syntax_uid)
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = sop_class_uid, False, True  # type: ignore[assignment]
        association = ae.associate(
            "127.0.0.1",
            archive.port,
            ae_title="ANNALS",
            ext_neg=[role],
            evt_handlers=[(evt.EVT_C_STORE, keep)],
        )
        assert association.is_established
        for sample in group:
            wanted = Dataset()
            wanted.QueryRetrieveLevel = "IMAGE"
            wanted.StudyInstanceUID = sample.study_instance_uid
            wanted.SeriesInstanceUID = sample.series_instance_uid
            wanted.SOPInstanceUID = sample.sop_instance_uid
            *_, (final, _) = association.send_c_get(wanted, StudyRootGet)
            assert (final.Status, final.NumberOfCompletedSuboperations) == (SUCCESS, 1), sample
        association.release()
    return got


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


def test_every_sample_of_pydicom_is_kept_and_given_back_byte_for_byte(archive: Archive, made: Path) -> None:
    sent = list(samples.all_different(made))
    assert len(sent) > 100
    stored, warned = [], []
    for sample in sent:
        status, comment = samples.send(archive.port, sample)
        if status == CANNOT_UNDERSTAND:
            assert "goes past the end" in comment
            with pytest.raises(ValueError, match="less than expected"):
                dcmread(sample.path).pixel_array  # noqa: B018
            continue
        assert status == expected_status(sample, comment), (sample, comment)
        if status in (SUCCESS, NOT_AS_DESCRIBED):
            check_stored(archive, sample)
            stored.append(sample)
        if status == NOT_AS_DESCRIBED:
            warned.append((sample.path.name, comment))
    assert len(stored) > 100
    assert len(warned) < 20, warned
    got = given_back(archive, stored)
    assert {sample.sop_instance_uid for sample in stored} == set(got)
    assert all(got[sample.sop_instance_uid] == sample.as_given_back() for sample in stored)


def test_what_the_tools_of_DCMTK_and_GDCM_write_is_kept_and_given_back_byte_for_byte(
    archive: Archive, made: Path
) -> None:
    sent = list(samples.converted(made))
    assert len({sample.transfer_syntax_uid for sample in sent}) >= 11
    for sample in sent:
        assert samples.send(archive.port, sample) == (SUCCESS, "")
        check_stored(archive, sample)
    got = given_back(archive, sent)
    assert all(got[sample.sop_instance_uid] == sample.as_given_back() for sample in sent)


@pytest.mark.parametrize("transfer_syntax_uid", OTHERS)
def test_every_transfer_syntax_of_the_dictionary_is_taken(
    archive: Archive, tmp_path: Path, transfer_syntax_uid: str
) -> None:
    sample = samples.pretended(tmp_path, transfer_syntax_uid)
    assert samples.send(archive.port, sample) == (SUCCESS, "")
    check_stored(archive, sample)
    assert given_back(archive, [sample]) == {sample.sop_instance_uid: sample.as_given_back()}


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ([], ["CT_small.dcm", "rtplan.dcm", "waveform_ecg.dcm", "test-SR.dcm"]),
        (["-xs"], ["SC_rgb_jpeg_gdcm.dcm"]),
        (["-xy"], ["SC_rgb_jpeg_dcmtk.dcm"]),
        (["-xv"], ["MR_small_jp2klossless.dcm"]),
        (["-xt"], ["MR_small_jpeg_ls_lossless.dcm"]),
        (["-xr"], ["MR_small_RLE.dcm"]),
        (["-xd"], ["image_dfl.dcm"]),
        (["-xb"], ["MR_small_bigendian.dcm"]),
    ],
)
def test_storescu_is_answered_with_success(archive: Archive, options: list[str], files: list[str]) -> None:
    # Under UIDs of their own: storescu writes them anew, and the other tests send what the files hold.
    sent = (*options, "+II", *(str(samples.SAMPLES / file) for file in files))
    done = archive.dcmtk("storescu", "-v", "-aet", "SENDER", *sent)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Received Store Response (Success)") == len(files), done.stderr
