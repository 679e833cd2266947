"""Storage commitment asks the log and the disk, never a read model, and gives up late (C5.6, C5.7, P5, D8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from adapters.log.log import EventLog
from annals.compose import FACTS
from domain import instance
from domain.commitment import Commitment, CommitmentRequested, FailureReason
from domain.errors import AnnalsError, Because, Refused, Unavailable
from domain.event import Actor, Event
from domain.instance import Content, InstanceStored
from domain.limits import Limits
from processes.commit_storage import Commitments

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
        return Commitments(self.log, self.disk, lambda: self.now, LIMITS)

    def keep(self, uid: str, path: str = "p") -> None:
        stored = InstanceStored(uid, CT, "1.8", "1.9", Content("d", 1, 0, "1.2", "default", path), "", "")
        self.log.change(instance.KIND, uid, lambda _: [stored], fold=instance.fold, by=BY)

    def move(self, uid: str, path: str) -> None:
        content = Content("d", 1, 0, "1.2", "default", path)
        self.log.change(instance.KIND, uid, instance.move, content, fold=instance.fold, by=BY)

    def ask(self, transaction_uid: str, *instances: str, ae_title: str = "CT1") -> None:
        asked = CommitmentRequested(transaction_uid, ae_title, "ANNALS", dict.fromkeys(instances, CT))
        self.room.request(asked, BY)

    def facts(self, kind: str, key: str) -> list[Event]:
        return [one.event for one in self.log.stream(kind, key)]


@pytest.fixture
def site(dsn: str) -> Iterator[Site]:
    log = EventLog(dsn, FACTS, LIMITS)
    log.open()
    yield Site(log)
    log.close()


def fails(_known: Commitment) -> None:
    raise Unavailable("it is off")


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
    told: list[Commitment] = []
    assert site.room.tell("2.2", told.append)
    assert told[0].committed == ["1.2"]


def test_P5_nothing_is_decided_while_the_log_is_away_and_a_storage_that_is_away_promises_nothing(site: Site) -> None:
    site.keep("1.3")
    site.ask("2.3", "1.3")
    site.disk.away = True
    assert site.room.decide("2.3").failed == {"1.3": FailureReason.RESOURCE_LIMITATION}
    site.disk.away = False
    site.disk.on_read = lambda: (_ for _ in ()).throw(Unavailable("the database does not answer"))
    with pytest.raises(Unavailable):
        site.room.tell("2.3", fails)
    assert site.room.known("2.3").failed == {"1.3": FailureReason.RESOURCE_LIMITATION}


def test_C5_7_a_device_that_stays_off_is_told_until_it_is_overdue(site: Site) -> None:
    site.keep("1.4")
    site.ask("2.4", "1.4")
    assert not site.room.tell("2.4", fails)
    assert not site.room.known("2.4").is_ended
    site.now += timedelta(days=LIMITS.commitment_report_days + 1)
    assert site.room.tell("2.4", fails)
    assert site.facts("commitment", "2.4")[-1].NAME == "CommitmentGivenUp"
    told: list[Commitment] = []
    assert site.room.tell("2.4", told.append)
    assert not told


def test_C5_4_of_two_that_ask_at_once_with_one_uid_one_is_refused(site: Site) -> None:
    site.ask("2.5", "1.1")
    with pytest.raises(AnnalsError) as refused:
        site.ask("2.5", "1.2")
    assert isinstance(refused.value, Refused)
    assert refused.value.because is Because.DUPLICATE_TRANSACTION_UID
