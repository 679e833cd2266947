"""Who may talk to a running archive and what it may do, with accept-any off (NET-4, DEV-1 to DEV-5, B29, B30, B32)."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from tests.archive import samples
from tests.archive.conftest import Archive, running_archive, until, until_everywhere
from tests.dimse import raw_peer
from tests.dimse.raw_peer import RawPeer

CT = samples.SAMPLES / "CT_small.dcm"
NOT_AUTHORISED = "0124"
PROCESSES, TOLD_EVERY_SECONDS = 2, 2
STUDY = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.3.6.1.4.1.5962.1.2.1.20040119072730.12322")


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    settings = {
        "ANNALS_WORKER__ENABLED": "false",
        "ANNALS_DIMSE__ACCEPT_ANY": "false",
        "ANNALS_DIMSE__PROCESSES": str(PROCESSES),
        "ANNALS_LIMITS__REJECTION_INTERVAL_SECONDS": str(TOLD_EVERY_SECONDS),
    }
    with running_archive(settings) as running:
        assert running.annals("device", "accept-any").stdout.count("(as in the settings)") == 2
        running.annals("device", "add", "ALL", "127.0.0.1", "104")
        running.annals("device", "add", "NONE", "127.0.0.1", "104", "--rights", "")
        running.annals("device", "add", "AWAY", "192.0.2.7", "104")
        running.annals("device", "add", "NAMED", "localhost", "104")
        running.annals("device", "add", "LOST", "does-not-resolve.invalid", "104")
        yield running


def test_the_archive_is_ready_though_its_own_probe_is_no_device(archive: Archive) -> None:
    assert archive.ready()


def test_D14_a_fact_of_a_device_that_could_not_be_read_is_shown_where_the_archive_says_that_it_is_ready(
    archive: Archive,
) -> None:
    def shown() -> tuple[int, object]:
        status, body = archive.health()
        return status, body["parts"]["read models"]

    with psycopg.connect(EmbeddedPostgres(archive.data / "postgres").dsn(), autocommit=True) as connection:
        parked = "INSERT INTO reading.parked SELECT schema_name, 1, 'KeyError' FROM reading.projection WHERE name = %s"
        connection.execute(parked, ("devices",))
        found = (200, {"ok": True, "lag": 0, "parked": {"devices": 1}, "degraded": True})
        until(lambda: shown() == found, 60, "what was parked is shown")
        connection.execute("DELETE FROM reading.parked")
    until(lambda: shown() == (200, {"ok": True, "lag": 0, "parked": {}, "degraded": False}), 60, "all is read")


def test_HIS_1_the_facts_about_one_name_are_shown_from_a_position_on(archive: Archive) -> None:
    archive.annals("device", "wado", "add", "192.0.2.99")
    archive.annals("device", "wado", "remove", "192.0.2.99")
    named = ("events", "--stream", "192.0.2.99")
    added, removed = archive.annals(*named).stdout.splitlines()
    assert ("DeviceAdded" in added, "DeviceRemoved" in removed) == (True, True)
    assert archive.annals(*named, "--after", added.split()[0]).stdout.splitlines() == [removed]
    assert archive.annals(*named, "--follow", check=False).returncode == 2


def test_NET_4_a_registered_device_is_let_in_by_address_or_by_name(archive: Archive) -> None:
    for title in ("ALL", "NAMED", "NONE"):
        done = archive.dcmtk("echoscu", "-aet", title)
        assert done.returncode == 0, (title, done.stderr)


@pytest.mark.parametrize("title", ["STRANGER", "AWAY", "LOST", "all", "A"])
def test_B29_who_is_not_registered_or_calls_from_elsewhere_is_rejected_as_the_standard_says(
    archive: Archive, title: str
) -> None:
    done = archive.dcmtk("echoscu", "-aet", title)
    assert done.returncode != 0
    assert "Calling AE Title Not Recognized" in done.stdout + done.stderr


@pytest.mark.parametrize("title", [b"", b"   ", b"A\nB", b"A\0B", b"A\\B", b"\xc3\x84", b"all", b"\x1b[2JX"])
def test_B29_odd_AE_titles_are_rejected_and_told_escaped(archive: Archive, title: bytes) -> None:
    with RawPeer(archive.port) as peer:
        peer.say(raw_peer.associate_request(calling=title))
        answer = peer.answer()
    assert answer is not None
    assert answer[0] == raw_peer.RJ
    assert answer[1][1:4] == b"\1\1\3"
    assert "\x1b" not in archive.log_lines()


@pytest.mark.parametrize("title", [b"OTHER", b"annals", b"ANNAL"])
def test_B29_C4_2_who_calls_another_archive_is_rejected_and_told(archive: Archive, title: bytes) -> None:
    with RawPeer(archive.port) as peer:
        peer.say(raw_peer.associate_request(calling=b"ALL", called=title))
        answer = peer.answer()
    assert answer is not None
    assert answer[0] == raw_peer.RJ
    assert answer[1][1:4] == b"\1\1\7"
    told = f"called {title.decode()}"
    until(lambda: told in archive.annals("device", "rejections").stdout, 60, "an administrator sees it")


def test_NET_4_padding_does_not_make_another_AE_title(archive: Archive) -> None:
    with RawPeer(archive.port) as peer:
        peer.say(raw_peer.associate_request(calling=b"  ALL"))
        answer = peer.answer()
    assert answer is not None
    assert answer[0] == raw_peer.AC


def test_B30_DEV_5_without_its_right_each_service_is_refused_and_C_ECHO_is_not(archive: Archive) -> None:
    assert archive.dcmtk("storescu", "-aet", "ALL", str(CT)).returncode == 0
    refused = {
        "store": archive.dcmtk("storescu", "-d", "-aet", "NONE", str(CT)),
        "find": archive.dcmtk("findscu", "-d", "-aet", "NONE", "-S", *STUDY),
        "get": archive.dcmtk("getscu", "-d", "-aet", "NONE", "-S", *STUDY),
        "move": archive.dcmtk("movescu", "-d", "-aet", "NONE", "-aem", "ALL", "-S", *STUDY),
    }
    for name, done in refused.items():
        assert NOT_AUTHORISED in done.stdout + done.stderr, (name, done.stdout, done.stderr)
    assert archive.dcmtk("echoscu", "-aet", "NONE").returncode == 0


@pytest.mark.parametrize(("right", "tool"), [("UPLOAD", "storescu"), ("FIND", "findscu"), ("DOWNLOAD", "getscu")])
def test_B30_DEV_5_one_right_is_that_right_and_no_other(
    archive: Archive, right: str, tool: str, tmp_path: Path
) -> None:
    archive.annals("device", "add", f"ONLY_{right}", "127.0.0.1", "104", "--rights", right)
    assert archive.dcmtk("storescu", "-aet", "ALL", str(CT)).returncode == 0
    for used in ("storescu", "findscu", "getscu"):
        what = (str(CT),) if used == "storescu" else ("-S", *STUDY)
        more = ("-od", str(tmp_path)) if used == "getscu" else ()
        done = archive.dcmtk(used, "-d", "-aet", f"ONLY_{right}", *more, *what)
        assert (NOT_AUTHORISED in done.stdout + done.stderr) == (used != tool), (used, done.stderr)


@pytest.mark.parametrize("right", ["UPLOAD", "FIND", "DOWNLOAD"])
def test_B30_DEV_5_each_right_switched_off_is_refused_on_each_of_its_paths_and_on_no_other(
    archive: Archive, right: str, tmp_path: Path
) -> None:
    title = f"NO_{right}"
    rights = [one for one in ("UPLOAD", "MWL", "DOWNLOAD", "FIND") if one != right]
    archive.annals("device", "add", title, "127.0.0.1", "104", "--rights", ",".join(rights))
    paths = {
        ("storescu", str(CT)): "UPLOAD",
        ("findscu", "-S", *STUDY): "FIND",
        ("getscu", "-S", "-od", str(tmp_path), *STUDY): "DOWNLOAD",
        ("movescu", "-S", "-aem", "AWAY", *STUDY): "DOWNLOAD",
    }
    for (tool, *more), needed in paths.items():
        if tool == "movescu" and needed != right:
            # With its right it would wait for a destination that is not there.
            continue
        done = archive.dcmtk(tool, "-d", "-aet", title, *more)
        assert (NOT_AUTHORISED in done.stdout + done.stderr) == (needed == right), (tool, done.stderr)


@pytest.mark.parametrize("destination", ["UNKNOWN", "NONE", "ANNALS", "127.0.0.1"])
def test_B32_C_MOVE_goes_only_to_registered_devices_that_may_receive(archive: Archive, destination: str) -> None:
    archive.annals("device", "add", "ANNALS", "127.0.0.1", str(archive.port))
    try:
        done = archive.dcmtk("movescu", "-d", "-aet", "ALL", "-aem", destination, "-S", *STUDY)
    finally:
        archive.annals("device", "remove", "ANNALS")
    assert "a801" in (done.stdout + done.stderr).lower()


def test_DEV_1_a_change_holds_for_open_associations_from_the_next_request_on(archive: Archive) -> None:
    archive.annals("device", "add", "CHANGING", "127.0.0.1", "104", "--rights", "UPLOAD")
    with _open(archive, b"CHANGING") as peer:
        assert _store(peer) != 0x0124
        archive.annals("device", "edit", "CHANGING", "--rights", "FIND,DOWNLOAD")
        until(lambda: _store(peer) == 0x0124, 60, "the right is taken away on an open association")
        archive.annals("device", "edit", "CHANGING", "--rights", "UPLOAD")
        until(lambda: _store(peer) != 0x0124, 60, "the right is given again on an open association")
        archive.annals("device", "edit", "CHANGING", "--host", "192.0.2.1")
        until(lambda: _store(peer) == 0x0124, 60, "the device is elsewhere")
        assert _echo(peer) == 0
    archive.annals("device", "edit", "CHANGING", "--host", "127.0.0.1")
    until_everywhere(lambda: archive.dcmtk("echoscu", "-aet", "CHANGING").returncode == 0, 60, "it is here again")
    archive.annals("device", "remove", "CHANGING")
    until(lambda: archive.dcmtk("echoscu", "-aet", "CHANGING").returncode != 0, 60, "a removed device is not let in")


def test_DEV_1_a_new_device_is_let_in_at_once_by_every_process(archive: Archive) -> None:
    for number in range(4):
        archive.annals("device", "add", f"NEW{number}", "127.0.0.1", "104")
        for _ in range(4):
            assert archive.dcmtk("echoscu", "-aet", f"NEW{number}").returncode == 0


def test_a_rejection_is_a_fact_and_a_flood_of_them_a_few_facts(archive: Archive) -> None:
    before = archive.annals("events").stdout.count("PeerRejected")
    tries, began = 200, time.monotonic()
    for number in range(tries):
        with RawPeer(archive.port, source="127.0.0.9") as peer:
            peer.say(raw_peer.associate_request(calling=b"FLOOD%d" % number))
            answer = peer.answer()
            assert answer is not None
            assert answer[0] == raw_peer.RJ

    def told() -> int:
        lines = [line for line in archive.annals("events").stdout.splitlines() if "127.0.0.9" in line]
        counts = [line.partition("count=")[2].split()[0] for line in lines if "PeerRejected" in line]
        return sum(map(int, counts))

    until(lambda: told() == tries, 60, "every one of the flood is counted")
    few = 20 + PROCESSES * (time.monotonic() - began) / TOLD_EVERY_SECONDS
    assert archive.annals("events").stdout.count("PeerRejected") - before < few
    assert archive.log_lines().count("127.0.0.9") < few


def test_DEV_1_devices_are_listed_with_what_they_may_do_and_faults_are_told_together(archive: Archive) -> None:
    archive.annals(
        "device", "add", "WS", "2001:db8::5", "11112", "--rights", "find,download", "--description", "room 5"
    )
    archive.annals("device", "edit", "WS", "--preferred-transfer-syntax", "1.2.840.10008.1.2.4.90")
    archive.annals("device", "add", "WS", "2001:db8::5", "11113")
    (line,) = [line for line in archive.annals("device", "list").stdout.splitlines() if "WS " in line]
    assert "[2001:db8::5]:11113" in line
    assert "rights DOWNLOAD,FIND" in line
    assert "JPEG 2000" in line
    assert "room 5" in line
    done = archive.annals("device", "add", "A\\B", "?", "0", "--rights", "DELETE", check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 4, done.stderr
    assert archive.annals("device", "edit", "NOBODY", "--port", "1", check=False).returncode == 2
    done = archive.annals("device", "add", "A\udcff", "?\udcff", "1", check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2), done.stderr


def got(archive: Archive, folder: Path) -> str:
    """What a stranger that asks for a study is told; what it gets is in the folder."""
    done = archive.dcmtk("getscu", "-d", "-aet", "PASSER", "-S", "-od", str(folder), *STUDY)
    return done.stdout + done.stderr


def test_NET_4_accept_any_is_switched_while_it_runs_in_every_process_and_for_open_associations(
    archive: Archive, tmp_path: Path
) -> None:
    archive.annals("device", "accept-any", "on")
    try:
        for _ in range(8):
            assert archive.dcmtk("echoscu", "-aet", "PASSER").returncode == 0
        with _open(archive, b"PASSER") as peer:
            assert _store(peer) != 0x0124
            archive.annals("device", "accept-any", "--rights", "FIND", "--this-machine", "off")
            until(lambda: _store(peer) == 0x0124, 60, "the right is taken away on an open association")
            done = archive.dcmtk("findscu", "-d", "-aet", "PASSER", "-S", *STUDY)
            assert NOT_AUTHORISED not in done.stdout + done.stderr
            # The other process follows a moment later.
            until(lambda: "not a registered device: no right DOWNLOAD" in got(archive, tmp_path), 60, "there too")
            said = archive.annals("device", "accept-any").stdout
            assert "DIMSE     accepts any, with rights FIND  (set by command)" in said
            assert "DICOMweb  accepts any, with rights UPLOAD; all on this machine  (" in said
            archive.annals("device", "accept-any", "--rights", "UPLOAD")
            until(lambda: _store(peer) != 0x0124, 60, "the right is given again")
            archive.annals("device", "accept-any", "off")
            until(lambda: _store(peer) == 0x0124, 60, "only registered devices are admitted")
            assert _echo(peer) == 0
    finally:
        archive.annals("device", "accept-any", "off", "--rights", "UPLOAD", "--this-machine", "on")
    until_everywhere(lambda: archive.dcmtk("echoscu", "-aet", "PASSER").returncode != 0, 60, "a stranger is rejected")
    assert archive.annals("device", "accept-any", "--rights", "DELETE", check=False).returncode == 2


def test_NET_4_DEV_4_DEV_5_the_DICOMweb_door_is_switched_while_it_runs_and_asks_for_the_right(archive: Archive) -> None:
    assert archive.dicomweb("studies") == 200
    archive.annals("device", "wado", "add", "127.0.0.1", "--rights", "UPLOAD,DOWNLOAD")
    until(lambda: archive.dicomweb("studies") == 403, 60, "a WADO device without FIND does not search")
    archive.annals("device", "wado", "add", "127.0.0.1", "--rights", "FIND")
    until(lambda: archive.dicomweb("studies") == 200, 60, "with FIND it does")
    archive.annals("device", "wado", "remove", "127.0.0.1")
    archive.annals("device", "accept-any", "off", "--door", "DICOMweb")
    until(lambda: archive.dicomweb("studies") == 403, 60, "no address is admitted that is not registered")
    archive.annals("device", "wado", "add", "localhost")
    until(lambda: archive.dicomweb("studies") == 200, 60, "a name is known by its address")
    archive.annals("device", "wado", "remove", "localhost")
    until(lambda: archive.dicomweb("studies") == 403, 60, "the name is forgotten")
    archive.annals("device", "accept-any", "on", "--door", "DICOMweb")
    until(lambda: archive.dicomweb("studies") == 200, 60, "it is open again")
    assert archive.dicomweb("studies", **{"X-Forwarded-For": "192.0.2.1"}) == 403, "a proxy is not its client"
    told = "DICOMweb: this WADO device has no right FIND"
    until(lambda: told in archive.annals("device", "rejections").stdout, 60, "who was refused is told")
    assert archive.annals("device", "accept-any", "--door", "DICOMweb", "--rights", "MWL", check=False).returncode == 2


def test_DEV_6_the_list_says_how_many_devices_there_are_and_may_be(archive: Archive) -> None:
    said = archive.annals("device", "list").stdout.splitlines()
    assert said[-1] == f"clients: {len(said) - 1} of any number used"


def test_DEV_4_WADO_devices_are_known_by_address(archive: Archive) -> None:
    archive.annals("device", "wado", "add", "Viewer.example.org", "--description", "web")
    archive.annals("device", "wado", "add", "viewer.example.org.", "--rights", "FIND")
    listed = [line for line in archive.annals("device", "list").stdout.splitlines() if line.startswith("WADO")]
    assert len(listed) == 1
    assert "rights FIND" in listed[0]
    assert archive.annals("device", "wado", "add", "h", "--rights", "MWL", check=False).returncode == 2
    archive.annals("device", "wado", "remove", "VIEWER.example.org")
    assert "WADO" not in archive.annals("device", "list").stdout


@contextlib.contextmanager
def _open(archive: Archive, title: bytes) -> Iterator[RawPeer]:
    with RawPeer(archive.port) as peer:
        peer.say(raw_peer.associate_request(calling=title))
        answer = peer.answer()
        assert answer is not None
        assert answer[0] == raw_peer.AC
        yield peer


def _store(peer: RawPeer) -> int:
    """The status of a C-STORE whose data set is no DICOM: whatever it is, it is not 0124 where the right is there."""
    peer.say(raw_peer.data(3, 3, raw_peer.store_request()) + raw_peer.data(3, 2, b"\0" * 8))
    return _status(peer)


def _echo(peer: RawPeer) -> int:
    peer.say(raw_peer.data(1, 3, raw_peer.echo_request()))
    return _status(peer)


def _status(peer: RawPeer) -> int:
    answer = peer.answer()
    assert answer is not None
    assert answer[0] == raw_peer.P_DATA
    command = answer[1][6:]
    at = command.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
    return int(struct.unpack_from("<H", command, at)[0])
