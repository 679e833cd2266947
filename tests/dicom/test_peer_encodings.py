"""One image as DCMTK and GDCM encode it, in every transfer syntax they know: its header stays the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from adapters.dicom.part10 import read_file_header
from processes.ports import Header
from tests.dicom.encoding import read

CONVERSIONS = {
    "implicit": ("dcmconv", "+ti"),
    "explicit": ("dcmconv", "+te"),
    "big endian": ("dcmconv", "+tb"),
    "deflated": ("dcmconv", "+td"),
    "undefined lengths": ("dcmconv", "+te", "-e"),
    "implicit with undefined lengths": ("dcmconv", "+ti", "-e"),
    "group lengths": ("dcmconv", "+te", "+g"),
    "padded": ("dcmconv", "+te", "-p"),
    "RLE": ("dcmcrle",),
    "RLE in small fragments": ("dcmcrle", "+fs", "1"),
    "JPEG lossless": ("dcmcjpeg", "+e1"),
    "JPEG lossless 14": ("dcmcjpeg", "+el"),
    "JPEG-LS": ("dcmcjpls",),
    "JPEG 2000": ("gdcmconv", "--j2k"),
    "JPEG-LS of GDCM": ("gdcmconv", "--jpegls"),
    "RLE of GDCM": ("gdcmconv", "--rle"),
}


def header(path: Path) -> Header:
    raw = path.read_bytes()
    meta = read_file_header(raw)
    return read(
        raw[meta.size :], meta.transfer_syntax_uid, sop_class=meta.sop_class_uid, instance=meta.sop_instance_uid
    )


@pytest.mark.parametrize("name", CONVERSIONS)
def test_the_header_is_the_same_in_every_encoding(name: str, tmp_path: Path) -> None:
    command, *options = CONVERSIONS[name]
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    original = Path(str(get_testdata_file("CT_small.dcm")))
    converted = tmp_path / "converted"
    subprocess.run([command, *options, str(original), str(converted)], check=True, capture_output=True, timeout=60)
    before, after = header(original), header(converted)
    assert after.warnings == ()
    assert after.particulars == before.particulars
    assert after.attributes == before.attributes
