"""QIDO-RS end to end on one archive: C7.1 to C7.4, C7.14, C7.15, with the sections of PS3.18 that say so."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from tests.archive.conftest import SMALL, Archive, running_archive

_CT, _SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
_ROOT = "1.2.826.0.1.3680043.8.498.11"
_UID, _NAME = "0020000D", "00100010"
_NEWEST_FIRST = "213654"


def _object(number: str, modality: str = "CT", **attributes: Any) -> Dataset:
    study, series, instance = number.split(".")
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = (_SR if modality == "SR" else _CT), f"{_ROOT}.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"{_ROOT}.{study}", f"{_ROOT}.{study}.{series}"
    made.Modality, made.InstanceNumber, made.SeriesNumber = modality, instance, series
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def _request(procedure: str, step: str) -> Dataset:
    item = Dataset()
    item.RequestedProcedureID, item.ScheduledProcedureStepID = procedure, step
    return item


def _code(value: str, meaning: str) -> dict[str, Any]:
    return {"00080100": {"vr": "SH", "Value": [value]}, "00080104": {"vr": "LO", "Value": [meaning]}}


def _coded(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99A", meaning
    return item


def _population() -> list[Dataset]:
    doe = {
        "PatientName": "DOE^JOHN",
        "PatientID": "P1",
        "PatientBirthDate": "19700203",
        "StudyDate": "20240131",
        "StudyTime": "2230",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "HOUSE^GREGORY",
        "PatientSex": "M",
        "StudyID": "S1",
        "TimezoneOffsetFromUTC": "+0300",
        "PerformedProcedureStepStartDate": "20240131",
        "PerformedProcedureStepStartTime": "2231",
        "BitsAllocated": 16,
        "ProcedureCodeSequence": Items([_coded("X1", "Head"), _coded("X2", "Neck")]),
        "StudyDescription": "HEAD CT",
    }
    asked = {"RequestAttributesSequence": Items([_request("R1", "S1"), _request("R2", "S2")])}
    return [
        _object("1.1.1", **doe, **asked, SeriesDescription="AXIAL", Rows=512, Columns=512, NumberOfFrames=3),
        _object("1.1.2", **doe, **asked, SeriesDescription="AXIAL", Rows=256, Columns=512),
        _object("1.2.1", "SR", **doe, SeriesDescription="REPORT"),
        _object("2.1.1", "MR", PatientName="Иванова^Анна", PatientID="P2", StudyDate="20240201", AccessionNumber=""),
        _object("3.1.1", PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", PatientID="P3", StudyDate="20200229"),
        _object("4.1.1", PatientName="Щербаков^Евгений", PatientID="P4", AccessionNumber="A,4"),
        _object("5.1.1", PatientName="MÜLLER^JÖRG", PatientID="P5"),
        _object("6.1.1", PatientName="Petrov^Sergey", PatientID="P6\\"),
    ]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    settings = {
        **SMALL,
        "ANNALS_DICOMWEB__CORS_ORIGINS": "https://viewer.example",
        "ANNALS_DICOMWEB__HOSTS": "pacs.example",
        "ANNALS_LIMITS__QUERY_MATCHES_MAX": "7",
        "ANNALS_LIMITS__QUERY_REMAINING_MAX": "3",
    }
    files = tmp_path_factory.mktemp("objects")
    with running_archive(settings) as running:
        for made in _population():
            made.file_meta = FileMetaDataset()
            made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
            made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
            made.save_as(files / f"{made.SOPInstanceUID}.dcm", enforce_file_format=True)
        sent = running.dcmtk("storescu", *sorted(map(str, Path(files).glob("*.dcm"))))
        assert sent.returncode == 0, sent.stderr
        yield running


def _get(archive: Archive, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{archive.dicomweb_port}{path}",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


def _search(archive: Archive, path: str, **parameters: str) -> list[dict[str, Any]]:
    status, _, body = _get(archive, f"/dicom-web{path}?{urlencode(parameters)}")
    assert status == 200, body
    found: list[dict[str, Any]] = json.loads(body)
    return found


def _studies(archive: Archive, **parameters: str) -> list[str]:
    return [one[_UID]["Value"][0].removeprefix(f"{_ROOT}.") for one in _search(archive, "/studies", **parameters)]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"00100020": "P1"}, "1"),
        ({"PatientID": "P1"}, "1"),
        ({"PatientID": "P?"}, "123456"),
        ({"PatientID": "p1"}, ""),
        ({"PatientName": "doe*"}, "1"),
        ({"PatientName": "muller*"}, "5"),
        ({"PatientName": "*太郎"}, "3"),
        ({"PatientName": "иванова*"}, "2"),
        ({"PatientID": ""}, "123456"),
        ({"StudyDate": "20240101-"}, "12"),
        ({"StudyDate": "-20240131"}, "13"),
        ({"StudyDate": "20240131-20240201"}, "12"),
        ({"StudyDate": "99991231-00010101"}, ""),
        ({"StudyTime": "2200-2300"}, "1"),
        ({"StudyDate": "20240131-20240201", "StudyTime": "2300-0100"}, "2"),
        ({"StudyDate": "20240131-20240201", "StudyTime": "2200-0100"}, "12"),
        ({"StudyDate": "20240131-20240202", "StudyTime": "2300-0100"}, "2"),
        ({"StudyDate": "-20240131", "StudyTime": "-2200"}, "3"),
        ({"StudyDate": "20240131-", "StudyTime": "2231-"}, "2"),
        ({"StudyDate": "20240131-", "StudyTime": "2200-2300"}, "1"),
        ({"StudyDate": "20240131", "StudyTime": "2200-2300"}, "1"),
        ({"ModalitiesInStudy": "SR"}, "1"),
        ({"ModalitiesInStudy": "SR,MR"}, "12"),
        ({"ModalitiesInStudy": "SR\\MR"}, "12"),
        ({"StudyInstanceUID": f"{_ROOT}.1,{_ROOT}.3,1.2"}, "13"),
        ({"StudyInstanceUID": f"{_ROOT}.1\\{_ROOT}.3"}, "13"),
        ({"AccessionNumber": "A,4"}, "4"),
        ({"PatientID": "P1\\P3"}, ""),
        ({"PatientID": "P1\\P3", "multiplevaluematching": "true"}, ""),
        ({"ModalitiesInStudy": "CT\\SR", "multiplevaluematching": "true"}, "1"),
        ({"ModalitiesInStudy": "SR,CT", "multiplevaluematching": "true"}, "1"),
        ({"ModalitiesInStudy": "CT\\MR", "multiplevaluematching": "true"}, ""),
        ({"AccessionNumber": '""', "emptyvaluematching": "true"}, "2356"),
        ({"AccessionNumber": '""'}, ""),
        ({"PatientName": '""', "emptyvaluematching": "true"}, ""),
        ({"StudyInstanceUID": '""', "emptyvaluematching": "true"}, ""),
        ({"AccessionNumber": "", "emptyvaluematching": "true"}, "123456"),
        ({"limit": "2"}, "12"),
        ({"limit": "2", "offset": "3"}, "56"),
        ({"PatientID": "P*", "limit": "2", "offset": "3"}, "56"),
        ({"offset": "6"}, ""),
        ({"limit": "0"}, ""),
        ({"limit": "2147483647"}, "123456"),
        ({"limit": str(2**64 - 1), "offset": "4"}, "54"),
        ({"offset": str(10**30)}, ""),
        ({"PatientName": "x'; DROP TABLE study; --"}, ""),
        ({"PatientName": "%"}, ""),
    ],
)
def test_C7_1_C7_3_C7_4_a_search_matches_as_8_3_4_1_says(
    archive: Archive, parameters: dict[str, str], expected: str
) -> None:
    """8.3.4.1, 8.3.4.4; PS3.4 C.2.2.2: each kind of matching, and the switches that change it."""
    assert _studies(archive, **parameters) == [one for one in _NEWEST_FIRST if one in expected]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ivanova", "2"),
        ("Иванова", "2"),
        ("ivanowa", "2"),
        ("anna ivanova", "2"),
        ("Ивнова", "2"),
        ("Shcherbakov", "4"),
        ("Scherbakov", "4"),
        ("Щербоков", "4"),
        ("evgeniy", "4"),
        ("Петров", "6"),
        ("Petrof", "6"),
        ("Сергей^Петров", "6"),
        ("Mueller", "5"),
        ("Muller", "5"),
        ("Jorg", "5"),
        ("Doe^Jhon", "1"),
        ("山田", "3"),
        ("Yamad", "3"),
        ("Nobody", ""),
        ("Doe^Anna", ""),
    ],
)
def test_C7_3_fuzzymatching_finds_who_is_meant(archive: Archive, name: str, expected: str) -> None:
    """8.3.4.2, PS3.4 C.2.2.2.1.1: also across alphabets, in any order, with a typing error."""
    assert _studies(archive, PatientName=name, fuzzymatching="true") == list(expected)


def test_C7_1_sequence_attributes_match_in_one_item(archive: Archive) -> None:
    """8.3.4.1: attribute-id *("." attribute-id); PS3.4 C.2.2.2.6: all keys in the same item."""
    step, procedure = "RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00401001"
    assert len(_search(archive, "/series", **{step: "S2"})) == 1
    assert len(_search(archive, "/series", **{step: "S2", procedure: "R2"})) == 1
    assert _search(archive, "/series", **{step: "S2", procedure: "R1"}) == []


def test_C7_2_default_attributes_of_each_level(archive: Archive) -> None:
    """Tables 10.6.3-3 to 10.6.3-5, with the upper levels where the URL does not name them (10.6.3.3)."""
    study = _search(archive, "/studies", PatientID="P1")[0]
    wanted = (
        "00080020 00080030 00080050 00080056 00080061 00080090 00080201 00081190 00100010 00100020 00100030 00100040 "
        "0020000D 00200010 00201206 00201208"
    )
    assert {tag for tag, element in study.items() if "Value" in element} == {"00080005", *wanted.split()}
    assert study["00080061"]["Value"] == ["CT", "SR"]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([2], [3])
    base = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web"
    assert study["00081190"] == {"vr": "UR", "Value": [f"{base}/studies/{_ROOT}.1"]}
    assert list(study) == sorted(study), "F.2.2: attributes in ascending order"

    series = _search(archive, f"/studies/{_ROOT}.1/series")
    assert [one["00080060"]["Value"][0] for one in series] == ["CT", "SR"]
    wanted = "00080056 00080060 00080201 0008103E 00081190 0020000E 00200011 00201209 00400244 00400245 00400275"
    assert {tag for tag, element in series[0].items() if "Value" in element} == {
        "00080005",
        _UID,
        *wanted.split(),
    }
    assert "00400275" not in series[1]
    assert _NAME not in series[0]
    assert series[0]["00400275"]["Value"][1]["00400009"] == {"vr": "SH", "Value": ["S2"]}
    assert _NAME in _search(archive, "/series")[0]

    instances = _search(archive, f"/studies/{_ROOT}.1/series/{_ROOT}.1.1/instances")
    wanted = (
        "00080016 00080018 00080056 00080201 00081190 00083002 00200013 00280008 00280010 00280011 00280100 00080005"
    )
    assert {tag for tag, element in instances[0].items() if "Value" in element} == {_UID, "0020000E", *wanted.split()}
    assert [one["00280010"]["Value"] for one in instances] == [[512], [256]]
    assert instances[0]["00280008"] == {"vr": "IS", "Value": [3]}
    assert instances[0]["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}
    assert instances[0]["00081190"]["Value"] == [f"{base}/studies/{_ROOT}.1/series/{_ROOT}.1.1/instances/{_ROOT}.1.1.1"]
    assert "00080060" not in instances[0]
    assert "00080060" in _search(archive, f"/studies/{_ROOT}.1/instances")[0]
    assert _NAME in _search(archive, "/instances", Rows="256")[0]


def test_C7_2_includefield_repeats_lists_and_all(archive: Archive) -> None:
    """8.3.4.3: 1#attribute / "all"; 10.6.3.3.1: lower levels are never answered."""
    path = "/dicom-web/studies?PatientID=P1&includefield={}&includefield=00102160"
    _, _, body = _get(archive, path.format("StudyDescription,AdmissionID,Modality"))
    study = json.loads(body)[0]
    assert study["00081030"]["Value"] == ["HEAD CT"]
    assert study["00380010"] == {"vr": "LO"}
    assert study["00102160"] == {"vr": "SH"}
    assert "00080060" not in study
    assert "00081030" in _search(archive, "/studies", PatientID="P1", includefield="all")[0]
    assert "00081030" not in _search(archive, "/studies", PatientID="P1")[0]


