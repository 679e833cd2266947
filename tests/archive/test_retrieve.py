"""C-MOVE and C-GET (C3) against real peers: pynetdicom on either side, movescu, getscu and storescp of DCMTK."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    generate_uid,
)
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation, SOPClassExtendedNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelMove as PatientMove,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet as StudyGet,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove as StudyMove,
)

from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, until
from tests.ports import free_port

IMAGES = 12
SUCCESS, WARNING, CANCELLED = 0x0000, 0xB000, 0xFE00
UNKNOWN_DESTINATION, CANNOT_COUNT, CANNOT_PERFORM, DOES_NOT_MATCH = 0xA801, 0xA701, 0xA702, 0xA900


class Study:
    """A study that was sent: two series, one of CT and one of MR."""

    def __init__(self, archive: Archive, folder: Path) -> None:
        self.uid = generate_uid()
        self.patient_id = f"R{self.uid[-12:]}"
        self.series = [generate_uid(), generate_uid()]
        self.images: list[str] = []
        ae = ApplicationEntity("MODALITY")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
        for number in range(IMAGES):
            image = dcmread(samples.SAMPLES / ("CT_small.dcm" if number % 2 else "MR_small.dcm"))
            image.StudyInstanceUID = self.uid
            image.SeriesInstanceUID = self.series[number % 2]
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            image.PatientID, image.PatientName = self.patient_id, "Retrieve^Me"
            self.images.append(image.SOPInstanceUID)
            assert association.send_c_store(image).Status == SUCCESS
        association.release()

    def query(self, level: str = "STUDY", **more: str | list[str]) -> Dataset:
        wanted = Dataset()
        wanted.QueryRetrieveLevel = level
        wanted.StudyInstanceUID = self.uid
        for keyword, value in more.items():
            setattr(wanted, keyword, value)
        return wanted


class Destination:
    """A pynetdicom Storage SCP at the address of the registered device DESTINATION."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[evt.Event] = []
        self.answer = SUCCESS
        self.aborts_after = 10**9
        self.hold: threading.Event | None = None
        self.got = threading.Event()
        self.ended = threading.Event()

    @contextmanager
    def running(self, contexts: list[tuple[str, str]] | None = None) -> Iterator[None]:
        ae = ApplicationEntity("DESTINATION")
        for sop_class, syntax in contexts or [
            (CTImageStorage, ExplicitVRLittleEndian),
            (MRImageStorage, ExplicitVRLittleEndian),
        ]:
            ae.add_supported_context(sop_class, syntax)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_CONN_CLOSE, lambda _: self.ended.set())]
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        try:
            yield
        finally:
            server.shutdown()

    def _store(self, event: evt.Event) -> int:
        self.requests.append(event)
        self.got.set()
        if self.hold and not self.hold.wait(90):
            raise TimeoutError
        if len(self.requests) > self.aborts_after:
            event.assoc.abort()
        return self.answer


@pytest.fixture(scope="module")
def registered(archive: Archive) -> int:
    port = free_port()
    archive.annals("device", "add", "DESTINATION", "127.0.0.1", str(port))
    return port


@pytest.fixture
def destination(registered: int) -> Destination:
    return Destination(registered)


