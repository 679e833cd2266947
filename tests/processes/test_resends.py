"""An instance that comes again: nothing acknowledged is lost, and no second copy stays (I1, NET-6, STO-2)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.dicom.index import Indexer
from adapters.dicom.sop_classes import storable_sop_classes
from adapters.files.attachment import MARKER
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.log.log import EventLog
from annals.compose import FACTS
from domain import instance, storage
from domain.errors import Because, Refused
from domain.event import Actor
from domain.instance import DuplicateRefused, InstanceMoved, InstanceReplaced, InstanceStored, OnDuplicate
from domain.limits import Limits
from processes.receive import Receiver
from tests.dicom.encoding import CT_CLASS, EXPLICIT, minimal

LIMITS = Limits(storage_free_min=1)
BY = Actor("device", "CT", "192.0.2.7")
UID = "1.2.3.1"
DATA = minimal(instance=UID)
OTHER = minimal([(0x00204000, "LT", b"other ")], instance=UID)
ELSEWHERE = minimal(instance=UID, series="1.2.9.9")
JPEG = "1.2.840.10008.1.2.4.50"


@dataclass
class Site:
    """Two storages, and a process that goes on with what it knew of them at its start."""

    log: EventLog
    root: Path
    at: dict[str, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.storages = {name: Storage.open(self.root / name, name, LIMITS) for name in ("first", "second")}
        for name, one in self.storages.items():
            added = storage.StorageAdded(name, str(one.storage_id), str(one.root))
            self.log.change(storage.KIND, name, storage.add, added, fold=storage.fold, by=BY)

    def files(self, into: str = "first") -> StoredFiles:
        """The storages as a process has them, one of them the first that is written."""
        opened = [
            Storage.open(one.root, name, LIMITS, storage_id=one.storage_id) for name, one in self.storages.items()
        ]
        return StoredFiles(sorted(opened, key=lambda one: one.name != into), LIMITS, Indexer(LIMITS))

    def send(
        self,
        into: str,
        data: bytes = DATA,
        syntax: str = EXPLICIT,
        ae_title: str = "CT",
        policy: OnDuplicate = OnDuplicate.IGNORE,
    ) -> list[str]:
        """Send the one instance to a process that writes into a storage; the names of the facts of it."""
        storable = storable_sop_classes(accept_unknown=True)
        receiver = Receiver(self.log, self.files(into), policy, self.pass_, storable)
        incoming = receiver.open(CT_CLASS, UID, syntax, ae_title)
        try:
            incoming.write(data)
            receiver.finish(incoming, by=BY)
        finally:
            incoming.discard()
        return [one.event.NAME for one in self.log.stream(instance.KIND, UID)]

    def pass_(self, moment: str) -> None:
        """Do what is to be done at a moment, once."""
        if moment in self.at:
            self.at.pop(moment)()

    def remove(self, *, files: bool) -> None:
        self.log.change(storage.KIND, "first", storage.remove, "first", files, fold=storage.fold, by=BY)

    def note_unreadable(self) -> None:
        self.log.change(instance.KIND, UID, instance.find_unreadable, "a fault", fold=instance.fold, by=BY)

    def place(self) -> str:
        """Where the instance is by the log; read there and found whole."""
        known = instance.fold(one.event for one in self.log.stream(instance.KIND, UID))
        assert known
        with open(self.files().open(known.stored.content), "rb") as stored:
            assert stored.read() == DATA
        return known.stored.content.storage

    def versions(self) -> list[tuple[str, bytes]]:
        """Every version that was the instance: its transfer syntax, and its bytes as they are on the disk."""
        facts = [one.event for one in self.log.stream(instance.KIND, UID)]
        known = instance.fold(facts)
        found = []
        for content in (fact.content for fact in facts if isinstance(fact, InstanceStored)):
            place = known.place_of(content.digest, content.transfer_syntax_uid) if known else None
            assert place
            with open(self.files().open(place), "rb") as stored:
                found.append((place.transfer_syntax_uid, stored.read()))
        return found

    def objects(self) -> list[str]:
        """The storages of every object file that lies at its place."""
        return sorted(path.relative_to(self.root).parts[0] for path in self.root.glob("*/??/?/*.dcm"))

    def object(self) -> Path:
        """The one object file."""
        (path,) = self.root.glob("*/??/?/*.dcm")
        return path


@pytest.fixture
def site(dsn: str, tmp_path: Path) -> Iterator[Site]:
    log = EventLog(dsn, FACTS, LIMITS)
    log.open()
    yield Site(log, tmp_path)
    log.close()


@pytest.mark.parametrize(("files", "fact"), [(True, InstanceStored.NAME), (False, InstanceReplaced.NAME)])
@pytest.mark.parametrize("moment", ["before", "receive.kept"])
def test_STO_2_a_resend_is_kept_anew_as_soon_as_the_removal_is_a_fact(
    site: Site, files: bool, fact: str, moment: str
) -> None:
    assert site.send("first") == [InstanceStored.NAME]
    assert site.send("second") == [InstanceStored.NAME]
    site.at[moment] = lambda: site.remove(files=files)
    site.pass_("before")
    assert site.send("second") == [InstanceStored.NAME, fact]
    assert site.place() == "second"


@pytest.mark.parametrize("files", [True, False])
def test_STO_2_a_resend_into_the_removed_storage_itself_is_refused(site: Site, files: bool) -> None:
    assert site.send("first") == [InstanceStored.NAME]
    site.at["receive.kept"] = lambda: site.remove(files=files)
    with pytest.raises(Refused) as refused:
        site.send("first")
    assert refused.value.because is Because.OUT_OF_RESOURCES
    assert site.send("second")[0] == InstanceStored.NAME
    assert site.place() == "second"


def test_NET_6_a_resend_into_another_storage_leaves_no_second_copy(site: Site) -> None:
    assert site.send("first") == [InstanceStored.NAME]
    for _ in range(2):
        assert site.send("second") == [InstanceStored.NAME]
        assert (site.place(), site.objects()) == ("first", ["first"])
    assert site.send("first") == [InstanceStored.NAME]
    assert (site.place(), site.objects()) == ("first", ["first"])


@pytest.mark.parametrize("into", ["first", "second"])
def test_NET_6_nothing_stays_of_a_duplicate_that_contradicts_what_is_stored(site: Site, into: str) -> None:
    assert site.send("first") == [InstanceStored.NAME]
    for _ in range(2):
        with pytest.raises(Refused, match="another"):
            site.send(into, ELSEWHERE)
    assert site.objects() == ["first"]
    assert site.send("first") == [InstanceStored.NAME, DuplicateRefused.NAME]
    assert site.place() == "first"


def test_NET_6_a_copy_that_an_interrupted_resend_has_left_goes_with_the_next(site: Site) -> None:
    site.send("first")

    def die() -> None:
        raise KeyboardInterrupt

    site.at["receive.repeated"] = die
    with pytest.raises(KeyboardInterrupt):
        site.send("second")
    assert site.objects() == ["first", "second"]
    site.send("second")
    assert (site.place(), site.objects()) == ("first", ["first"])


@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_NET_6_D7_a_resend_takes_the_place_of_a_first_copy_that_is_not_whole(site: Site, damage: str) -> None:
    site.send("first")
    lying = site.object()
    whole = lying.read_bytes()
    if damage == "gone":
        lying.unlink()
    else:
        lying.write_bytes(whole[:-1] + (b"\x55" if damage == "changed" else b""))
    assert site.send("second") == [InstanceStored.NAME, InstanceMoved.NAME]
    assert site.place() == "second"


def test_NET_6_a_resend_stays_while_nobody_can_say_that_the_first_copy_is_whole(site: Site) -> None:
    site.send("first")
    marker = site.root / "first" / MARKER
    marker.rename(site.root / "marker")
    assert site.send("second") == [InstanceStored.NAME]
    assert site.objects() == ["first", "second"]
    (site.root / "marker").rename(marker)
    assert site.place() == "first"


def test_I1_a_second_copy_that_has_become_the_instance_stays(site: Site) -> None:
    """Another process finds the first one unreadable, and takes the copy that is about to go."""
    site.send("first")

    def another() -> None:
        site.note_unreadable()
        assert site.send("second")[-1] == InstanceReplaced.NAME

    site.at["receive.repeated"] = another
    site.send("second")
    assert (site.place(), site.objects()) == ("second", ["first", "second"])


def test_I1_a_second_copy_that_another_is_about_to_name_stays(site: Site) -> None:
    """Its fact comes after the log was asked whether the copy is needed."""
    site.send("first")
    kept, done = threading.Event(), threading.Event()

    def stand() -> None:
        kept.set()
        assert done.wait(60)

    other = threading.Thread(target=site.send, args=("second",))

    def another() -> None:
        site.at["receive.kept"] = stand
        other.start()
        assert kept.wait(60)
        site.note_unreadable()

    site.at["receive.repeated"] = another
    site.send("second")
    done.set()
    other.join(60)
    assert site.place() == "second"


def test_I1_a_copy_that_comes_while_one_is_being_removed_stays(site: Site) -> None:
    """Nobody finds the one that goes: whoever comes lays a file of its own there."""
    site.send("first")
    incoming = site.files("second").receive(CT_CLASS, UID, EXPLICIT, "CT")
    incoming.write(DATA)
    incoming.keep()

    def another() -> bool:
        site.note_unreadable()
        assert site.send("second")[-1] == InstanceReplaced.NAME
        return False

    assert incoming.take_back(another)
    assert (site.place(), site.objects()) == ("second", ["first", "second"])


@pytest.mark.parametrize("into", ["first", "second"])
def test_NET_6_the_same_bytes_in_two_transfer_syntaxes_are_two_versions_with_a_file_each(site: Site, into: str) -> None:
    for data, syntax in ((DATA, EXPLICIT), (OTHER, EXPLICIT), (DATA, JPEG)):
        site.send("first", data, syntax, policy=OnDuplicate.REPLACE)
    versions = site.versions()
    assert [syntax for syntax, _ in versions] == [EXPLICIT, EXPLICIT, JPEG]
    for syntax in (EXPLICIT, JPEG):
        site.send(into, DATA, syntax, policy=OnDuplicate.REPLACE)
        assert site.versions() == versions
        assert site.objects() == ["first"] * 3


@pytest.mark.parametrize("damage", ["gone", "cut"])
@pytest.mark.parametrize(("into", "ae_title", "syntax"), [("first", "A_LONG_TITLE", EXPLICIT), ("second", "CT", JPEG)])
def test_NET_6_D7_what_takes_the_place_of_a_copy_that_is_not_whole_can_be_read_whatever_its_header(
    site: Site, damage: str, into: str, ae_title: str, syntax: str
) -> None:
    site.send("first")
    lying = site.object()
    if damage == "gone":
        lying.unlink()
    else:
        lying.write_bytes(lying.read_bytes()[:-1])
    site.send(into, DATA, syntax, ae_title)
    assert site.place() == into


def test_NET_6_D7_a_resend_heals_also_what_another_finds_unreadable_in_the_same_moment(site: Site) -> None:
    site.send("first")
    site.object().unlink()
    site.at["receive.repeated"] = site.note_unreadable
    site.send("second", DATA, JPEG)
    assert site.place() == "second"