def test_C7_2_sequences_are_answered_as_items_or_what_is_asked_for_of_them(archive: Archive) -> None:
    """F.2.2: items are objects; 8.3.4.3: an attribute in a sequence may be included alone."""
    whole = _search(archive, f"/studies/{_ROOT}.1/series", includefield="RequestAttributesSequence")[0]["00400275"]
    assert [set(item) for item in whole["Value"]] == 2 * [{"00400009", "00401001"}]
    path = f"/studies/{_ROOT}.1/instances"
    (found,) = _search(archive, path, includefield="ProcedureCodeSequence.CodeValue,00081032.00080104", Rows="512")
    codes = found["00081032"]
    assert codes == {"vr": "SQ", "Value": [_code("X1", "Head"), _code("X2", "Neck")]}
    (found,) = _search(archive, path, includefield="00081032.CodeMeaning", Rows="512")
    assert [list(item) for item in found["00081032"]["Value"]] == 2 * [["00080104"]]


def test_C7_3_a_cut_result_says_so_and_paging_is_stable(archive: Archive) -> None:
    """8.3.4.4.1: limit and offset, the same order each time (the newest first), Warning 299 with what remains."""
    _, headers, _ = _get(archive, "/dicom-web/studies?limit=2")
    assert headers["Warning"].startswith(
        f"299 http://127.0.0.1:{archive.dicomweb_port}/dicom-web: There are more than 3 additional results that can be"
    )
    for path in ("/studies?limit=3&", "/studies?limit=1&offset=2&", "/studies?limit=1&offset=2&PatientID=P*&"):
        _, headers, _ = _get(archive, f"/dicom-web{path}")
        assert headers["Warning"].endswith(": There are 3 additional results that can be requested")
    status, headers, body = _get(archive, "/dicom-web/studies?limit=0&PatientID=P1")
    assert (status, body) == (200, b"[]")
    assert headers["Warning"].endswith(": There are 1 additional results that can be requested")
    _, headers, _ = _get(archive, "/dicom-web/studies?limit=6")
    assert headers["Warning"] is None
    _, headers, body = _get(archive, "/dicom-web/instances")
    assert len(json.loads(body)) == 7, "the most that the server answers"
    assert headers["Warning"].endswith("There are 1 additional results that can be requested")
    for keys in ({}, {"PatientID": "P*"}):
        pages = [_studies(archive, limit="1", offset=str(offset), **keys) for offset in range(7)]
        assert pages == [*([one] for one in _NEWEST_FIRST), []]


