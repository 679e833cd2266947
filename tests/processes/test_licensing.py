"""What an installation is allowed, by its licence, by the log and by its settings (LIC-1, LIC-2, DEV-6, B58, B21d)."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count
from pathlib import Path

import pytest

from annals import allowance, compose, registering
from annals.compose import Archive
from annals.settings import load
from domain import device, licence
from domain.device import DeviceAdded
from domain.errors import Because, InvalidInput, OverQuota, Refused, Unavailable
from domain.event import Actor
from domain.licence import INSTALLATION, KIND, OPEN, TRIAL, Allowed, LicenceInstalled
from domain.limits import Limits
from processes.new_studies import NewStudies
from projections.catalogue import CATALOGUE
from projections.engine import Reader
from tests.archive.conftest import PATIENT
from tests.dicom.encoding import CT_CLASS, EXPLICIT, minimal
from tests.licence.vendor import Vendor

BY = Actor("user", "t")
CT, MR = (Actor("device", title, "192.0.2.7") for title in ("CT", "MR"))
VENDOR = Vendor()
_numbers = count(1)


@contextmanager
def opened(dsn: str, data: Path, vendor: Vendor | None = VENDOR, **limits: int) -> Iterator[Archive]:
    environment = {**PATIENT, "ANNALS_LIMITS__STORAGE_FREE_MIN": "1"}
    environment["ANNALS_LICENCE__VENDOR_KEY"] = vendor.pem if vendor else ""
    environment |= {f"ANNALS_LIMITS__{name.upper()}": str(value) for name, value in limits.items()}
    settings, _ = load(None, environment, data=data)
    data.mkdir(exist_ok=True)
    with compose.archive(settings, dsn, connections=6) as archive:
        archive.make_first_storage()
        compose.catch_up(archive)
        yield archive


@pytest.fixture
def archive(dsn: str, tmp_path: Path) -> Iterator[Archive]:
    with opened(dsn, tmp_path / "data") as one:
        yield one


@contextmanager
def reading(archive: Archive) -> Iterator[None]:
    """A reader of the catalogue beside what is done."""
    ended = threading.Event()
    reader = Reader(CATALOGUE, archive.database, archive.log, archive.limits)

    def run() -> None:
        while not ended.is_set():
            if not reader.step():
                ended.wait(0.002)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    ended.set()
    thread.join()


class Room:
    """The room behind C-STORE of one process, and what it has told of."""

    def __init__(self, archive: Archive) -> None:
        self.told: Counter[tuple[str, str]] = Counter()
        self._files = archive.files({})
        self._receiver = archive.receiver(self._files, {}, self._note)

    def _note(self, by: Actor, why: str) -> None:
        self.told[by.name, why] += 1

    def store(self, study: str, by: Actor = CT) -> int:
        """Store one more object of a study; the DIMSE status."""
        uid = f"1.2.9.{next(_numbers)}"
        incoming = self._receiver.open(CT_CLASS, uid, EXPLICIT, by.name)
        try:
            incoming.write(minimal(instance=uid, study=study))
            self._receiver.finish(incoming, by=by)
        except Refused as refused:
            return refused.because.value
        finally:
            incoming.discard()
        return 0


@pytest.fixture
def room(archive: Archive) -> Iterator[Callable[[Archive], Room]]:
    made: list[Room] = []

    def make(of: Archive) -> Room:
        made.append(Room(of))
        return made[-1]

    yield make
    for one in made:
        one._files.close()


def test_LIC_2_a_plain_install_is_open_reads_and_writes_nothing_of_licences_and_takes_none(
    dsn: str, tmp_path: Path, room: Callable[[Archive], Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(dsn, tmp_path / "data", vendor=None) as archive:
        licensing = allowance.licensing(archive)
        monkeypatch.setattr(archive.log, "stream", lambda kind, _key: pytest.fail(f"{kind} was read"))
        monkeypatch.setattr(archive.catalogue, "now", lambda: pytest.fail("the studies were counted"))
        assert licensing.allowed() == OPEN
        assert registering.registrar(archive).clients_max() is None
        head, mine = archive.log.head(), room(archive)
        assert [mine.store(f"1.2.{number}") for number in range(5)] == [0] * 5
        assert [one.event.NAME for one in archive.log.read(head, 100)] == ["InstanceStored"] * 5
        with pytest.raises(InvalidInput, match="names no vendor key: it is open and needs none"):
            licensing.install(VENDOR.licence("ABCDE-ABCDE-ABCDE-ABCDE-ABCDE"), BY)


def test_LIC_1_a_product_code_is_made_once_also_by_many_at_the_same_time(archive: Archive) -> None:
    codes: list[str] = []
    threads = [
        threading.Thread(target=lambda: codes.append(allowance.licensing(archive).product_code())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) == 8
    assert len(set(codes)) == 1
    assert len(archive.log.stream(KIND, INSTALLATION)) == 1


def test_LIC_1_a_licence_holds_at_once_and_a_newer_one_replaces_it(archive: Archive) -> None:
    licensing, elsewhere = allowance.licensing(archive), allowance.licensing(archive)
    code = licensing.product_code()
    assert elsewhere.allowed() == TRIAL
    installed = licensing.install(VENDOR.licence(code), BY)
    assert elsewhere.in_use() == installed
    assert elsewhere.allowed() == Allowed(5, None)
    licensing.install(VENDOR.licence(code), BY)
    assert len(archive.log.stream(KIND, INSTALLATION)) == 2, "the same again is nothing"
    licensing.install(VENDOR.licence(code, clients_max=7, issued_at="2026-02-01T00:00:00Z"), BY)
    assert elsewhere.allowed() == Allowed(7, None)
    with pytest.raises(InvalidInput, match="not newer"):
        licensing.install(VENDOR.licence(code), BY)
    assert elsewhere.allowed() == Allowed(7, None)


def test_B58_what_the_vendor_has_not_signed_is_refused_and_the_trial_goes_on(archive: Archive) -> None:
    licensing = allowance.licensing(archive)
    code = licensing.product_code()
    changed = VENDOR.signed(code)
    changed["licence"]["clients_max"] = 500
    for document in (Vendor().licence(code), json.dumps(changed).encode()):
        with pytest.raises(InvalidInput, match="not signed by this installation's vendor"):
            licensing.install(document, BY)
    other = f"{code[-5:]}{code[5:-5]}{code[:5]}"
    with pytest.raises(InvalidInput, match=f"another product code than {code}"):
        licensing.install(VENDOR.licence(other), BY)
    assert licensing.allowed() == TRIAL


def test_B58_a_licence_in_the_log_that_this_vendor_has_not_signed_for_this_installation_does_not_hold(
    archive: Archive, dsn: str, tmp_path: Path
) -> None:
    licensing = allowance.licensing(archive)
    code = licensing.product_code()
    forged = VENDOR.signed(code)
    forged["licence"]["clients_max"] = 500
    for document in (json.dumps(forged), VENDOR.licence(f"{code[1:]}0").decode(), "{}"):
        fact = LicenceInstalled(code, 500, "2099-12-31", "2026-01-31T12:00:00Z", document)
        archive.log.change(KIND, INSTALLATION, lambda _known, fact=fact: [fact], fold=licence.fold, by=BY)
        assert licensing.allowed() == TRIAL
    licensing.install(VENDOR.licence(code, issued_at="2026-02-01T00:00:00Z"), BY)
    with opened(dsn, tmp_path / "data", vendor=Vendor()) as under_another_key:
        assert allowance.licensing(under_another_key).allowed() == TRIAL
    assert licensing.allowed() == Allowed(5, None)


def test_DEV_6_the_clients_of_the_licence_count_without_a_restart_and_the_lesser_setting_wins(
    archive: Archive, dsn: str, tmp_path: Path
) -> None:
    registrar = registering.registrar(archive)

    def add(number: int) -> None:
        wanted = DeviceAdded(f"CT{number}", "192.0.2.7", 104)
        registrar.save(device.key_of(wanted), lambda _known: wanted, BY)

    add(1)
    add(2)
    assert str(registrar.clients()) == "2 of 2 used"
    with pytest.raises(InvalidInput, match=r"clients: 2 of 2 used: .*install a licence"):
        add(3)
    licensing = allowance.licensing(archive)
    licensing.install(VENDOR.licence(licensing.product_code(), clients_max=3), BY)
    add(3)
    with pytest.raises(InvalidInput, match="3 of 3 used"):
        add(4)
    with opened(dsn, tmp_path / "data", clients_max=1) as bounded:
        assert str(registering.registrar(bounded).clients()) == "3 of 1 used"


def test_LIC_1_no_more_studies_begin_than_the_trial_has_over_all_processes_and_those_that_have_go_on(
    archive: Archive, dsn: str, tmp_path: Path, room: Callable[[Archive], Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licence, "TRIAL", Allowed(2, 5))
    statuses: dict[str, int] = {}
    with opened(dsn, tmp_path / "data") as second, reading(archive):
        rooms = [room(archive), room(second)]

        def send(number: int) -> None:
            for turn in range(3):
                study = f"1.2.{number}.{turn}"
                statuses[study] = rooms[number % 2].store(study)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        begun = [study for study, status in statuses.items() if not status]
        assert len(begun) == 5, statuses
        assert set(statuses.values()) == {0, Because.OUT_OF_RESOURCES.value}
        told = rooms[0].told + rooms[1].told
        assert told == {("CT", "the trial's 5 studies are stored: install a licence"): 7}
        assert [one.store(study) for study in begun for one in rooms] == [0] * 10, "whichever process receives"
        licensing = allowance.licensing(second)
        licensing.install(VENDOR.licence(licensing.product_code()), BY)
        assert [one.store(study) for study in statuses for one in rooms] == [0] * 24, "a licence holds at once"


def test_B21d_past_the_quota_a_sender_begins_no_study_and_goes_on_with_those_that_are_stored(
    dsn: str, tmp_path: Path, room: Callable[[Archive], Room]
) -> None:
    with opened(dsn, tmp_path / "data", vendor=None, new_studies_a_minute_max=3) as archive, reading(archive):
        earlier, mine = room(archive), room(archive)
        assert earlier.store("1.2.1", MR) == 0
        statuses = [mine.store(f"1.3.{number}") for number in range(10)]
        assert statuses == [0] * 3 + [Because.OUT_OF_RESOURCES.value] * 7
        assert mine.told == {("CT", "more new studies than new_studies_a_minute_max"): 7}
        assert [mine.store(f"1.3.{number}") for number in range(3)] == [0] * 3
        assert mine.store("1.2.1") == 0, "a study of another, that this process has not seen"
        assert [mine.store(f"1.4.{number}", MR) for number in range(3)] == [0] * 3, "each sender has its own"


def test_B21d_what_comes_of_one_study_at_the_same_time_counts_once_and_what_was_not_stored_not_at_all() -> None:
    limits = Limits(new_studies_a_minute_max=2)
    begin = NewStudies(lambda: OPEN, lambda _uid, _max: (False, 0), nullcontext, lambda _by, _why: None, limits)
    with ExitStack() as together:
        for _ in range(10):
            together.enter_context(begin("1.2.1", CT))
    for number in range(10):
        with pytest.raises(Unavailable), begin(f"1.3.{number}", CT):
            raise Unavailable("the database does not answer")
    with begin("1.2.2", CT):
        pass
    with pytest.raises(OverQuota), begin("1.2.3", CT):
        pass
