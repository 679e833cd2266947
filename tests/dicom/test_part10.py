"""The Part 10 header is ours: zero preamble, own identity, read by others (B05, PS3.10 7.1, C2.1, C2.8, C4.7)."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pydicom
import pytest

from adapters.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from adapters.dicom.part10 import HEADER_MAX, file_header, read_file_header
from tests.dicom.encoding import CT_CLASS, EXPLICIT, INSTANCE, image


def test_B05_the_preamble_is_zero_and_others_read_the_header() -> None:
    header = file_header(CT_CLASS, INSTANCE, EXPLICIT, "MODALITY")
    assert header[:132] == bytes(128) + b"DICM"
    data_set = pydicom.dcmread(io.BytesIO(header + image()))
    meta = data_set.file_meta
    assert meta.FileMetaInformationGroupLength == len(header) - 144
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == CT_CLASS
    assert meta.MediaStorageSOPInstanceUID == INSTANCE
    assert meta.TransferSyntaxUID == EXPLICIT
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert meta.SourceApplicationEntityTitle == "MODALITY"
    assert pydicom.uid.UID(IMPLEMENTATION_CLASS_UID).is_valid
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16


def test_dcmdump_reads_the_header_without_a_complaint(tmp_path: Path) -> None:
    file = tmp_path / "object"
    file.write_bytes(file_header(CT_CLASS, INSTANCE, EXPLICIT, "AE") + image())
    said = subprocess.run(["dcmdump", "-v", str(file)], capture_output=True, text=True, check=True)
    assert "(0002,0016) AE [AE]" in said.stdout
    assert not [line for line in said.stderr.splitlines() if line.startswith(("W:", "E:"))]


@pytest.mark.parametrize("source", ["", "A", "ODD", "SIXTEENCHARACTERS", "Ä\n"])
def test_a_header_reads_back(source: str) -> None:
    header = file_header(CT_CLASS, "1.2.3.45", "1.2.840.10008.1.2.4.50", source)
    meta = read_file_header(header + image())
    assert meta.size == len(header) < HEADER_MAX
    assert (meta.transfer_syntax_uid, meta.sop_class_uid) == ("1.2.840.10008.1.2.4.50", CT_CLASS)
    assert meta.sop_instance_uid == "1.2.3.45"


def test_B17_foreign_vrs_and_a_wrong_group_length_in_a_header_do_not_matter() -> None:
    header = file_header(CT_CLASS, INSTANCE, EXPLICIT, "AE")
    wrong = header[:140] + struct.pack("<I", 7) + header[144:] + struct.pack("<HH2sH", 2, 0x0101, b"ZZ", 4) + b"abcd"
    assert read_file_header(wrong + image()).size == len(wrong)


@pytest.mark.parametrize("cut", [0, 100, 131, 140, 200, 300])
def test_a_cut_header_is_none(cut: int) -> None:
    header = file_header(CT_CLASS, INSTANCE, EXPLICIT, "AE")
    with pytest.raises(ValueError):
        read_file_header(header[:cut])