def test_C7_1_what_is_not_known_is_ignored_and_named(archive: Archive) -> None:
    """8.3.4: unknown parameters do not fail a search, and are not passed over in silence either."""
    status, headers, body = _get(archive, "/dicom-web/studies?foo=1&Modality=CT&PatientID=P1&_=17")
    assert (status, len(json.loads(body))) == (200, 1)
    assert headers["Warning"].endswith("not matched: foo _ 00080060")


@pytest.mark.parametrize(
    ("query_string", "named"),
    [
        ("foo%20=x", "foo"),
        ("%20=x", "_"),
        ("=x", "_"),
        ("%22%2C=x", "_"),
        ("a%20b=x", "a b"),
        ("%E3%81%82%20=x", "u3042"),
    ],
)
def test_C7_1_whatever_an_ignored_parameter_is_named_the_search_is_answered(
    archive: Archive, query_string: str, named: str
) -> None:
    """8.3: unknown parameters are ignored; RFC 9110 5.5: a field's value has no blank at its end."""
    status, headers, _ = _get(archive, f"/dicom-web/studies?{query_string}")
    assert (status, headers["Warning"].rpartition("not matched: ")[2]) == (200, named)


def test_C7_4_bad_queries_are_refused_with_every_fault(archive: Archive) -> None:
    """Table 10.6.3-1: 400; reliability B35."""
    path = "/dicom-web/studies?limit=-1&offset=x&fuzzymatching=yes&StudyDate=-&StudyInstanceUID=1..2&PatientID=a"
    status, headers, body = _get(
        archive, f"{path}&00100020=b&ProcedureCodeSequence=1&NumberOfStudyRelatedSeries=x&StudyID=a%00b"
    )
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    faults = json.loads(body)["faults"]
    named = " ".join(faults)
    assert len(faults) == 9
    for key in (
        "limit",
        "offset",
        "fuzzymatching",
        "00080020",
        "0020000D",
        "00100020",
        "00081032",
        "00201206",
        "StudyID",
    ):
        assert key in named
    for date in ("2024-13-99", "a-b", "--"):
        assert _get(archive, f"/dicom-web/studies?StudyDate={date}")[0] == 400
    assert _studies(archive, StudyDate="20241399") == [], "no day, and so that of no study"
    for bad in ("/studies/1..2/series", "/studies?PatientName=%ff", f"/studies/{_ROOT}.1/series?StudyInstanceUID=1.2"):
        assert _get(archive, f"/dicom-web{bad}")[0] == 400
    assert _get(archive, "/dicom-web/nothing")[0] == 404
    assert _get(archive, "/dicom-web/studies", "DELETE")[0] == 405


