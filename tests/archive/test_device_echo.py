"""Devices called from the archive, and peers that it turned away, by command (DEV-3, DEV-4, B29)."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.dimse.raw_peer import RJ, RawPeer, associate_request
from tests.ports import free_port


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    """An archive that knows its devices only."""
    with running_archive({**SMALL, "ANNALS_DIMSE__ACCEPT_ANY": "false"}) as running:
        yield running


def test_DEV_3_a_device_is_called_by_command_and_shown_with_time_and_implementation(archive: Archive) -> None:
    port = free_port()
    device = subprocess.Popen(["storescp", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        archive.annals("device", "add", "WS", "127.0.0.1", str(port))
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 60, "storescp listens")
        done = archive.annals("device", "echo", "WS")
    finally:
        device.terminate()
        device.wait(60)
    assert f"WS at 127.0.0.1 port {port}: ok: it answers C-ECHO (" in done.stdout
    assert "ms)" in done.stdout
    assert "OFFIS_DCMTK" in done.stdout.splitlines()[1]
    assert "DeviceCalled" in archive.annals("events").stdout


def test_B56_the_archive_does_not_call_itself_or_where_secrets_are_told(archive: Archive) -> None:
    for number, (host, port) in enumerate(
        (
            ("127.0.0.1", archive.port),
            ("localhost", archive.http_port),
            ("::1", archive.dicomweb_port),
            ("169.254.169.254", 80),
            ("::ffff:169.254.169.254", 80),
            ("fe80::1", 104),
        )
    ):
        archive.annals("device", "add", f"ODD{number}", host, str(port))
        done = archive.annals("device", "echo", f"ODD{number}", check=False)
        assert done.returncode == 1
        assert f"{host} is not called: " in done.stderr


def test_DEV_3_a_device_that_does_not_answer_is_an_exit_code_with_the_reason(archive: Archive) -> None:
    port = free_port()
    archive.annals("device", "add", "OFF", "127.0.0.1", str(port))
    done = archive.annals("device", "echo", "OFF", check=False)
    assert done.returncode == 1
    assert f": refused: the machine 127.0.0.1 is there, but nothing listens at port {port}" in done.stdout
    done = archive.annals("device", "echo", "NOBODY", check=False)
    assert done.returncode == 2
    assert "'NOBODY' is not a known device" in done.stderr


def test_DEV_4_the_machine_of_a_WADO_device_is_looked_for(archive: Archive) -> None:
    archive.annals("device", "wado", "add", "LocalHost")
    done = archive.annals("device", "echo", "localhost")
    assert "the machine answers" in done.stdout


def test_B29_who_is_turned_away_is_a_fact_that_an_administrator_sees(archive: Archive) -> None:
    for _ in range(5):
        assert "Calling AE Title Not Recognized" in archive.dcmtk("echoscu", "-aet", "STRANGER").stderr
    with RawPeer(archive.port) as peer:
        peer.say(associate_request(calling=b"\x1b[2Jevil\n"))
        assert peer.answer() == (RJ, b"\0\1\1\3")

    def told() -> str:
        return archive.annals("events").stdout

    until(lambda: "calling_ae_titles=('STRANGER',)" in told(), 60, "the rejection is a fact")
    until(lambda: "[2Jevil" in told(), 60, "the other one too")
    assert "\x1b" not in told()
    assert told().count("PeerRejected") <= 4
    until(lambda: "calling STRANGER" in archive.annals("device", "rejections").stdout, 60, "it is listed")
    shown = archive.annals("device", "rejections").stdout
    assert "127.0.0.1" in shown
    assert "(1/1/3)" in shown
