"""Storage Commitment end to end: what is promised is there, and it is told until it is understood (C5, P5, B37).

The modality is pynetdicom: N-ACTION on one association, N-EVENT-REPORT on one that the archive asks for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from tests.archive import samples
from tests.archive.conftest import Archive, running_archive, until
from tests.durability import machine
from tests.ports import free_port

PUSH, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
SUCCESS, FAILURE = 0x0000, 0x0110
NO_SUCH_INSTANCE, CONFLICT, NO_RESOURCES = 0x0112, 0x0119, 0x0213


@dataclass
class Report:
    """One N-EVENT-REPORT as the modality got it."""

    event_type: int
    information: Dataset
    calling: str
    roles: tuple[bool, bool]

    def committed(self) -> set[str]:
        return {str(item.ReferencedSOPInstanceUID) for item in self.information.get("ReferencedSOPSequence", ())}

    def failed(self) -> dict[str, int]:
        items = self.information.get("FailedSOPSequence", ())
        return {str(item.ReferencedSOPInstanceUID): int(item.FailureReason) for item in items}


@dataclass
class Modality:
    """Stores, asks, and is told."""

    archive: Archive
    port: int = field(default_factory=free_port)
    title: str = "MODALITY"
    reports: list[Report] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    hold: threading.Event | None = None
    got: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> Callable[[], None]:
        ae = ApplicationEntity(self.title)
        ae.add_supported_context(PUSH, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._note)]
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return lambda: server.shutdown()

    def _note(self, event: evt.Event) -> tuple[int, None]:
        (context,) = event.assoc.accepted_contexts
        with self.got:
            calling = event.assoc.requestor.ae_title
            roles = (bool(context.as_scu), bool(context.as_scp))
            self.reports.append(Report(event.event_type, event.event_information, calling, roles))
            self.got.notify_all()
            answer = self.answers.pop(0) if self.answers else SUCCESS
        if self.hold:
            self.hold.wait(60)
        return answer, None

    def store(self, count: int = 3) -> list[tuple[str, str]]:
        """SOP classes and instances of what was stored."""
        ae = ApplicationEntity(self.title)
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", self.archive.port, ae_title="ANNALS")
        stored, study, series = [], generate_uid(), generate_uid()
        for _ in range(count):
            image = dcmread(samples.SAMPLES / "CT_small.dcm")
            image.StudyInstanceUID, image.SeriesInstanceUID = study, series
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            assert association.send_c_store(image).Status == SUCCESS
            stored.append((str(CTImageStorage), str(image.SOPInstanceUID)))
        association.release()
        return stored

    def ask(
        self,
        references: list[tuple[str, str]],
        transaction_uid: str | None = None,
        *,
        action: int = 1,
        instance: str = INSTANCE,
        title: str = "",
    ) -> int:
        """The status that answers N-ACTION."""
        ae = ApplicationEntity(title or self.title)
        ae.add_requested_context(PUSH)
        wanted = Dataset()
        if transaction_uid != "":
            wanted.TransactionUID = transaction_uid or generate_uid()
        wanted.ReferencedSOPSequence = [_reference(*one) for one in references]
        association = ae.associate("127.0.0.1", self.archive.port, ae_title="ANNALS")
        status, _ = association.send_n_action(wanted, action, PUSH, instance)
        association.release()
        return int(status.Status)

    def told(self, number: int = 1, seconds: float = 60) -> Report:
        """The report of so many."""
        with self.got:
            assert self.got.wait_for(lambda: len(self.reports) >= number, seconds), self.archive.log_lines()
            return self.reports[number - 1]


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item


@pytest.fixture(scope="module")
def site() -> Iterator[Archive]:
    with running_archive({"ANNALS_LIMITS__COMMITMENT_RETRY_SECONDS": "0.2"}) as running:
        yield running


@pytest.fixture
def modality(site: Archive, request: pytest.FixtureRequest) -> Iterator[Modality]:
    made = Modality(site, title=f"MOD{abs(hash(request.node.name)) % 10**9}")
    site.annals("device", "add", made.title, "127.0.0.1", str(made.port))
    stop = made.listen()
    yield made
    stop()


def test_C5_1_C5_2_C5_3_all_that_is_there_is_committed_on_an_association_of_our_own(modality: Modality) -> None:
    stored, uid = modality.store(), generate_uid()
    assert modality.ask(stored, uid) == SUCCESS
    report = modality.told()
    assert report.event_type == 1
    assert report.information.TransactionUID == uid
    assert report.committed() == {instance for _, instance in stored}
    assert not report.failed()
    assert "FailedSOPSequence" not in report.information
    assert report.calling == "ANNALS"
    # C5.2: the modality stays the SCU of the service, though the archive asked for the association.
    assert report.roles == (True, False)


def _damaged(archive: Archive, instance: str, how: str) -> None:
    (path,) = [
        path for path in (archive.data / "storage").rglob("*.dcm") if instance.encode() in path.read_bytes()[:4096]
    ]
    if how == "removed":
        path.unlink()
        return
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-10] if how == "truncated" else whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])


@pytest.mark.parametrize("how", ["removed", "truncated", "one bit flipped"])
def test_C5_6_P5_F18_no_file_that_is_not_whole_is_committed(modality: Modality, how: str) -> None:
    stored = modality.store()
    _damaged(modality.archive, stored[1][1], how)
    assert modality.ask(stored) == SUCCESS
    report = modality.told()
    assert report.event_type == 2
    assert report.failed() == {stored[1][1]: NO_SUCH_INSTANCE}
    assert report.committed() == {stored[0][1], stored[2][1]}


def test_C5_4_each_instance_that_fails_has_its_reason(modality: Modality) -> None:
    (kept,) = modality.store(1)
    missing, conflicting = generate_uid(), modality.store(1)[0][1]
    asked = [kept, (str(CTImageStorage), missing), (str(MRImageStorage), conflicting)]
    assert modality.ask(asked) == SUCCESS
    report = modality.told()
    assert report.failed() == {missing: NO_SUCH_INSTANCE, conflicting: CONFLICT}
    assert report.committed() == {kept[1]}


def test_P5_what_is_on_a_storage_that_is_away_is_not_known_now(modality: Modality) -> None:
    stored = modality.store(1)
    storage, aside = modality.archive.data / "storage", modality.archive.data / "away"
    storage.rename(aside)
    try:
        assert modality.ask(stored) == SUCCESS
        assert modality.told().failed() == {stored[0][1]: NO_RESOURCES}
    finally:
        aside.rename(storage)
    until(modality.archive.ready, 60, "the storage is used again")


def test_C5_4_B37_a_transaction_uid_is_used_once(modality: Modality) -> None:
    stored, uid = modality.store(1), generate_uid()
    assert modality.ask(stored, uid) == SUCCESS
    assert modality.ask(stored, uid) == 0x0131
    modality.told()
    assert modality.ask(stored, uid) == 0x0131


@pytest.mark.parametrize(
    ("references", "uid", "more", "status"),
    [
        ([], None, {}, 0x0115),
        ([("1.2", "1.3")], "", {}, 0x0115),
        ([("1.2", "")], None, {}, 0x0115),
        ([("1.2", f"1.3.{number}") for number in range(10_001)], None, {}, 0x0115),
        ([("1.2", "1.3")], None, {"action": 2}, 0x0123),
        ([("1.2", "1.3")], None, {"instance": "1.2.3"}, 0x0112),
        ([("1.2", "1.3")], None, {"title": "STRANGER"}, 0x0124),
    ],
    ids=["no instances", "no UID", "empty reference", "too many", "other action", "other instance", "unregistered"],
)
def test_C5_5_B37_a_request_that_cannot_be_served_is_refused_with_its_reason(
    modality: Modality, references: list[tuple[str, str]], uid: str | None, more: dict[str, str], status: int
) -> None:
    assert modality.ask(references, uid, **more) == status  # type: ignore[arg-type]
    assert not modality.reports


def test_C5_3_nobody_asks_in_the_name_of_a_device_from_another_address(site: Archive) -> None:
    site.annals("device", "add", "ELSEWHERE", "127.0.0.9", "11112")
    assert Modality(site, title="ELSEWHERE").ask([(str(CTImageStorage), generate_uid())]) == 0x0124


def test_NET_6_C5_6_an_instance_whose_later_bytes_were_ignored_is_not_committed_to_who_sent_them(
    modality: Modality,
) -> None:
    stored = modality.store(1)
    ae = ApplicationEntity(modality.title)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", modality.archive.port, ae_title="ANNALS")
    found = modality.archive.annals("events", "--stream", stored[0][1]).stdout
    image = dcmread(modality.archive.data / "storage" / found.partition("default:")[2].split()[0])
    image.PixelData = bytes([image.PixelData[0] ^ 1]) + image.PixelData[1:]
    assert association.send_c_store(image).Status == SUCCESS
    association.release()
    assert modality.ask(stored) == SUCCESS
    assert modality.told().failed() == {stored[0][1]: FAILURE}


def test_B37_of_thousands_of_instances_that_are_not_ours_each_is_named(modality: Modality) -> None:
    asked = [(str(CTImageStorage), f"1.2.3.{number}") for number in range(2_000)]
    assert modality.ask(asked) == SUCCESS
    assert modality.told().failed() == {instance: NO_SUCH_INSTANCE for _, instance in asked}


def test_C5_7_a_report_that_is_not_understood_is_told_again(modality: Modality) -> None:
    modality.answers = [FAILURE]
    assert modality.ask(modality.store(1)) == SUCCESS
    first, second = modality.told(1), modality.told(2)
    assert first.information.TransactionUID == second.information.TransactionUID


def test_P5_a_device_that_is_off_holds_up_no_other(modality: Modality) -> None:
    off = Modality(modality.archive, title="OFF")
    modality.archive.annals("device", "add", off.title, "127.0.0.1", str(off.port))
    for _ in range(6):
        assert off.ask([(str(CTImageStorage), generate_uid())]) == SUCCESS
    assert modality.ask(modality.store(1)) == SUCCESS
    assert modality.told().event_type == 1
    assert not off.reports


def test_C5_7_P5_P15_a_modality_that_is_off_is_told_after_a_kill_of_everything_and_holds_up_no_stop(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = make_archive({"ANNALS_LIMITS__COMMITMENT_RETRY_SECONDS": "0.2"}).with_database().start()
    modality = Modality(archive)
    archive.annals("device", "add", modality.title, "127.0.0.1", str(modality.port))
    stored = modality.store(2)
    assert modality.ask(stored) == SUCCESS
    until(lambda: "was not told" in archive.log_lines(), 60, "it was tried")
    machine.kill_all(archive.processes())
    archive.process.wait(60)  # type: ignore[union-attr]
    archive.start()
    stop = modality.listen()
    try:
        assert modality.told().committed() == {instance for _, instance in stored}
        assert len(modality.reports) == 1
        modality.hold = threading.Event()
        assert modality.ask(stored) == SUCCESS
        modality.told(2)
        assert archive.stop() == 0, archive.log_lines()
    finally:
        if modality.hold:
            modality.hold.set()
        stop()