def test_C7_3_nothing_found_is_an_empty_list(archive: Archive) -> None:
    """Table 10.6.3-1 since CP-2473; a multipart body without a part there is not (RFC 2046 5.1.1)."""
    path = f"/dicom-web/studies/{_ROOT}.77/series"
    status, headers, body = _get(archive, path)
    assert (status, headers["Content-Type"], body) == (200, "application/dicom+json", b"[]")
    assert _get(archive, path, Accept="multipart/related")[0] == 204


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("application/json", "application/json"),
        ("text/html, application/json;q=0.5, application/dicom+json", "application/dicom+json"),
        ('multipart/related; type="application/dicom+xml"', "multipart/related"),
        ("multipart/related; type=application/dicom+xml; q=0.9, application/dicom+json; q=0.1", "multipart/related"),
        ("image/png", None),
        ("application/dicom+json; q=0", None),
        ("application/dicom+json; q=0, */*", "multipart/related"),
    ],
)
def test_C7_5_the_answer_is_what_is_most_wanted(archive: Archive, accept: str, expected: str | None) -> None:
    """8.7.4, 10.6.4: application/dicom+json by default; the query parameter goes before the header (8.3.3.1)."""
    status, headers, _ = _get(archive, "/dicom-web/studies", **({"Accept": accept} if accept else {}))
    assert status == (200 if expected else 406)
    if expected:
        assert headers.get_content_type() == expected
        status, headers, _ = _get(archive, f"/dicom-web/studies?accept={quote(accept)}", Accept="image/png")
        assert (status, headers.get_content_type()) == (
            (200, expected) if accept else (406, headers.get_content_type())
        )


