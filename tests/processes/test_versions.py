"""Several contents under one SOP Instance UID: history has them all, and none shares or loses a file (NET-6)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.dicom.index import Indexer
from adapters.dicom.part10 import read_file_header
from adapters.dicom.sop_classes import storable_sop_classes
from adapters.files.failpoints import failpoints
from adapters.files.storage import Storage
from adapters.files.storages import StoredFiles
from adapters.log.log import EventLog
from annals.compose import FACTS
from domain import instance
from domain.errors import Refused
from domain.event import Actor, Event
from domain.instance import Content, DuplicateIgnored, InstanceReplaced, InstanceStored, OnDuplicate
from domain.limits import Limits
from processes.receive import Receiver
from tests.dicom.encoding import CT_CLASS, EXPLICIT, minimal

LIMITS = Limits(storage_free_min=1)
BY = Actor("device", "CT", "192.0.2.7")
JPEG, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
_numbers = count(1)

Sent = tuple[int, str]
"""A content (its number) and the transfer syntax that it came in."""


class Rooms:
    """The log, the files and the receivers of both policies, all real."""

    def __init__(self, dsn: str, root: Path) -> None:
        self.root = root
        self.log = EventLog(dsn, FACTS, LIMITS)
        self.log.open()
        self.files = StoredFiles([Storage.open(root, "default", LIMITS)], LIMITS, Indexer(LIMITS))
        self.receivers = {
            policy: Receiver(self.log, self.files, policy, failpoints({}), storable_sop_classes(accept_unknown=True))
            for policy in OnDuplicate
        }

    def send(self, policy: OnDuplicate, uid: str, data: bytes, syntax: str = EXPLICIT) -> None:
        receiver = self.receivers[policy]
        incoming = receiver.open(CT_CLASS, uid, syntax, "CT")
        try:
            incoming.write(data)
            receiver.finish(incoming, by=BY)
        finally:
            incoming.discard()

    def facts(self, uid: str) -> list[Event]:
        return [recorded.event for recorded in self.log.stream(instance.KIND, uid)]

    def versions(self, uid: str) -> list[InstanceStored]:
        return [fact for fact in self.facts(uid) if isinstance(fact, InstanceStored)]

    def place_of(self, stored: InstanceStored) -> Content:
        known = instance.fold(self.facts(stored.sop_instance_uid))
        place = known.place_of(stored.content.digest, stored.content.transfer_syntax_uid) if known else None
        assert place
        return place

    def bytes_of(self, stored: InstanceStored) -> bytes:
        """From where history says that they are, in the transfer syntax of this version."""
        place = self.place_of(stored)
        assert place.transfer_syntax_uid == stored.content.transfer_syntax_uid
        assert self.files.is_whole(place)
        with open(self.files.open(place), "rb") as file:
            return file.read()


@pytest.fixture(scope="module")
def rooms(postgres_server: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    from tests.conftest import fresh_database

    with fresh_database(postgres_server) as dsn:  # type: ignore[arg-type]
        made = Rooms(dsn, tmp_path_factory.mktemp("versions") / "storage")
        yield made
        made.files.close()
        made.log.close()


def fresh_uid() -> str:
    return f"1.2.3.{next(_numbers)}"


def content(uid: str, number: int, series: str = "1.2.9.1") -> bytes:
    return minimal([(0x00204000, "LT", b"version%02d " % number)], instance=uid, series=series)


def whole(rooms: Rooms, uid: str, sent: Sequence[Sent]) -> list[InstanceStored]:
    """Every version that history names can be read in its own syntax, is one that was sent, and has its own file."""
    versions = rooms.versions(uid)
    contents = {content(uid, number) for number, _ in sent}
    for version in versions:
        assert rooms.bytes_of(version) in contents
        file = rooms.root / rooms.place_of(version).path
        assert read_file_header(file.read_bytes()).transfer_syntax_uid == version.content.transfer_syntax_uid
    kinds = {(one.content.digest, one.content.transfer_syntax_uid) for one in versions}
    assert len({rooms.place_of(version).path for version in versions}) == len(kinds)
    return versions


sendings = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([EXPLICIT, JPEG, J2K])), min_size=1, max_size=8)
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(sendings)
@example([(1, EXPLICIT), (0, EXPLICIT), (1, JPEG), (1, EXPLICIT)])
@example([(1, EXPLICIT), (0, EXPLICIT), (1, JPEG), (1, J2K)])
def test_NET_6_with_overwrite_the_last_content_is_served_and_every_one_before_it_stays(
    rooms: Rooms, sent: list[Sent]
) -> None:
    uid = fresh_uid()
    for number, syntax in sent:
        rooms.send(OnDuplicate.REPLACE, uid, content(uid, number), syntax)
        versions = whole(rooms, uid, sent)
        assert rooms.bytes_of(versions[-1]) == content(uid, number)
    changes = [number for place, (number, _) in enumerate(sent) if place == 0 or sent[place - 1][0] != number]
    assert [rooms.bytes_of(version) for version in versions] == [content(uid, number) for number in changes]
    assert [type(version) for version in versions] == [InstanceStored] + [InstanceReplaced] * (len(changes) - 1)


@few
@given(sendings)
def test_NET_6_without_overwrite_the_first_content_stays_and_each_other_is_told_once(
    rooms: Rooms, sent: list[Sent]
) -> None:
    uid = fresh_uid()
    for number, syntax in sent:
        rooms.send(OnDuplicate.IGNORE, uid, content(uid, number), syntax)
    (version,) = whole(rooms, uid, sent)
    assert rooms.bytes_of(version) == content(uid, sent[0][0])
    assert version.content.transfer_syntax_uid == sent[0][1]
    ignored = [fact.digest for fact in rooms.facts(uid) if isinstance(fact, DuplicateIgnored)]
    assert len(ignored) == len(set(ignored)) == len({number for number, _ in sent} - {sent[0][0]})


def at_once(*work: Callable[[], None]) -> None:
    faults: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            faults.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults


def test_NET_6_versions_that_come_at_the_same_time_are_all_kept(rooms: Rooms) -> None:
    uid = fresh_uid()
    sent = [(number, syntax) for number in range(4) for syntax in (EXPLICIT, JPEG)]
    at_once(
        *(
            lambda number=number, syntax=syntax: rooms.send(  # type: ignore[misc]
                OnDuplicate.REPLACE, uid, content(uid, number), syntax
            )
            for number, syntax in sent
        )
    )
    versions = whole(rooms, uid, sent)
    assert {rooms.bytes_of(version) for version in versions} == {content(uid, number) for number, _ in sent}


def test_NET_6_the_same_bytes_under_two_UIDs_of_a_request_are_never_mixed_up(rooms: Rooms) -> None:
    first, second = fresh_uid(), fresh_uid()
    rooms.send(OnDuplicate.REPLACE, first, content(first, 1))
    with pytest.raises(Refused):
        rooms.send(OnDuplicate.REPLACE, second, content(first, 1))
    assert rooms.facts(second) == []
    assert rooms.bytes_of(*rooms.versions(first)) == content(first, 1)


def test_NET_6_a_refused_version_takes_nothing_from_the_one_that_is_stored(rooms: Rooms) -> None:
    uid = fresh_uid()
    rooms.send(OnDuplicate.REPLACE, uid, content(uid, 1))
    with pytest.raises(Refused, match="Series"):
        rooms.send(OnDuplicate.REPLACE, uid, content(uid, 2, series="1.2.9.2"))
    (version,) = rooms.versions(uid)
    assert rooms.bytes_of(version) == content(uid, 1)


def test_NET_6_an_earlier_version_whose_file_was_damaged_is_whole_again_when_it_comes_again(rooms: Rooms) -> None:
    uid = fresh_uid()
    rooms.send(OnDuplicate.REPLACE, uid, content(uid, 1))
    rooms.send(OnDuplicate.REPLACE, uid, content(uid, 2))
    damaged = rooms.root / rooms.versions(uid)[0].content.path
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-3] + b"xyz")
    rooms.send(OnDuplicate.REPLACE, uid, content(uid, 1))
    versions = whole(rooms, uid, [(1, EXPLICIT), (2, EXPLICIT)])
    assert [rooms.bytes_of(version) for version in versions] == [content(uid, number) for number in (1, 2, 1)]
