"""Answers beside those of Orthanc's DICOMweb plugin for the same objects: each difference is listed with its reason."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import pytest

from bench.programs import program
from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.samples import Sample
from tests.ports import free_port

_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
_SENT = tuple(
    one
    for one in (
        samples.read(samples.SAMPLES / name)
        for name in ("CT_small.dcm", "SC_rgb_rle_2frame.dcm", "test-SR.dcm", "rtplan.dcm", "MR_small_implicit.dcm")
    )
    if one
)
_CT = _SENT[0]

DIFFERENT_VALUES = {
    "00080005": "PS3.18 F.2: JSON is UTF-8, so Specific Character Set is ISO_IR 192; Orthanc says ISO_IR 100",
    "00081190": "Retrieve URL begins with the service's own URL",
}
OURS_ALONE = {
    "00080056": "Tables 10.6.3-3 to 10.6.3-5: Instance Availability shall be present if known",
    "00080061": "10.6.3.3.2: all series and all instances have the study attributes too, and this is one",
    "00201206": "10.6.3.3.2: as Modalities in Study",
    "00201208": "10.6.3.3.2: as Modalities in Study",
    "00201209": "10.6.3.3.3: for a study's instances also the series attributes",
    "00083002": "10.6.3.3.3: Available Transfer Syntax UID may be answered",
    "00200013": "Table 10.6.3-5: Instance Number is of type R, zero length where there is none (PS3.4 C.2.2.1.2)",
}
_OF_STUDY = ("00080020", "00080030", "00080050", "00080090", "00100010", "00100020", "00100030", "00100040", "00200010")
THEIRS_ALONE = {
    **dict.fromkeys(_OF_STUDY, "10.6.3.3.2: study attributes only where the URL names no study"),
    **dict.fromkeys(("00080060", "00200011"), "10.6.3.3.3: series attributes only where the URL names no series"),
}
DIFFERENT_MATCHES = {
    "PatientID=1ct1": "PS3.4 C.2.2.2.1: matching of LO is case sensitive; Orthanc's is not by default",
    "fuzzymatching=true&PatientName=Compresedsamples": "8.3.4.2: Orthanc ignores fuzzymatching without its Warning",
    "limit=0": "8.3.4.4.1: results is the minimum of matches and limit, so none; Orthanc answers all",
    "StudyDate=20040119-20040826&StudyTime=000000-070000": "8.3.4.1.1: one range of date and time; theirs are two",
    "StudyDate=-20040401": "PS3.4 C.2.2.2.5: a range matches dates; Orthanc answers a study without a date too",
    "PatientName=compressedsamples^ct1": "PS3.4 C.2.2.2.1: case may count in names; here it never does",
    "PatientID=1?T1": "PS3.4 C.2.2.2.4: a question mark is any one character; Orthanc finds nothing",
}
_UNIQUE = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}


class Beside:
    """Both servers with the same objects."""

    def __init__(self, archive: Archive, orthanc_port: int) -> None:
        self.bases = (
            f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web",
            f"http://127.0.0.1:{orthanc_port}/dicom-web",
        )

    def both(self, path: str) -> tuple[Any, Any]:
        ours, theirs = (_json(base + path) for base in self.bases)
        return ours, theirs


def _json(url: str) -> Any:
    request = urllib.request.Request(url, headers={"Accept": "application/dicom+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"[]")


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    folder = tmp_path_factory.mktemp("orthanc")
    port = free_port()
    with running_archive(SMALL) as archive, (folder / "output.log").open("wb") as lines:
        orthanc = subprocess.Popen(
            [program("Orthanc"), str(_configuration(folder, port))], stdout=lines, stderr=lines, start_new_session=True
        )
        try:
            until(lambda: _answers(f"http://127.0.0.1:{port}/system"), 90, "Orthanc is ready")
            for one in _SENT:
                assert samples.send(archive.port, one)[0] == 0
                urllib.request.urlopen(f"http://127.0.0.1:{port}/instances", one.path.read_bytes(), timeout=60).close()
            yield Beside(archive, port)
        finally:
            orthanc.terminate()
            orthanc.wait(60)


def _configuration(folder: Path, port: int) -> Path:
    file = folder / "orthanc.json"
    said = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [_PLUGIN],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    file.write_text(json.dumps(said), "utf-8")
    return file


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=60).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "path",
    [
        "/studies",
        "/series",
        "/instances",
        f"/studies/{_CT.study_instance_uid}/series",
        f"/studies/{_CT.study_instance_uid}/instances",
        f"/studies/{_CT.study_instance_uid}/series/{_CT.series_instance_uid}/instances",
    ],
)
def test_C7_2_the_same_attributes_but_for_those_that_the_standard_explains(beside: Beside, path: str) -> None:
    """Tables 10.6.3-3 to 10.6.3-5."""
    key = _UNIQUE[path.rpartition("/")[2]]
    ours, theirs = ({one[key]["Value"][0]: one for one in answer} for answer in beside.both(path))
    assert ours.keys() == theirs.keys()
    assert ours
    for uid, mine in ours.items():
        other = theirs[uid]
        assert mine.keys() - other.keys() <= OURS_ALONE.keys(), uid
        assert other.keys() - mine.keys() <= THEIRS_ALONE.keys(), uid
        for tag in (mine.keys() & other.keys()) - DIFFERENT_VALUES.keys():
            assert mine[tag] == other[tag], (uid, tag)


@pytest.mark.parametrize(
    "keys",
    [
        {"PatientName": "CompressedSamples*"},
        {"PatientName": "compressedsamples^ct1"},
        {"PatientName": "*ct1"},
        {"PatientID": "1CT1"},
        {"PatientID": "1?T1"},
        {"PatientID": "nobody"},
        {"StudyDate": "20040119"},
        {"StudyDate": "20040101-20041231"},
        {"StudyDate": "-20040401"},
        {"ModalitiesInStudy": "CT"},
        {"StudyInstanceUID": f"{_CT.study_instance_uid},{_SENT[1].study_instance_uid}"},
        {"00100020": "1CT1", "StudyDate": "20040119"},
        {"PatientID": ""},
        {"PatientID": "1ct1"},
        {"fuzzymatching": "true", "PatientName": "Compresedsamples"},
        {"limit": "0"},
        {"StudyDate": "20040119-20040826", "StudyTime": "000000-070000"},
        {"ModalitiesInStudy": "CT,MR"},
    ],
)
def test_C7_1_the_same_matches_but_for_those_that_the_standard_explains(beside: Beside, keys: dict[str, str]) -> None:
    """8.3.4.1, PS3.4 C.2.2.2."""
    query = urlencode(keys, safe=",*")
    ours, theirs = (
        sorted(one["0020000D"]["Value"][0] for one in answer) for answer in beside.both(f"/studies?{query}")
    )
    assert (ours != theirs) == (unquote(query) in DIFFERENT_MATCHES), (ours, theirs)


METADATA_OURS_ALONE = {
    "00080005": "F.2: what is not in the default repertoire is UTF-8, and ISO_IR 192 says so also where nothing is",
    "7FE00010": "10.4.1.1.5: also encapsulated Pixel Data has its BulkDataURI; Orthanc leaves it out",
}
METADATA_THEIRS_ALONE: dict[str, str] = {}
_BINARY = {"BulkDataURI", "InlineBinary"}
"""F.2.7: which of both a value comes in is the server's choice."""


@pytest.mark.parametrize("sample", _SENT, ids=lambda one: one.path.name)
def test_C7_8_the_same_metadata_but_for_what_the_standard_explains(beside: Beside, sample: Sample) -> None:
    """Annex F, 10.4.1.1.2."""
    (mine,), (other,) = beside.both(
        f"/studies/{sample.study_instance_uid}/series/{sample.series_instance_uid}"
        f"/instances/{sample.sop_instance_uid}/metadata"
    )
    assert mine.keys() - other.keys() <= METADATA_OURS_ALONE.keys()
    assert other.keys() - mine.keys() <= METADATA_THEIRS_ALONE.keys()
    for tag in mine.keys() & other.keys():
        if tag not in DIFFERENT_VALUES and not _BINARY & mine[tag].keys():
            assert mine[tag] == other[tag], tag