def test_C7_8_XML_says_the_same_as_JSON(archive: Archive) -> None:
    """PS3.19 A.1: one Native DICOM Model a part."""
    _, headers, body = _get(archive, "/dicom-web/studies?PatientID=P3", Accept="multipart/related")
    boundary = headers.get_param("boundary").encode()
    _, part, end = body.split(b"--" + boundary)
    assert end == b"--\r\n"
    model = ET.fromstring(part.partition(b"\r\n\r\n")[2].strip())
    name = model.find("DicomAttribute[@keyword='PatientName']/PersonName")
    assert name is not None
    assert [group.tag for group in name] == ["Alphabetic", "Ideographic", "Phonetic"]
    assert name.findtext("Ideographic/FamilyName") == "山田"
    assert {one.get("tag") for one in model} == _search(archive, "/studies", PatientID="P3")[0].keys()


def test_C7_14_capabilities_of_the_service_and_of_each_resource(archive: Archive) -> None:
    """8.9: OPTIONS answers what there is: methods, parameters, media types."""
    wadl = "{http://wadl.dev.java.net/2009/02}"
    for path in ("/dicom-web", "/dicom-web/", "/dicom-web/studies", "/studies"):
        status, headers, body = _get(archive, path, "OPTIONS", Accept="application/vnd.sun.wadl+xml")
        assert (status, headers.get_content_type()) == (200, "application/vnd.sun.wadl+xml")
        root = ET.fromstring(body)
        resources = {one.get("path"): one for one in root.iter(f"{wadl}resource")}
        assert {"studies", "series", "instances", "studies/{study_uid}/series/{series_uid}/instances"} <= set(resources)
    search = next(one for one in resources["studies"] if one.get("name") == "GET")
    parameters = {one.get("name"): one.get("type") for one in search.iter(f"{wadl}param")}
    assert {"limit": "xs:integer", "fuzzymatching": "xs:boolean"}.items() <= parameters.items()
    assert {"emptyvaluematching", "multiplevaluematching", "includefield", "offset"} <= parameters.keys()
    assert "application/dicom+json" in {one.get("mediaType") for one in search.iter(f"{wadl}representation")}
    _, headers, _ = _get(archive, "/dicom-web/series", "OPTIONS")
    assert headers["Allow"] == "GET, HEAD, OPTIONS"
    _, headers, _ = _get(archive, "/dicom-web/studies", "OPTIONS")
    assert headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    status, headers, body = _get(archive, "/dicom-web/studies", "OPTIONS", Accept="application/json")
    assert (status, headers.get_content_type()) == (200, "application/json")
    assert "/studies" in json.loads(body)["paths"]
    for path in ("/dicom-web", "/dicom-web/", "/"):
        assert _get(archive, path, "DELETE")[0] == 405
    assert _get(archive, "/dicom-web/studies", "OPTIONS", Accept="image/png")[0] == 406
    assert _get(archive, "/dicom-web/nothing", "OPTIONS")[0] == 404


