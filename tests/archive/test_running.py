"""The archive as a service: starting, stopping, losing its parts and getting them back (issue items 2 and 3; P12)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from adapters.postgres.embedded import EmbeddedPostgres
from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.conftest import folder_that_others_enter
from tests.ports import free_port

SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700


def associate(archive: Archive) -> Association:
    ae = ApplicationEntity("MODALITY")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    assert association.is_established
    return association


def send(archive: Archive) -> tuple[int, str]:
    """The status of a fresh CT image on an association of its own, and the image's UID."""
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    association = associate(archive)
    status = association.send_c_store(image).get("Status", -1)
    association.release()
    return status, image.SOPInstanceUID


def stored(archive: Archive) -> str:
    """The UID of a fresh CT image that was stored."""
    status, uid = send(archive)
    assert status == SUCCESS
    return uid


def echo(archive: Archive) -> bool:
    return archive.dcmtk("echoscu").returncode == 0


def found(archive: Archive, sop_instance_uid: str) -> bool:
    return "InstanceStored" in archive.annals("events", "--stream", sop_instance_uid).stdout


def processes_naming(text: str) -> list[str]:
    named = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if text.encode() in line:
            named.append(f"{entry.name} {line!r}")
    return named


def test_P15_SIGTERM_ends_everything_and_a_second_start_has_everything(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive().start()
    status, uid = send(archive)
    assert status == SUCCESS
    assert archive.stop() == 0
    assert processes_naming(str(archive.data)) == []
    assert not (archive.data / "postgres" / "data" / "postmaster.pid").exists()
    archive.start()
    assert found(archive, uid)
    assert archive.stop(signal.SIGINT) == 0


def test_F46_a_store_under_way_at_SIGTERM_is_finished_and_new_associations_are_not_taken(
    make_archive: Callable[..., Archive],
) -> None:
    archive = make_archive(SMALL).with_database().start()
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    association = associate(archive)
    statuses: list[int] = []
    stop = threading.Event()

    def keep_sending() -> None:
        while not stop.is_set() and association.is_established:
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            with contextlib.suppress(RuntimeError):  # It ended since it was looked at.
                statuses.append(association.send_c_store(image).get("Status", -1))

    sending = threading.Thread(target=keep_sending)
    sending.start()
    until(lambda: len(statuses) > 3, 60, "stores go on")
    assert archive.process
    # pynetdicom waits so long for its answer even where the association was aborted meanwhile.
    association.dimse_timeout = 2
    archive.process.send_signal(signal.SIGTERM)
    health: list[int] = []
    with contextlib.suppress(OSError):
        while archive.process.poll() is None:
            health.append(archive.health()[0])
    assert archive.stop() == 0
    assert set(health) <= {200, 503}
    stop.set()
    sending.join(60)
    association.abort()
    answered = statuses.index(-1) if -1 in statuses else len(statuses)
    assert set(statuses[:answered]) == {SUCCESS}
    assert set(statuses[answered:]) <= {-1}
    archive.start()
    shown = archive.annals("events").stdout
    assert shown.count("InstanceStored") in (statuses.count(SUCCESS), statuses.count(SUCCESS) + 1)


def test_after_kill_9_of_the_supervisor_nothing_stays_and_the_next_start_works(
    make_archive: Callable[..., Archive],
) -> None:
    archive = make_archive().start()
    uid = stored(archive)
    archive.stop(signal.SIGKILL)
    until(lambda: not archive.processes(), 60, "the children end with their parent")
    archive.start()
    assert found(archive, uid)
    assert send(archive)[0] == SUCCESS


def test_niceness_counts_between_the_roles_since_all_are_of_one_session(archive: Archive) -> None:
    assert archive.process
    roles = archive.processes("--role")
    assert len(roles) > 3
    assert {os.getsid(pid) for pid in roles} == {os.getsid(archive.process.pid)}
    # Each is a process group of its own: a Ctrl-C in the terminal reaches the supervisor alone.
    assert [os.getpgid(pid) for pid in roles] == roles


def deaths(archive: Archive, role: str) -> int:
    """How often a process of a role was killed, by the log."""
    return len(re.findall(rf"\b{role}( \d+)? ended with -9", archive.log_lines()))


@pytest.mark.parametrize("role", ["dimse", "reader", "web"])
def test_a_killed_role_is_started_again(archive: Archive, role: str) -> None:
    before = deaths(archive, role)
    for process in archive.processes(role):
        os.kill(process, signal.SIGKILL)
    until(lambda: deaths(archive, role) > before, 60, "its end is logged")
    until(archive.ready, 60, "it is ready again")
    until(lambda: echo(archive), 60, "it answers C-ECHO")
    assert send(archive)[0] == SUCCESS


def test_P6_a_lag_that_lasts_is_shown_in_health_and_a_store_succeeds_all_the_same(
    make_archive: Callable[..., Archive],
) -> None:
    limits = {"ANNALS_LIMITS__LAG_ALARM_EVENTS": "2", "ANNALS_LIMITS__LAG_ALARM_SECONDS": "1"}
    archive = make_archive({**SMALL, **limits}).with_database().start()
    (reader,) = archive.processes("reader")

    def catalogue() -> dict[str, int]:
        status, body = archive.health()
        assert status == 200
        return dict(body["parts"]["catalogue"])

    os.kill(reader, signal.SIGSTOP)
    try:
        for _ in range(4):
            assert send(archive)[0] == SUCCESS
        until(lambda: bool(catalogue()["degraded"]), 60, "the lag is shown")
        assert catalogue()["lag"] > 2
        assert "positions behind the log" in archive.log_lines()
    finally:
        os.kill(reader, signal.SIGCONT)
    until(lambda: catalogue()["lag"] == 0 and not catalogue()["degraded"], 60, "it is read")


def test_P12_F20_a_killed_database_is_A700_and_503_and_comes_back(archive: Archive) -> None:
    assert send(archive)[0] == SUCCESS
    postmaster = int((archive.data / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    seen = set()
    until(lambda: bool(seen.add(send(archive)[0]) or SUCCESS in seen), 60, "stores succeed again")
    assert seen <= {SUCCESS, OUT_OF_RESOURCES}
    until(archive.ready, 60, "it is ready again")
    assert echo(archive)


def test_P12_CLI_3_an_external_database_is_waited_for_while_running(make_archive: Callable[..., Archive]) -> None:
    with folder_that_others_enter() as folder:
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier("elsewhere")))
        archive = make_archive(
            {**SMALL, "ANNALS_DATABASE__DSN": server.dsn("elsewhere"), "ANNALS_LIMITS__DATABASE_TIMEOUT_SECONDS": "1"}
        )
        archive.start()
        assert "raise max_connections" in archive.log_lines()
        until(lambda: send(archive)[0] == SUCCESS, 60, "a store succeeds")
        assert not (archive.data / "postgres").exists()
        server.stop()
        assert send(archive)[0] == OUT_OF_RESOURCES
        until(lambda: archive.health()[0] == 503, 60, "it is not ready")
        assert archive.health()[1]["parts"]["database"]["ok"] is False
        assert echo(archive)
        server.start()
        until(lambda: send(archive)[0] == SUCCESS, 60, "stores succeed again")
        until(archive.ready, 60, "it is ready again")
        assert archive.stop() == 0
        server.stop()


def refusal(archive: Archive, *arguments: str) -> tuple[int, str]:
    """The exit code and the words of an archive that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "annals", "serve", "--data", str(archive.data), *arguments],
        env=archive.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_CLI_3_F19_a_database_that_is_not_there_at_start_is_an_error_that_says_what_to_do(
    make_archive: Callable[..., Archive],
) -> None:
    archive = make_archive({"ANNALS_DATABASE__DSN": f"host=127.0.0.1 port={free_port()} dbname=none"})
    code, words = refusal(archive)
    assert code == 1
    assert "database" in words
    assert "dsn" in words.casefold()
    assert "Traceback" not in words


def test_a_port_in_use_is_an_error_that_names_it(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive({"ANNALS_LIMITS__PORT_WAIT_SECONDS": "0.5"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", archive.port))
        taken.listen()
        code, words = refusal(archive)
    assert code == 1
    assert f"port {archive.port}" in words
    assert "Traceback" not in words


def test_B68_all_faults_of_the_settings_are_said_at_once(make_archive: Callable[..., Archive], tmp_path: Path) -> None:
    archive = make_archive({"ANNALS_DIMSE__STORE_PORT": "70000", "ANNALS_DIMSE__AE_TITLE": "x" * 17})
    (tmp_path / "annals.toml").write_text("[dimse]\ncolour = 'red'\n[tls]\nprofile = 'none'\n")
    code, words = refusal(archive, "--cfg", str(tmp_path / "annals.toml"))
    assert code == 2
    for place in ("ANNALS_DIMSE__STORE_PORT:", "ANNALS_DIMSE__AE_TITLE:", "toml, line 2:", "toml, line 4:"):
        assert place in words, words
    assert "Traceback" not in words


def test_NET_8_C2_3_without_space_objects_are_refused_and_health_says_so(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive({**SMALL, "ANNALS_LIMITS__STORAGE_FREE_MIN": str(1 << 60)})
    with archive.lines.open("ab") as lines:
        archive.process = subprocess.Popen(
            [sys.executable, "-m", "annals", "serve", "--data", str(archive.data)],
            env=archive.environment,
            stdout=lines,
            stderr=lines,
        )
    until(lambda: echo(archive), 60, "it answers C-ECHO")
    assert send(archive)[0] == OUT_OF_RESOURCES
    status, body = archive.health()
    assert (status, body["parts"]["storage"]["ok"]) == (503, False)


@pytest.fixture(scope="module", params=[False, True], ids=["default", "set"])
def chosen(request: pytest.FixtureRequest) -> Iterator[tuple[Archive, bool]]:
    """An archive where objects of known UIDs are not replaced and nothing is cropped, and one where both are."""
    settings = {
        **SMALL,
        "ANNALS_STORAGE__OVERWRITE_IMAGE": str(request.param).lower(),
        "ANNALS_STORAGE__CROP_ACCESSION_NUMBER": str(request.param).lower(),
    }
    with running_archive(settings) as running:
        yield running, request.param


def test_NET_6_another_object_of_a_known_UID(chosen: tuple[Archive, bool]) -> None:
    archive, overwrite = chosen
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    association = associate(archive)
    assert association.send_c_store(image).Status == SUCCESS
    assert association.send_c_store(image).Status == SUCCESS
    image.SeriesDescription = "changed"
    assert association.send_c_store(image).Status == SUCCESS
    association.release()
    shown = archive.annals("events", "--stream", image.SOPInstanceUID).stdout
    assert shown.count("InstanceStored") == 1
    assert shown.count("InstanceReplaced") == int(overwrite)
    assert shown.count("DuplicateIgnored") == int(not overwrite)
    done = archive.dcmtk(
        "findscu",
        "-S",
        *("-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={image.StudyInstanceUID}"),
        *("-k", "SeriesDescription"),
    )
    assert ("changed" in done.stdout + done.stderr) == overwrite


def test_NET_7_C2_10_a_long_accession_number_is_cropped_in_the_index_only(chosen: tuple[Archive, bool]) -> None:
    archive, crop = chosen
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    image.AccessionNumber = "1234567890ABCDEFGHIJ"
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    association = associate(archive)
    assert association.send_c_store(image).Status == SUCCESS
    association.release()
    study = f"StudyInstanceUID={image.StudyInstanceUID}"
    answers = archive.dcmtk("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", study, "-k", "AccessionNumber")
    shown = answers.stdout + answers.stderr
    assert ("[1234567890ABCDEF]" in shown) == crop
    assert ("[1234567890ABCDEFGHIJ" in shown) == (not crop)
    kept = [dcmread(path) for path in (archive.data / "storage").glob("??/?/*.dcm")]
    (stored,) = (one for one in kept if one.SOPInstanceUID == image.SOPInstanceUID)
    assert stored.AccessionNumber == "1234567890ABCDEFGHIJ"


def test_the_history_is_printed_followed_and_explained(archive: Archive) -> None:
    head = archive.annals("events").stdout.splitlines()[-1].split()[0]
    with subprocess.Popen(
        [sys.executable, "-m", "annals", "events", "--follow", "--after", head, "--data", str(archive.data)],
        env=archive.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        try:
            first, second = stored(archive), stored(archive)
            assert following.stdout
            told = (line for line in following.stdout if "InstanceStored" in line)
            lines = [next(told), next(told)]
        finally:
            following.send_signal(signal.SIGINT)
    assert following.returncode == 0
    assert first in lines[0]
    assert second in lines[1]
    for line in lines:
        assert "MODALITY" in line
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    for uid in (image.StudyInstanceUID, image.SeriesInstanceUID, first):
        done = archive.annals("explain", uid)
        assert "InstanceStored" in done.stdout
        assert "MODALITY" in done.stdout
    assert archive.annals("explain", "1.2.3", check=False).returncode == 1
    after = archive.annals("events", "--after", lines[0].split()[0]).stdout
    assert second in after
    assert first not in after


def test_devices_are_added_listed_and_removed_by_command(archive: Archive) -> None:
    archive.annals("device", "add", "CT1", "127.0.0.1", "104", "--description", "the scanner")
    archive.annals("device", "add", "CT1", "127.0.0.1", "105")
    listed = archive.annals("device", "list").stdout
    assert listed.count("CT1") == 1
    assert "127.0.0.1:105" in listed
    for arguments in (("add", "way too long a title", "h", "1"), ("add", "A\\B", "h", "1"), ("add", "A", "h", "0")):
        done = archive.annals("device", *arguments, check=False)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
    archive.annals("device", "remove", "CT1")
    assert "CT1" not in archive.annals("device", "list").stdout
    assert archive.annals("device", "remove", "CT1", check=False).returncode == 2
    shown = archive.annals("events", "--stream", "CT1").stdout
    assert shown.count("Device") == 3


def test_a_projection_is_rebuilt_by_command_while_the_archive_serves(archive: Archive) -> None:
    uid = stored(archive)
    assert "switched" in archive.annals("rebuild", "catalogue").stdout
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    keys = (
        "QueryRetrieveLevel=IMAGE",
        f"StudyInstanceUID={image.StudyInstanceUID}",
        f"SeriesInstanceUID={image.SeriesInstanceUID}",
        f"SOPInstanceUID={uid}",
    )
    done = archive.dcmtk("findscu", "-S", *(word for key in keys for word in ("-k", key)))
    assert uid in done.stdout + done.stderr
    assert send(archive)[0] == SUCCESS
    assert archive.annals("rebuild", "nonsense", check=False).returncode == 2
    assert found(archive, uid)


@pytest.mark.parametrize(("flags", "environment"), [(["-O"], {}), ([], {"PYTHONOPTIMIZE": "1"})])
def test_D29_nothing_runs_without_assertions(flags: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, *flags, "-m", "annals", "--version"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "PYTHONOPTIMIZE" in done.stderr


@pytest.mark.soak
def test_the_embedded_database_takes_the_processes_of_16_cores(
    make_archive: Callable[..., Archive],
) -> None:
    processes = {"ANNALS_DIMSE__PROCESSES": "16", "ANNALS_DICOMWEB__PROCESSES": "8"}
    archive = make_archive({**SMALL, **processes}).with_database().start(300)
    assert echo(archive)
    assert "ERROR" not in archive.log_lines()


def test_D21_one_association_is_enough_to_run(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive({**SMALL, "ANNALS_LIMITS__ASSOCIATIONS_MAX": "1"}).with_database().start()
    assert echo(archive)


def test_the_version_is_printed() -> None:
    done = subprocess.run([sys.executable, "-m", "annals", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("annals ")
