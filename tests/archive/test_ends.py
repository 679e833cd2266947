"""Asked to end at any moment, an archive or a command ends in time, and leaves no process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove as StudyMove,
)

from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, until
from tests.durability import machine
from tests.ports import free_port

DATABASE, STORAGE = "postgres/data/postmaster.pid", "storage/.annals-storage"


@pytest.mark.parametrize("reached", [DATABASE, STORAGE], ids=["database", "storage"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_P15_an_archive_that_is_asked_to_end_while_it_starts_leaves_no_process(
    make_archive: Callable[..., Archive], number: signal.Signals, reached: str
) -> None:
    archive = make_archive().with_database()
    archive.begin()
    until((archive.data / reached).exists, 60, f"{reached} is there")
    assert archive.stop(number) == 0
    assert archive.processes() == []
    assert machine.inside(archive.data / "postgres") == set()
    assert "Traceback" not in archive.log_lines()


def test_P15_an_archive_whose_terminal_goes_ends_as_by_SIGTERM(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive().with_database().start()
    assert archive.stop(signal.SIGHUP) == 0
    assert archive.processes() == []
    assert machine.inside(archive.data / "postgres") == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_is_asked_to_end_ends_the_database_that_it_has_started(
    make_archive: Callable[..., Archive], number: signal.Signals
) -> None:
    archive = make_archive().with_database()
    command = [sys.executable, "-m", "annals", "events", "--follow", "--data", str(archive.data)]
    with subprocess.Popen(command, env=archive.environment, stderr=subprocess.PIPE, text=True) as running:
        until((archive.data / DATABASE).exists, 60, "it has started the database")
        running.send_signal(number)
        assert "Traceback" not in running.communicate(timeout=60)[1]
    assert machine.inside(archive.data / "postgres") == set()


def test_F46_what_outlasts_the_drain_time_is_cut_off_and_the_archive_ends_well_all_the_same(
    make_archive: Callable[..., Archive],
) -> None:
    archive = make_archive({**SMALL, "ANNALS_LIMITS__DRAIN_TIMEOUT_SECONDS": "24"}).with_database().start()
    image = dcmread(samples.SAMPLES / "CT_small.dcm")
    port, has_come, is_over = free_port(), threading.Event(), threading.Event()

    def never_answer(_event: evt.Event) -> int:
        has_come.set()
        is_over.wait(120)
        return 0xA700

    destination = ApplicationEntity("SLOW")
    destination.add_supported_context(CTImageStorage)
    server = destination.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, never_answer)])
    assert server
    asker = ApplicationEntity("ASKER")
    asker.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    asker.add_requested_context(StudyMove)
    association = asker.associate("127.0.0.1", archive.port, ae_title="ANNALS")
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port)) as uploader:
        try:
            assert association.send_c_store(image).Status == 0
            archive.annals("device", "add", "SLOW", "127.0.0.1", str(port))
            query = Dataset()
            query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", image.StudyInstanceUID
            threading.Thread(
                target=lambda: list(association.send_c_move(query, "SLOW", StudyMove)), daemon=True
            ).start()
            assert has_come.wait(60)
            uploader.sendall(
                b"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n"
                b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
            )
            assert b" 100 " in uploader.recv(1000)
            assert archive.stop() == 0
        finally:
            is_over.set()
            association.abort()
            server.shutdown()
    assert "is killed" not in archive.log_lines()


def test_a_command_leaves_the_database_that_it_has_started_to_the_archive_that_started_since(
    make_archive: Callable[..., Archive],
) -> None:
    archive = make_archive(SMALL).with_database()
    command = [sys.executable, "-m", "annals", "events", "--follow", "--data", str(archive.data)]
    with subprocess.Popen(command, env=archive.environment, stdout=subprocess.DEVNULL) as running:
        until((archive.data / DATABASE).exists, 60, "it has started the database")
        archive.start()
        before = (archive.data / DATABASE).read_text()
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    assert (archive.data / DATABASE).read_text() == before
    assert archive.ready()
    assert archive.stop() == 0
    assert machine.inside(archive.data / "postgres") == set()
    assert '"ERROR"' not in archive.log_lines()