@pytest.fixture(scope="module")
def study(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(archive, tmp_path_factory.mktemp("study"))


@contextmanager
def mover(archive: Archive, *contexts: str, **options: object) -> Iterator[Association]:
    ae = ApplicationEntity("WORKSTATION")
    for context in contexts or (StudyMove,):
        ae.add_requested_context(context)
    association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS", **options)  # type: ignore[arg-type]
    assert association.is_established
    yield association
    association.release()


def move(archive: Archive, destination: str, wanted: Dataset, model: str = StudyMove) -> tuple[Dataset, Dataset | None]:
    """The final response of a C-MOVE and its identifier; the pending ones are checked on the way (C3.3, C3.4)."""
    with mover(archive, model) as association:
        *pending, final = association.send_c_move(wanted, destination, model, msg_id=77)
    for status, identifier in pending:
        assert status.Status == 0xFF00
        assert identifier is None
        assert counts(status)[0] > 0
    return final


def counts(status: Dataset) -> tuple[int, int, int, int]:
    """Remaining (−1: not said), completed, failed, warning."""
    return (
        status.get("NumberOfRemainingSuboperations", -1),
        status.get("NumberOfCompletedSuboperations", -1),
        status.get("NumberOfFailedSuboperations", -1),
        status.get("NumberOfWarningSuboperations", -1),
    )


def test_C3_3_C3_5_a_study_is_moved_whole_and_says_whose_move_it_is(
    archive: Archive, study: Study, destination: Destination
) -> None:
    with destination.running():
        status, identifier = move(archive, "DESTINATION", study.query())
    assert (status.Status, counts(status), identifier) == (SUCCESS, (-1, IMAGES, 0, 0), None)
    assert sorted(event.request.AffectedSOPInstanceUID for event in destination.requests) == sorted(study.images)
    for event in destination.requests:
        assert event.request.MoveOriginatorApplicationEntityTitle == "WORKSTATION"
        assert event.request.MoveOriginatorMessageID == 77
        assert event.assoc.requestor.ae_title == "ANNALS"


def test_C3_6_pending_comes_also_while_a_single_object_is_under_way(
    archive: Archive, study: Study, destination: Destination
) -> None:
    wanted = study.query("IMAGE", SeriesInstanceUID=study.series[1], SOPInstanceUID=study.images[1])
    with destination.running(), mover(archive) as association:
        *_, (pending, _), (final, _) = association.send_c_move(wanted, "DESTINATION", StudyMove)
    assert (pending.Status, counts(pending)) == (0xFF00, (1, 0, 0, 0))
    assert (final.Status, counts(final)) == (SUCCESS, (-1, 1, 0, 0))


def test_C3_8_a_requestor_that_is_gone_in_the_middle_of_an_object_ends_the_sub_operations(
    archive: Archive, study: Study, destination: Destination
) -> None:
    destination.hold = threading.Event()
    with destination.running():
        with mover(archive) as association:
            answers = association.send_c_move(study.query(), "DESTINATION", StudyMove)
            assert next(answers)[0].Status == 0xFF00
            assert destination.got.wait(60)
            association.abort()
        destination.hold.set()
        assert destination.ended.wait(60)
    assert len(destination.requests) < IMAGES


@pytest.mark.parametrize(
    ("level", "keys", "expected"),
    [
        ("SERIES", {"SeriesInstanceUID": 0}, IMAGES // 2),
        ("IMAGE", {"SeriesInstanceUID": 1, "SOPInstanceUID": [1]}, 1),
        ("IMAGE", {"SeriesInstanceUID": 1, "SOPInstanceUID": [1, 3, 5]}, 3),
        ("IMAGE", {"SeriesInstanceUID": 1, "SOPInstanceUID": [0]}, 0),
    ],
)
def test_C3_2_only_the_unique_keys_select(
    archive: Archive,
    study: Study,
    destination: Destination,
    level: str,
    keys: dict[str, int | list[int]],
    expected: int,
) -> None:
    wanted = study.query(level)
    for keyword, number in keys.items():
        named = study.series[number] if isinstance(number, int) else [study.images[one] for one in number]
        setattr(wanted, keyword, named)
    with destination.running():
        status, _ = move(archive, "DESTINATION", wanted)
    assert (status.Status, counts(status)) == (SUCCESS, (-1, expected, 0, 0))


def test_C3_2_patient_root_takes_the_patient_id(archive: Archive, study: Study, destination: Destination) -> None:
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.PatientID = "PATIENT", study.patient_id
    with destination.running():
        status, _ = move(archive, "DESTINATION", wanted, PatientMove)
    assert (status.Status, counts(status)) == (SUCCESS, (-1, IMAGES, 0, 0))


@pytest.mark.parametrize(
    "change",
    [
        {"AccessionNumber": "1"},
        {"PatientName": "R*"},
        {"StudyInstanceUID": ""},
        {"StudyInstanceUID": "*"},
        {"QueryRetrieveLevel": "ALL"},
        {"QueryRetrieveLevel": "SERIES"},
        {"QueryRetrieveLevel": ""},
    ],
)
def test_C3_2_what_does_not_select_is_refused_and_never_moves_everything(
    archive: Archive, study: Study, destination: Destination, change: dict[str, str]
) -> None:
    with destination.running():
        status, _ = move(archive, "DESTINATION", study.query(**change))
    assert status.Status == DOES_NOT_MATCH
    assert destination.requests == []


def test_C3_1_an_unknown_destination_is_A801_and_an_unreachable_one_A702(
    archive: Archive, study: Study, destination: Destination
) -> None:
    status, _ = move(archive, "NOBODY", study.query())
    assert status.Status == UNKNOWN_DESTINATION
    status, identifier = move(archive, "DESTINATION", study.query())
    assert (status.Status, counts(status)) == (CANNOT_PERFORM, (-1, 0, IMAGES, 0))
    assert identifier is not None
    assert sorted(identifier.FailedSOPInstanceUIDList) == sorted(study.images)
    assert [element.keyword for element in identifier] == ["FailedSOPInstanceUIDList"]


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_C3_4_the_list_of_failed_instances_comes_in_the_syntax_of_its_context(
    archive: Archive, study: Study, registered: int, syntax: str
) -> None:
    ae = ApplicationEntity("WORKSTATION")
    ae.add_requested_context(StudyMove, syntax)
    association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    *_, (status, identifier) = association.send_c_move(study.query(), "DESTINATION", StudyMove)
    association.release()
    assert (status.Status, counts(status)) == (CANNOT_PERFORM, (-1, 0, IMAGES, 0))
    assert [element.keyword for element in identifier] == ["FailedSOPInstanceUIDList"]
    assert sorted(identifier.FailedSOPInstanceUIDList) == sorted(study.images)


@pytest.mark.parametrize("is_relational", [True, False])
def test_C1_15_C3_2_only_a_relational_retrieval_may_leave_out_upper_unique_keys(
    archive: Archive, study: Study, destination: Destination, is_relational: bool
) -> None:
    asked = SOPClassExtendedNegotiation()
    asked.sop_class_uid, asked.service_class_application_information = StudyMove, bytes([is_relational])
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.SeriesInstanceUID = "SERIES", study.series[0]
    ended = []
    with destination.running(), mover(archive, ext_neg=[asked]) as association:
        assert association.acceptor.sop_class_extended == {StudyMove: bytes([is_relational])}
        *_, (status, _) = association.send_c_move(wanted, "DESTINATION", StudyMove)
        ended.append(status.Status)
        wanted.SeriesInstanceUID = ""
        *_, (status, _) = association.send_c_move(wanted, "DESTINATION", StudyMove)
        ended.append(status.Status)
    assert ended == [SUCCESS if is_relational else DOES_NOT_MATCH, DOES_NOT_MATCH]
    assert len(destination.requests) == (IMAGES // 2 if is_relational else 0)


def test_C3_1_a_destination_without_a_common_context_is_A702(
    archive: Archive, study: Study, destination: Destination
) -> None:
    with destination.running([(CTImageStorage, JPEG2000Lossless)]):
        status, _ = move(archive, "DESTINATION", study.query())
    assert (status.Status, counts(status)) == (CANNOT_PERFORM, (-1, 0, IMAGES, 0))


def test_C3_3_some_without_a_context_fail_alone(archive: Archive, study: Study, destination: Destination) -> None:
    with destination.running([(CTImageStorage, ExplicitVRLittleEndian)]):
        status, identifier = move(archive, "DESTINATION", study.query())
    assert (status.Status, counts(status)) == (WARNING, (-1, IMAGES // 2, IMAGES // 2, 0))
    assert identifier is not None
    assert sorted(identifier.FailedSOPInstanceUIDList) == sorted(study.images[0::2])


@pytest.mark.parametrize(
    ("answer", "final", "expected"),
    [
        (0xB000, WARNING, (-1, 0, 0, IMAGES)),
        (0xB007, WARNING, (-1, 0, 0, IMAGES)),
        (0xA700, CANNOT_PERFORM, (-1, 0, IMAGES, 0)),
        (0xC001, CANNOT_PERFORM, (-1, 0, IMAGES, 0)),
    ],
)
def test_C3_3_the_destinations_answers_are_counted(
    archive: Archive,
    study: Study,
    destination: Destination,
    answer: int,
    final: int,
    expected: tuple[int, int, int, int],
) -> None:
    destination.answer = answer
    with destination.running():
        status, _ = move(archive, "DESTINATION", study.query())
    assert (status.Status, counts(status)) == (final, expected)


def test_C3_6_no_match_is_success_with_zero_counts(archive: Archive, study: Study, registered: int) -> None:
    status, identifier = move(archive, "DESTINATION", study.query(StudyInstanceUID=generate_uid()))
    assert (status.Status, counts(status), identifier) == (SUCCESS, (-1, 0, 0, 0), None)


def test_C3_8_a_destination_that_drops_is_tried_once_more_and_the_rest_counted_failed(
    archive: Archive, study: Study, destination: Destination
) -> None:
    destination.aborts_after = 3
    with destination.running():
        status, identifier = move(archive, "DESTINATION", study.query())
    assert (status.Status, counts(status)) == (WARNING, (-1, 3, IMAGES - 3, 0))
    assert identifier is not None
    assert len(identifier.FailedSOPInstanceUIDList) == IMAGES - 3


def test_C3_10_a_cancelled_move_stops_within_one_sub_operation_and_closes_the_association(
    archive: Archive, study: Study, destination: Destination
) -> None:
    destination.hold, is_sent = threading.Event(), threading.Event()
    told = [(evt.EVT_DATA_SENT, lambda _: is_sent.set())]
    with destination.running(), mover(archive, evt_handlers=told) as association:
        responses = association.send_c_move(study.query(), "DESTINATION", StudyMove, msg_id=9)
        asking = threading.Thread(target=lambda: final.extend(responses))
        final: list[tuple[Dataset, Dataset | None]] = []
        asking.start()
        assert destination.got.wait(60)
        is_sent.clear()
        association.send_c_cancel(9, query_model=StudyMove)
        assert is_sent.wait(60)
        # An echo's answer would be out of turn: that the cancel has come is seen by the next sub-operation's absence.
        destination.hold.set()
        asking.join(60)
        assert not asking.is_alive()
        assert destination.ended.wait(60)
    status, _ = final[-1]
    assert status.Status == CANCELLED
    remaining, completed, failed, warning = counts(status)
    assert remaining + completed + failed + warning == IMAGES
    assert completed == len(destination.requests) < IMAGES


@contextmanager
def getter(
    archive: Archive, roles: list[str], syntaxes: Sequence[str | list[str]], calling: str = "GETTER"
) -> Iterator[tuple[Association, list[evt.Event]]]:
    """An association for C-GET with a context for each class and each member of ``syntaxes``."""
    got: list[evt.Event] = []

    def keep(event: evt.Event) -> int:
        got.append(event)
        return SUCCESS

    ae = ApplicationEntity(calling)
    ae.add_requested_context(StudyGet)
    for sop_class in (CTImageStorage, MRImageStorage):
        for syntax in syntaxes:
            ae.add_requested_context(sop_class, syntax)
    selections = []
    for sop_class in roles:
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = sop_class, False, True  # type: ignore[assignment]
        selections.append(role)
    association = ae.associate(
        "127.0.0.1", archive.port, ae_title="ANNALS", ext_neg=selections, evt_handlers=[(evt.EVT_C_STORE, keep)]
    )
    assert association.is_established
    yield association, got
    association.release()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_C3_7_C3_9_a_study_is_got_in_the_stored_or_another_native_syntax(
    archive: Archive, study: Study, syntax: str
) -> None:
    with getter(archive, [CTImageStorage, MRImageStorage], [syntax]) as (association, got):
        *_, (status, _) = association.send_c_get(study.query(), StudyGet)
    assert (status.Status, counts(status)) == (SUCCESS, (-1, IMAGES, 0, 0))
    assert sorted(event.dataset.SOPInstanceUID for event in got) == sorted(study.images)
    assert {event.context.transfer_syntax for event in got} == {syntax}
    original = dcmread(samples.SAMPLES / "CT_small.dcm")
    for event in got:
        if event.dataset.SOPClassUID == CTImageStorage:
            assert event.dataset.PixelData == original.PixelData


def test_C3_7_without_the_role_of_a_class_its_instances_fail_and_the_others_go_on(
    archive: Archive, study: Study
) -> None:
    with getter(archive, [CTImageStorage], [ExplicitVRLittleEndian]) as (association, got):
        *_, (status, identifier) = association.send_c_get(study.query(), StudyGet)
    assert (status.Status, counts(status)) == (WARNING, (-1, IMAGES // 2, IMAGES // 2, 0))
    assert sorted(identifier.FailedSOPInstanceUIDList) == sorted(study.images[0::2])
    assert len(got) == IMAGES // 2


def test_F14_a_stored_file_that_is_gone_fails_alone_and_is_recorded(archive: Archive, tmp_path: Path) -> None:
    lost = Study(archive, tmp_path)
    shown = archive.annals("events", "--stream", lost.images[1]).stdout
    path = archive.data / "storage" / shown.partition("default:")[2].split()[0]
    path.unlink()
    with getter(archive, [CTImageStorage, MRImageStorage], [ExplicitVRLittleEndian]) as (association, _):
        *_, (status, identifier) = association.send_c_get(lost.query(), StudyGet)
    assert (status.Status, counts(status)) == (WARNING, (-1, IMAGES - 1, 1, 0))
    assert identifier.FailedSOPInstanceUIDList == lost.images[1]
    assert "InstanceUnreadable" in archive.annals("events", "--stream", lost.images[1]).stdout


def test_movescu_and_storescp_of_DCMTK(archive: Archive, study: Study, tmp_path: Path) -> None:
    port = free_port()
    archive.annals("device", "add", "DCMTK", "127.0.0.1", str(port))
    with subprocess.Popen(
        ["storescp", "-od", str(tmp_path), "-aet", "DCMTK", str(port)], stderr=subprocess.DEVNULL
    ) as storescp:
        try:
            until(lambda: archive.dcmtk_to("echoscu", port).returncode == 0, 60, "storescp listens")
            done = archive.dcmtk(
                "movescu",
                "-S",
                "-aem",
                "DCMTK",
                "-k",
                "QueryRetrieveLevel=STUDY",
                "-k",
                f"StudyInstanceUID={study.uid}",
            )
            assert done.returncode == 0, done.stderr
            assert len(list(tmp_path.iterdir())) == IMAGES
        finally:
            storescp.terminate()


def test_getscu_of_DCMTK(archive: Archive, study: Study, tmp_path: Path) -> None:
    done = archive.dcmtk(
        "getscu",
        "-S",
        "-od",
        str(tmp_path),
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={study.uid}",
    )
    assert done.returncode == 0, done.stderr
    names = sorted(path.name.partition(".")[2] for path in tmp_path.iterdir())
    assert names == sorted(study.images)


def test_C3_11_more_sub_operations_than_the_counters_hold_are_refused_before_the_first(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = make_archive({**SMALL, "ANNALS_LIMITS__SUB_OPERATIONS_MAX": str(IMAGES - 1)}).with_database().start()
    study = Study(archive, tmp_path)
    archive.annals("device", "add", "DESTINATION", "127.0.0.1", str(free_port()))
    status, _ = move(archive, "DESTINATION", study.query())
    assert status.Status == CANNOT_COUNT
    assert "series" in status.ErrorComment
