"""C-FIND end to end: every case of C1 that this archive offers, as DCMTK and pynetdicom ask it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind as PatientRoot,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRoot,
)

from tests.archive.conftest import Archive
from tests.pynetdicom_peer import rest

_CT, _SR, _PR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.11.1"
_ROOT = "1.2.826.0.1.3680043.8.498.7"


def _code(value: str, scheme: str, *, meaning: bool = True) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, scheme
    if meaning:
        item.CodeMeaning = f"the meaning of {value}"
    return item


def _object(number: str, modality: str = "CT", sop_class: str = _CT, **attributes: Any) -> Dataset:
    """An object whose number ``study.series.instance`` makes its UIDs."""
    study, series, _ = number.split(".")
    made = Dataset()
    made.SpecificCharacterSet = attributes.pop("SpecificCharacterSet", "ISO_IR 192")
    made.SOPClassUID, made.SOPInstanceUID = sop_class, f"{_ROOT}.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"{_ROOT}.{study}", f"{_ROOT}.{study}.{series}"
    made.Modality, made.InstanceNumber, made.SeriesNumber = modality, number.split(".")[2], series
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def _population() -> list[Dataset]:
    doe = {"PatientName": "DOE^JOHN", "PatientID": "P1", "PatientBirthDate": "19700203", "PatientSex": "M"}
    first = {
        **doe,
        "StudyDate": "20240131",
        "StudyTime": "223000",
        "AccessionNumber": "A_1%",
        "StudyDescription": "HEAD CT",
        "StudyID": "S1",
        "ReferringPhysicianName": "HOUSE^GREGORY",
        "ProcedureCodeSequence": Items([_code("CTHEAD", "L"), _code("CTNECK", "99X")]),
    }
    return [
        _object("1.1.1", **first, SeriesDescription="AXIAL", Rows=512, Columns=512),
        _object("1.1.2", **first, SeriesDescription="AXIAL", Rows=256, Columns=512),
        _object("1.2.1", "SR", _SR, **first, SeriesDescription="REPORT"),
        _object("2.1.1", "MR", _PR, **doe, StudyDate="20240201", StudyTime="0815", AccessionNumber="AB1x"),
        _object("3.1.1", PatientName="山田^太郎", PatientID="P3", SpecificCharacterSet="ISO_IR 192"),
        _object(
            "4.1.1",
            PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
            PatientID="P4",
            SpecificCharacterSet=["", "ISO 2022 IR 87"],
            StudyDescription="頭部",
            StudyDate="20200229",
        ),
        _object("5.1.1", PatientName="王^小东", PatientID="P5", SpecificCharacterSet="GB18030"),
        _object("6.1.1", PatientName="MÜLLER^JÖRG", PatientID="P6", SpecificCharacterSet="ISO_IR 100"),
        _object("7.1.1", PatientName="Иванов^Иван", PatientID="P7", SpecificCharacterSet="ISO_IR 144"),
        _object("8.1.1", PatientName="NOBODY^A", PatientID=""),
        _object("9.1.1", PatientName="NOBODY^B", PatientID=""),
    ]


def _save(made: Dataset, path: Path) -> str:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(path, enforce_file_format=True)
    return str(path)


@pytest.fixture(scope="module")
def filled(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("objects")
    files = [_save(made, folder / f"{number}.dcm") for number, made in enumerate(_population())]
    sent = archive.dcmtk("storescu", "-R", *files)
    assert sent.returncode == 0, sent.stderr
    return archive


@pytest.fixture(params=[ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian], scope="module")
def association(filled: Archive, request: pytest.FixtureRequest) -> Iterator[Association]:
    """An association that finds, in each transfer syntax."""
    asking = AE("FINDER")
    asking.add_requested_context(PatientRoot, request.param)
    asking.add_requested_context(StudyRoot, request.param)
    made = asking.associate("127.0.0.1", filled.port, ae_title="ANNALS")
    assert made.is_established
    yield made
    made.release()


def _ask(
    association: Association, level: str, root: Any = StudyRoot, **keys: Any
) -> tuple[list[Dataset], set[int], Any]:
    """Answers, the statuses of the pending ones, the last response."""
    identifier = Dataset()
    if level:
        identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return _send(association, identifier, root)


def _send(association: Association, identifier: Dataset, root: Any = StudyRoot) -> tuple[list[Dataset], set[int], Any]:
    answers, statuses, last = [], set(), None
    for response, found in association.send_c_find(identifier, root):
        assert "Status" in response, "the association ended"
        if response.Status in (0xFF00, 0xFF01):
            found.decode()
            answers.append(found)
            statuses.add(response.Status)
        else:
            assert found is None
            last = response
    return answers, statuses, last


def _studies(association: Association, **keys: Any) -> list[str]:
    """The numbers of the studies that match, at study root."""
    answers, _, last = _ask(association, "STUDY", **{"StudyInstanceUID": "", **keys})
    assert last.Status == 0, last
    return sorted(answer.StudyInstanceUID.removeprefix(f"{_ROOT}.") for answer in answers)


_ALL = list("123456789")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, _ALL),
        ({"PatientName": "*"}, _ALL),
        ({"PatientID": ""}, _ALL),
        ({"PatientName": "doe^john"}, ["1", "2"]),
        ({"PatientName": "DOE*"}, ["1", "2"]),
        ({"PatientName": "DOE^JOHN^^^"}, ["1", "2"]),
        ({"PatientName": "*=*"}, _ALL),
        ({"PatientName": "MULLER*", "SpecificCharacterSet": "ISO_IR 100"}, ["6"]),
        ({"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"}, ["6"]),
        ({"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 192"}, ["6"]),
        ({"PatientName": "mu\u0308ller*", "SpecificCharacterSet": "ISO_IR 192"}, ["6"]),
        ({"PatientName": "山田*", "SpecificCharacterSet": "ISO_IR 192"}, ["3", "4"]),
        ({"PatientName": "山田^太郎", "SpecificCharacterSet": ["", "ISO 2022 IR 87"]}, ["3", "4"]),
        ({"PatientName": "山田*", "SpecificCharacterSet": "GB18030"}, ["3", "4"]),
        ({"PatientName": "Yamada*=山田*", "SpecificCharacterSet": "ISO_IR 192"}, ["4"]),
        ({"PatientName": "=山田*", "SpecificCharacterSet": "ISO_IR 192"}, ["4"]),
        ({"PatientName": "やまだ*", "SpecificCharacterSet": "ISO_IR 192"}, ["4"]),
        ({"PatientName": "王^小东", "SpecificCharacterSet": "GB18030"}, ["5"]),
        ({"PatientName": "иванов*", "SpecificCharacterSet": "ISO_IR 144"}, ["7"]),
        ({"PatientName": "?OE^JOHN"}, ["1", "2"]),
        ({"PatientID": "p1"}, []),
        ({"PatientID": "P?"}, ["1", "2", "3", "4", "5", "6", "7"]),
        ({"AccessionNumber": "A_1%"}, ["1"]),
        ({"AccessionNumber": "A_*"}, ["1"]),
        ({"AccessionNumber": "A?1?"}, ["1", "2"]),
        ({"StudyDescription": "HEAD*"}, ["1"]),
        ({"StudyDescription": "head ct"}, []),
        ({"StudyDescription": "頭*", "SpecificCharacterSet": ["", "ISO 2022 IR 87"]}, ["4"]),
        ({"StudyDate": "20240131"}, ["1"]),
        ({"StudyDate": "20240131-20240201"}, ["1", "2"]),
        ({"StudyDate": "20240201-"}, ["2"]),
        ({"StudyDate": "-20240131"}, ["1", "4"]),
        ({"StudyDate": "2024.01.31"}, ["1"]),
        ({"StudyTime": "2230"}, ["1"]),
        ({"StudyTime": "081500"}, ["2"]),
        ({"StudyTime": "0800-0900"}, ["2"]),
        ({"PatientBirthDate": "19700203", "PatientSex": "M"}, ["1", "2"]),
        ({"ModalitiesInStudy": "SR"}, ["1"]),
        ({"ModalitiesInStudy": ["SR", "MR"]}, ["1", "2"]),
        ({"ModalitiesInStudy": "?R"}, ["1", "2"]),
        ({"SOPClassesInStudy": _SR}, ["1"]),
        ({"NumberOfStudyRelatedInstances": "3"}, ["1"]),
        ({"NumberOfPatientRelatedStudies": "2"}, ["1", "2"]),
        ({"StudyInstanceUID": [f"{_ROOT}.1", f"{_ROOT}.5", "1.2.3"]}, ["1", "5"]),
        ({"StudyInstanceUID": [*(f"1.2.{number}" for number in range(900)), f"{_ROOT}.9"]}, ["9"]),
        ({"ProcedureCodeSequence": Items([_code("CTNECK", "99X", meaning=False)])}, ["1"]),
        ({"ProcedureCodeSequence": Items([])}, _ALL),
        ({"ReferringPhysicianName": "house*"}, ["1"]),
        ({"StudyDate": "99991231-00010101"}, []),
        ({"PatientID": "'; DROP TABLE study; --"}, []),
        ({"PatientID": "%"}, []),
    ],
    ids=lambda value: ascii(value)[:60] if isinstance(value, dict) else None,
)
def test_C1_D24_studies_match(association: Association, keys: dict[str, Any], expected: list[str]) -> None:
    assert _studies(association, **keys) == expected


def test_C1_9_ranges_of_date_and_time_are_independent_and_nobody_is_told_otherwise(filled: Archive) -> None:
    combined = SOPClassExtendedNegotiation()
    combined.sop_class_uid, combined.service_class_application_information = StudyRoot, b"\1\1"
    asking = AE("FINDER")
    asking.add_requested_context(StudyRoot, ImplicitVRLittleEndian)
    association = asking.associate("127.0.0.1", filled.port, ae_title="ANNALS", ext_neg=[combined])
    assert association.acceptor.sop_class_extended == {StudyRoot: b"\1\0"}
    # As one interval these would cover study 2, at 08:15 of the second day.
    assert _studies(association, StudyDate="20240131-20240201", StudyTime="2200-2300") == ["1"]
    association.release()


_COUNTS = {
    "ModalitiesInStudy": ["CT", "SR"],
    "SOPClassesInStudy": [_CT, _SR],
    "NumberOfStudyRelatedSeries": 2,
    "NumberOfStudyRelatedInstances": 3,
    "NumberOfPatientRelatedStudies": 2,
    "NumberOfPatientRelatedSeries": 3,
    "NumberOfPatientRelatedInstances": 4,
}


def test_C1_16_computed_attributes_are_exact_and_not_cut_to_the_key(association: Association) -> None:
    keys: dict[str, Any] = dict.fromkeys(_COUNTS, "")
    (answer,), statuses, _ = _ask(association, "STUDY", **keys | {"ModalitiesInStudy": "CT", "PatientID": "P1"})
    assert {keyword: answer[keyword].value for keyword in _COUNTS} == _COUNTS
    assert statuses == {0xFF00}


def test_every_level_of_the_patient_root(association: Association) -> None:
    patients, _, _ = _ask(
        association,
        "PATIENT",
        PatientRoot,
        PatientName="DOE*",
        PatientID="",
        NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedInstances="",
    )
    assert [
        (one.PatientID, one.NumberOfPatientRelatedStudies, one.NumberOfPatientRelatedInstances) for one in patients
    ] == [("P1", 2, 4)]
    studies, _, _ = _ask(association, "STUDY", PatientRoot, PatientID="P1", StudyInstanceUID="")
    assert {one.StudyInstanceUID for one in studies} == {f"{_ROOT}.1", f"{_ROOT}.2"}
    above = {"PatientID": "P1", "StudyInstanceUID": f"{_ROOT}.1"}
    series, _, _ = _ask(
        association,
        "SERIES",
        PatientRoot,
        **above,
        SeriesInstanceUID="",
        Modality="",
        NumberOfSeriesRelatedInstances="",
    )
    assert {(one.Modality, one.NumberOfSeriesRelatedInstances) for one in series} == {("CT", 2), ("SR", 1)}
    above["SeriesInstanceUID"] = f"{_ROOT}.1.1"
    images, _, _ = _ask(association, "IMAGE", PatientRoot, **above, SOPInstanceUID="", InstanceNumber="", Rows=None)
    assert {(one.SOPInstanceUID, one.InstanceNumber, one.Rows) for one in images} == {
        (f"{_ROOT}.1.1.1", 1, 512),
        (f"{_ROOT}.1.1.2", 2, 256),
    }


def test_every_level_of_the_study_root(association: Association) -> None:
    above = {"StudyInstanceUID": f"{_ROOT}.1"}
    series, _, _ = _ask(association, "SERIES", **above, SeriesInstanceUID="", Modality="SR", SeriesDescription="")
    assert [(one.SeriesInstanceUID, one.SeriesDescription) for one in series] == [(f"{_ROOT}.1.2", "REPORT")]
    above["SeriesInstanceUID"] = f"{_ROOT}.1.1"
    images, _, _ = _ask(association, "IMAGE", **above, SOPInstanceUID="", InstanceNumber="02", SOPClassUID="")
    assert [(one.SOPInstanceUID, one.SOPClassUID) for one in images] == [(f"{_ROOT}.1.1.2", _CT)]
    images, _, _ = _ask(association, "IMAGE", **above, SOPInstanceUID="", Rows=256)
    assert [one.SOPInstanceUID for one in images] == [f"{_ROOT}.1.1.2"]


@pytest.mark.parametrize(
    ("root", "level", "keys", "status"),
    [
        (StudyRoot, "", {"StudyInstanceUID": ""}, 0xA900),
        (StudyRoot, "WORKLIST", {"StudyInstanceUID": ""}, 0xA900),
        (StudyRoot, "PATIENT", {"PatientID": ""}, 0xA900),
        (StudyRoot, "SERIES", {"SeriesInstanceUID": ""}, 0xA900),
        (StudyRoot, "SERIES", {"StudyInstanceUID": ["1.2", "1.3"]}, 0xA900),
        (StudyRoot, "IMAGE", {"StudyInstanceUID": "1.2"}, 0xA900),
        (PatientRoot, "STUDY", {"StudyInstanceUID": ""}, 0xA900),
        (PatientRoot, "STUDY", {"PatientID": "*"}, 0xA900),
        (PatientRoot, "STUDY", {"PatientID": "P*"}, 0xA900),
        (PatientRoot, "STUDY", {"PatientID": ""}, 0xA900),
        (StudyRoot, "STUDY", {"StudyDate": "-"}, 0xC000),
        (StudyRoot, "STUDY", {"StudyDate": "2024-13-99"}, 0xC000),
        (StudyRoot, "STUDY", {"StudyInstanceUID": [f"1.2.{number}" for number in range(1_001)]}, 0xA900),
        (StudyRoot, "STUDY", {"StudyDescription": "x" * 129}, 0xA900),
        (StudyRoot, "STUDY", {"ProcedureCodeSequence": Items([Dataset(), Dataset()])}, 0xA900),
    ],
)
def test_C1_15_B35_B36_what_cannot_be_asked_is_refused_and_the_association_lives(
    filled: Archive, root: Any, level: str, keys: dict[str, Any], status: int
) -> None:
    asking = AE("FINDER")
    asking.add_requested_context(root, ImplicitVRLittleEndian)
    association = asking.associate("127.0.0.1", filled.port, ae_title="ANNALS")
    answers, _, last = _ask(association, level, root, **keys)
    assert (answers, last.Status) == ([], status)
    assert 0 < len(last.ErrorComment) <= 64
    answers, _, last = _ask(association, "STUDY", root, PatientID="P1")
    assert (len(answers), last.Status) == (2, 0)
    association.release()


def test_C1_17_an_answer_holds_what_was_asked_and_nothing_else(association: Association) -> None:
    (answer,), statuses, _ = _ask(
        association,
        "STUDY",
        PatientID="P6",
        PatientName="",
        StudyInstanceUID="",
        StudyDate="",
        InstanceAvailability="",
        TimezoneOffsetFromUTC="",
        AccessionNumber="",
        PatientSex="",
    )
    assert {element.keyword for element in answer} == {
        "SpecificCharacterSet", "QueryRetrieveLevel", "RetrieveAETitle", "InstanceAvailability", "PatientID",
        "PatientName", "StudyInstanceUID", "StudyDate", "TimezoneOffsetFromUTC", "AccessionNumber", "PatientSex",
    }  # fmt: skip
    assert (answer.QueryRetrieveLevel, answer.RetrieveAETitle) == ("STUDY", "ANNALS")
    assert answer.InstanceAvailability == "ONLINE"
    assert not answer.StudyDate
    assert statuses == {0xFF00}


@pytest.mark.parametrize(
    ("asked", "patient", "declared"),
    [
        (None, "P1", "ISO_IR 100"),
        (None, "P6", "ISO_IR 100"),
        (None, "P3", "ISO_IR 192"),
        ("ISO_IR 100", "P1", "ISO_IR 100"),
        ("ISO_IR 100", "P6", "ISO_IR 100"),
        ("ISO_IR 100", "P3", "ISO_IR 192"),
        ("ISO_IR 192", "P1", "ISO_IR 192"),
        ("ISO_IR 192", "P6", "ISO_IR 192"),
        ("GB18030", "P5", "GB18030"),
        ("GB18030", "P7", "GB18030"),
        ("ISO_IR 144", "P7", "ISO_IR 144"),
        ("ISO_IR 144", "P4", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "P4", ["", "ISO 2022 IR 87"]),
        (["", "ISO 2022 IR 87"], "P6", "ISO_IR 100"),
        ("", "P7", "ISO_IR 192"),
        ("NO SUCH SET", "P7", "ISO_IR 192"),
    ],
)
def test_C1_1_answers_come_in_the_asked_for_character_set_where_it_holds_them(
    association: Association, asked: Any, patient: str, declared: Any
) -> None:
    names = {str(made.PatientID): made.PatientName for made in _population()}
    keys = {} if asked is None else {"SpecificCharacterSet": asked}
    (answer, *_), _, _ = _ask(association, "STUDY", PatientID=patient, PatientName="", StudyDescription="", **keys)
    assert answer.SpecificCharacterSet == declared
    assert answer.PatientName == names[patient]
    if patient == "P4":
        assert answer.StudyDescription == "頭部"


def test_C1_12_a_sequence_comes_back_with_the_asked_for_attributes_of_its_items(association: Association) -> None:
    (whole,), _, _ = _ask(association, "STUDY", StudyID="S1", ProcedureCodeSequence=Items([]))
    assert [item.CodeMeaning for item in whole.ProcedureCodeSequence] == [
        "the meaning of CTHEAD",
        "the meaning of CTNECK",
    ]
    asked = Dataset()
    asked.CodeValue, asked.MappingResource = "CT*", ""
    (part,), _, _ = _ask(association, "STUDY", StudyID="S1", ProcedureCodeSequence=Items([asked]))
    assert [[element.keyword for element in item] for item in part.ProcedureCodeSequence] == [
        ["CodeValue", "MappingResource"]
    ] * 2


def test_C1_18_unsupported_private_and_lower_keys_give_FF01(association: Association) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.PatientID, identifier.Modality = "STUDY", "P1", "XA"
    answers, statuses, last = _send(association, identifier)
    assert (len(answers), statuses, last.Status) == (2, {0xFF01}, 0)
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.PatientID = "STUDY", "P6"
    identifier.add_new(0x00090010, "LO", "ACME")
    identifier.add_new(0x00091001, "LO", "VALUE")
    (answer,), statuses, _ = _send(association, identifier)
    assert statuses == {0xFF01}
    assert answer[0x00090010].value == "ACME"
    assert not answer[0x00091001].value


def test_C1_17_group_lengths_are_ignored(association: Association) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.PatientID = "STUDY", "P6"
    identifier.add_new(0x00080000, "UL", 10)
    identifier.add_new(0x00100000, "UL", 10)
    (answer,), statuses, _ = _send(association, identifier)
    assert statuses == {0xFF00}
    assert not [element for element in answer if element.tag.element == 0]


def test_C1_22_studies_without_a_patient_id_are_patients_of_their_own(association: Association) -> None:
    patients, _, _ = _ask(
        association, "PATIENT", PatientRoot, PatientName="NOBODY*", PatientID="", NumberOfPatientRelatedStudies=""
    )
    assert [(str(one.PatientName), one.PatientID, one.NumberOfPatientRelatedStudies) for one in patients] == [
        ("NOBODY^A", "", 1),
        ("NOBODY^B", "", 1),
    ]


@pytest.mark.parametrize("pattern", ["*A" * 60 + "B", "?" * 64, "*" * 60, "%" * 60, "\\\\".join("ab"), "*?" * 60])
def test_B34_bombs_of_wild_cards_are_answered(association: Association, pattern: str) -> None:
    for keyword in ("PatientName", "PatientID", "StudyDescription"):
        _, _, last = _ask(association, "STUDY", **{keyword: pattern, "StudyInstanceUID": ""})
        assert last.Status in (0, 0xA900)


def test_B19_control_characters_in_keys_are_answered(association: Association) -> None:
    for text in ("a\0b", "\x1b$B", "\x1b", "\x00", "a\tb\nc"):
        _, _, last = _ask(association, "STUDY", PatientID=text, PatientName=text, StudyDescription=text)
        assert last.Status == 0


def _nested(depth: int) -> Dataset:
    inner = Dataset()
    inner.CodeValue = "X"
    for _ in range(depth):
        outer = Dataset()
        outer.ProcedureCodeSequence = Items([inner])
        inner = outer
    return inner


def test_B10_nested_and_many_and_long_keys_are_bounded(association: Association) -> None:
    for depth, status in ((5, 0), (60, 0), (70, 0xC000)):
        identifier = _nested(depth)
        identifier.QueryRetrieveLevel = "STUDY"
        assert _send(association, identifier)[2].Status == status
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    for number in range(5_000):
        identifier.add_new(0x00111001 + number, "LO", "x")
    assert _send(association, identifier)[2].Status == 0xA900
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.add_new(0x00081030, "UT", "x" * 1_000_000)
    assert _send(association, identifier)[2].Status in (0xA900, 0xC000)
    assert _studies(association, PatientID="P6") == ["6"]


def test_B36_a_hundred_thousand_uids_are_refused(filled: Archive) -> None:
    asking = AE("FINDER")
    asking.add_requested_context(StudyRoot, ImplicitVRLittleEndian)
    association = asking.associate("127.0.0.1", filled.port, ae_title="ANNALS")
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = [f"1.2.{number}" for number in range(100_000)]
    assert _send(association, identifier)[2].Status == 0xA900
    assert _studies(association, PatientID="P6") == ["6"]
    association.release()


def _raw(association: Association, encoded: bytes) -> int:
    """The status that answers these bytes as an identifier."""
    request = C_FIND()
    request.MessageID, request.Priority, request.AffectedSOPClassUID = 9, 2, StudyRoot
    request.Identifier = io.BytesIO(encoded)
    context = next(one for one in association.accepted_contexts if one.abstract_syntax == StudyRoot)
    rest(association)
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert isinstance(response, C_FIND)
    return int(response.Status)


@pytest.mark.parametrize(
    "encoded",
    [b"\x08", b"\x08\x00\x52\x00CS\xff\xff", b"\xff" * 64, b"\0" * 64, b"GET / HTTP/1.1\r\n\r\n"],
)
def test_B09_bytes_that_are_no_identifier_are_refused(filled: Archive, encoded: bytes) -> None:
    asking = AE("FINDER")
    asking.add_requested_context(StudyRoot, ExplicitVRLittleEndian)
    association = asking.associate("127.0.0.1", filled.port, ae_title="ANNALS")
    assert _raw(association, encoded) in (0xA900, 0xC000)
    assert _studies(association, PatientID="P6") == ["6"]
    association.release()


def _findscu(archive: Archive, *arguments: str) -> tuple[int, str]:
    found = archive.dcmtk("findscu", "-d", *arguments)
    assert found.returncode == 0, found.stderr
    said = found.stdout + found.stderr
    return said.count("DIMSE Status                  : 0xff0"), said


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=DOE*", "-k", "StudyInstanceUID"), 2),
        (("-P", "-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=P1"), 1),
        (("-P", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P1", "-k", "StudyDate=20240131-"), 2),
        (("-S", "-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={_ROOT}.1", "-k", "SeriesInstanceUID"), 2),
        (("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "ModalitiesInStudy=CT\\SR", "-k", "PatientID=P1"), 1),
        (("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "ProcedureCodeSequence[0].CodeValue=CTNECK"), 1),
        (("-S", "-xi", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P6"), 1),
        (("-S", "-xb", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P6"), 1),
        (("-S", "-xd", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P6"), 1),
    ],
)
def test_findscu_finds(filled: Archive, arguments: Sequence[str], count: int) -> None:
    assert _findscu(filled, *arguments)[0] == count


def test_findscu_is_refused_with_A900(filled: Archive) -> None:
    said = _findscu(filled, "-S", "-k", "QueryRetrieveLevel=SERIES", "-k", "SeriesInstanceUID")[1]
    assert "0xa900" in said
