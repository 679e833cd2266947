"""Storage commitment asks the log and the disk, never a read model, and gives up late (C5.6, C5.7, P5, D8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.log.log import EventLog
from annals.compose import FACTS
from domain import instance, storage
from domain.commitment import Commitment, CommitmentRequested, FailureReason
from domain.errors import AnnalsError, Because, Refused, Unavailable
from domain.event import Actor, Event
from domain.instance import Content, DuplicateIgnored, InstanceStored
from domain.limits import Limits
from processes.commit_storage import Commitments, Told
from processes.storages_by_log import StoragesByLog

BY = Actor("device", "CT1", "192.0.2.7")
LIMITS = Limits()
CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass
class Disk:
    """What is wrong with the bytes at a path; ``on_read`` is called before it is told."""

    faults: dict[str, str] = field(default_factory=dict)
    away: bool = False
    on_read: Callable[[], None] = lambda: None

    def fault_of(self, content: Content) -> str:
        self.on_read()
        if self.away:
            raise Refused(Because.OUT_OF_RESOURCES, "the storage is away")
        return self.faults.get(content.path, "")


@dataclass
class Site:
    log: EventLog
    disk: Disk = field(default_factory=Disk)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def room(self) -> Commitments:
        return Commitments(self.log, self.disk, StoragesByLog(self.log), lambda: self.now, LIMITS)

    def keep(self, uid: str, path: str = "p") -> None:
        stored = InstanceStored(uid, CT, "1.8", "1.9", Content("d", 1, 0, "1.2", "default", path), "", "")
        self.log.change(instance.KIND, uid, lambda _: [stored], fold=instance.fold, by=BY)

    def move(self, uid: str, path: str) -> None:
        content = Content("d", 1, 0, "1.2", "default", path)
        self.log.change(instance.KIND, uid, instance.move, content, fold=instance.fold, by=BY)

    def remove_storage(self, *, files: bool) -> None:
        added = storage.StorageAdded("default", "0f8e", "/srv/default")
        self.log.change(storage.KIND, "default", storage.add, added, fold=storage.fold, by=BY)
        self.log.change(storage.KIND, "default", storage.remove, "default", files, fold=storage.fold, by=BY)

    def ask(self, transaction_uid: str, *instances: str, ae_title: str = "CT1") -> None:
        asked = CommitmentRequested(transaction_uid, ae_title, "ANNALS", dict.fromkeys(instances, CT))
        self.room.request(asked, BY)

    def facts(self, kind: str, key: str) -> list[Event]:
        return [one.event for one in self.log.stream(kind, key)]


@pytest.fixture
def site(dsn: str) -> Iterator[Site]:
    sites: list[Site] = []
    log = EventLog(dsn, FACTS, LIMITS, clock=lambda: sites[0].now)
    sites.append(Site(log))
    log.open()
    yield sites[0]
    log.close()


@dataclass
class Asker:
    """Who had asked: it may be off, or answer that it did not understand."""

    is_off: bool = False
    understands: bool = True
    told: list[Commitment] = field(default_factory=list)

    def reach(self, _asked: CommitmentRequested) -> None:
        if self.is_off:
            raise Unavailable("it is off")

    def __call__(self, known: Commitment) -> None:
        self.reach(known.requested)
        self.told.append(known)
        if not self.understands:
            raise Refused(Because.INVALID_ARGUMENT, "it answered the report with status 0110")


def test_D8_what_was_moved_while_it_was_read_is_read_where_it_is_now(site: Site) -> None:
    site.keep("1.1", "old")
    site.disk.faults["old"] = "the file cannot be opened"
    site.disk.on_read = lambda: site.move("1.1", "new")
    site.ask("2.1", "1.1")
    assert site.room.decide("2.1").committed == ["1.1"]


def test_P5_a_damaged_file_is_noted_and_its_new_copy_is_committed(site: Site) -> None:
    site.keep("1.2", "bad")
    site.disk.faults["bad"] = "the bytes are not those that were received"
    site.ask("2.2", "1.2")
    assert site.room.decide("2.2").failed == {"1.2": FailureReason.NO_SUCH_OBJECT_INSTANCE}
    assert site.facts(instance.KIND, "1.2")[-1].NAME == "InstanceUnreadable"
    site.disk.faults.clear()
    asker = Asker()
    assert site.room.tell("2.2", asker) is Told.DONE
    assert asker.told[0].committed == ["1.2"]


def test_P5_nothing_is_decided_while_the_log_is_away_and_a_storage_that_is_away_promises_nothing(site: Site) -> None:
    site.keep("1.3")
    site.ask("2.3", "1.3")
    site.disk.away = True
    assert site.room.decide("2.3").failed == {"1.3": FailureReason.RESOURCE_LIMITATION}
    site.disk.away = False
    site.disk.on_read = lambda: (_ for _ in ()).throw(Unavailable("the database does not answer"))
    with pytest.raises(Unavailable):
        site.room.tell("2.3", Asker())
    assert site.room.known("2.3").failed == {"1.3": FailureReason.RESOURCE_LIMITATION}


def test_C5_7_a_device_that_stays_off_is_told_until_it_is_overdue_since_the_first_try(site: Site) -> None:
    site.keep("1.4")
    site.ask("2.4", "1.4")
    # No worker ran for a week: that is not the device's fault.
    site.now += timedelta(days=LIMITS.commitment_report_days + 1)
    assert site.room.tell("2.4", Asker(is_off=True)) is Told.NOT_REACHED
    assert not site.room.known("2.4").is_ended
    site.now += timedelta(days=LIMITS.commitment_report_days + 1)
    assert site.room.tell("2.4", Asker(is_off=True)) is Told.DONE
    assert site.facts("commitment", "2.4")[-1].NAME == "CommitmentGivenUp"
    asker = Asker()
    assert site.room.tell("2.4", asker) is Told.DONE
    assert not asker.told


def test_C5_7_for_a_device_that_is_still_off_no_file_is_read_again(site: Site) -> None:
    site.keep("1.5")
    site.ask("2.6", "1.5")
    reads: list[None] = []
    site.disk.on_read = lambda: reads.append(None)
    for _ in range(3):
        assert site.room.tell("2.6", Asker(is_off=True)) is Told.NOT_REACHED
    assert len(reads) == 1
    assert site.room.tell("2.6", Asker(understands=False)) is Told.NOT_UNDERSTOOD
    assert len(reads) == 2


@pytest.mark.parametrize(
    ("sender", "asker", "reason"), [("CT1", "CT1", 0x0110), ("MR1", "CT1", 0), ("MR1", "", 0x0110)]
)
def test_C5_6_NET_6_who_sent_other_bytes_that_were_ignored_is_not_promised_that_they_are_kept(
    site: Site, sender: str, asker: str, reason: int
) -> None:
    uid, transaction = f"1.6.{sender}{asker}".replace("CT1", "1").replace("MR1", "2"), f"2.7.{len(sender + asker)}"
    transaction += ".1" if sender == "CT1" else ".2"
    site.keep(uid)
    ignored = DuplicateIgnored(uid, "other")
    site.log.change(
        instance.KIND, uid, lambda _: [ignored], fold=instance.fold, by=Actor("device", sender, "192.0.2.7")
    )
    site.ask(transaction, uid, ae_title=asker)
    assert site.room.decide(transaction).failed == ({uid: reason} if reason else {})


def test_P15_no_further_file_is_read_when_the_archive_stops(site: Site) -> None:
    site.keep("1.7")
    site.ask("2.8", "1.7")
    stopping = replace(site.room, is_stopping=lambda: True)
    with pytest.raises(Unavailable):
        stopping.tell("2.8", Asker())
    assert site.room.known("2.8").failed is None


def test_C5_4_of_two_that_ask_at_once_with_one_uid_one_is_refused(site: Site) -> None:
    site.ask("2.5", "1.1")
    with pytest.raises(AnnalsError) as refused:
        site.ask("2.5", "1.2")
    assert isinstance(refused.value, Refused)
    assert refused.value.because is Because.DUPLICATE_TRANSACTION_UID


def test_C5_2_what_was_removed_with_its_storage_is_no_such_instance(site: Site) -> None:
    site.keep("1.1")
    site.remove_storage(files=True)
    site.disk.away = True
    site.ask("2.1", "1.1")
    assert site.room.decide("2.1").failed == {"1.1": FailureReason.NO_SUCH_OBJECT_INSTANCE}
    assert len(site.facts(instance.KIND, "1.1")) == 1


@pytest.mark.parametrize(
    ("files", "reason"), [(True, FailureReason.NO_SUCH_OBJECT_INSTANCE), (False, FailureReason.RESOURCE_LIMITATION)]
)
def test_P5_nothing_is_promised_of_a_storage_that_was_removed_while_its_file_was_read(
    site: Site, files: bool, reason: FailureReason
) -> None:
    """I1: who is promised an instance throws its own copy away."""
    site.keep("1.1")
    site.disk.on_read = lambda: site.remove_storage(files=files)
    site.ask("2.1", "1.1")
    assert site.room.decide("2.1").failed == {"1.1": reason}