def test_C7_14_every_answer_is_described_with_its_media_types(archive: Archive) -> None:
    """8.9.3: the capabilities describe each resource, its methods and its media types."""
    _, _, body = _get(archive, "/dicom-web/openapi.json")
    for path, operations in json.loads(body)["paths"].items():
        for method, operation in operations.items():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path
            for code, answer in operation["responses"].items():
                assert answer.get("content") or code in ("202", "204", "304"), (method, path, code)


def test_C7_14_a_listed_page_may_ask_and_read_what_it_is_told(archive: Archive) -> None:
    """CORS, also where the request is refused: a page that cannot read why shows nothing."""
    viewer = "https://viewer.example"
    for path, code in (("/dicom-web/studies", 200), ("/dicom-web/studies?limit=x", 400), ("/dicom-web/nothing", 404)):
        status, headers, _ = _get(archive, path, Origin=viewer)
        assert (status, headers["Access-Control-Allow-Origin"]) == (code, viewer)
        assert {"Warning", "ETag", "Content-Location"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
    status, headers, _ = _get(archive, "//evil", Origin=viewer)
    assert (status, headers["Access-Control-Allow-Origin"]) == (400, viewer)
    _, headers, _ = _get(archive, "/dicom-web/studies", Origin="https://evil.example")
    assert headers["Access-Control-Allow-Origin"] is None
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type, if-none-match"}
    status, headers, _ = _get(archive, "/dicom-web/studies", "OPTIONS", Origin=viewer, **asked)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, viewer)
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert _get(archive, "/dicom-web/studies", "OPTIONS", Origin="https://evil.example", **asked)[0] == 400


def test_C7_15_B43_urls_come_from_a_known_host_and_no_stranger_names_another(archive: Archive) -> None:
    """8.2: the base URI is what the service is asked by; X-Forwarded only of a trusted proxy (test_web_admission)."""
    _, _, body = _get(archive, "/dicom-web/studies?limit=1", Host="pacs.example:81")
    assert b'"http://pacs.example:81/dicom-web/studies/' in body
    _, _, body = _get(archive, "/dicom-web/studies?limit=1", X_Forwarded_Host="evil", X_Forwarded_Proto="https")
    assert b"evil" not in body
    for bad in ("evil", "pacs.example:81/x", "a b", ""):
        assert _get(archive, "/dicom-web/studies", Host=bad)[0] == 400
    assert _get(archive, "//evil/dicom-web/studies")[0] == 400


def test_WEB_1_the_client_library_finds_everything(archive: Archive) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web")
    assert len(client.search_for_studies()) == 6
    assert len(client.search_for_studies(search_filters={"PatientName": "DOE*"}, fields=["StudyDescription"])) == 1
    assert len(client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "Ivanova"})) == 1
    assert len(client.search_for_series(f"{_ROOT}.1")) == 2
    assert len(client.search_for_series()) == 7
    assert len(client.search_for_instances(f"{_ROOT}.1")) == 3
    assert len(client.search_for_instances(f"{_ROOT}.1", f"{_ROOT}.1.1", limit=1)) == 1
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []


def test_WEB_1_the_routes_also_stand_at_the_root(archive: Archive) -> None:
    """The manual's viewers leave the base path blank (1.2.6)."""
    assert _get(archive, "/studies?limit=1")[0] == 200
