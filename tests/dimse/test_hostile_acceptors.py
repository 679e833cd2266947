"""We as the requestor, and an acceptor that is broken or hostile: a foreseen error in time, and nothing stays open."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pynetdicom import AE, evt

from adapters.dimse import requestor
from adapters.dimse.association import Association
from adapters.dimse.errors import AssociationEnded, AssociationRejected, ConnectionFailed, DimseError
from domain.limits import Limits
from tests.dimse.conftest import connections, until
from tests.dimse.raw_peer import (
    ABORT,
    AC,
    COMMAND,
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    LAST,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    VERIFICATION,
    command,
    data,
    item,
    pdu,
    pdv,
    uid,
    user_items,
)
from tests.ports import free_port

LIMITS = Limits(
    pdu_header_timeout_seconds=0.5,
    pdu_timeout_seconds=0.5,
    association_idle_timeout_seconds=0.5,
    dimse_timeout_seconds=0.5,
    send_timeout_seconds=0.5,
    connect_timeout_seconds=1.0,
    artim_timeout_seconds=0.2,
)
PATIENT = Limits(connect_timeout_seconds=LIMITS.connect_timeout_seconds)
"""For acceptors that answer or close, on a machine that may be busy."""

STORE_RSP, ECHO_RSP = 0x8001, 0x8030


def accepted(number: int = 1, syntax: str = IMPLICIT, result: int = 0) -> bytes:
    body = struct.pack(">Hxx16s16s32x", 1, b"SCP".ljust(16), b"ANNALS".ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    body += item(0x21, struct.pack(">BxBx", number, result) + item(0x40, syntax.encode()))
    return pdu(AC, body + user_items())


def answer(field: int = ECHO_RSP, message_id: int = 1) -> bytes:
    return data(
        1,
        COMMAND | LAST,
        command(field, e0002=uid(VERIFICATION), e0120=struct.pack("<H", message_id), e0800=b"\1\1", e0900=b"\0\0"),
    )


@contextlib.contextmanager
def acceptor(says: list[bytes], *, keep_open: bool, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """An acceptor that answers what it reads with one saying after another, then closes or keeps silent."""
    done = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with (
            contextlib.suppress(OSError),
            listening.accept()[0] as raw,
            tls.wrap_socket(raw, server_side=True) if tls else raw as connection,
        ):
            for said in says:
                connection.recv(65536)
                connection.sendall(said)
            if keep_open:
                done.wait(90)

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        yield listening.getsockname()[1]
    finally:
        done.set()
        listening.close()
        serving.join(60)


def ask(port: int, limits: Limits = LIMITS, on_progress: Callable[[], None] | None = None) -> Association:
    return requestor.associate(
        "127.0.0.1",
        port,
        calling_ae_title="ANNALS",
        called_ae_title="SCP",
        contexts=[(VERIFICATION, (IMPLICIT,))],
        limits=limits,
        on_progress=on_progress,
    )


def associated(port: int) -> Association:
    """An association with a peer that is soon given up, however late a busy machine brings it about."""
    association = ask(port, replace(LIMITS, dimse_timeout_seconds=60.0))
    association.limits = LIMITS
    return association


@pytest.fixture(autouse=True)
def nothing_open() -> Iterator[None]:
    threads, sockets = threading.active_count(), connections()
    yield
    until(lambda: threading.active_count() <= threads and connections() <= sockets)


@pytest.mark.parametrize("keep_open", [True, False])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="HTTP"),
        pytest.param(accepted()[:40], id="half-an-accept"),
        pytest.param(pdu(AC, b""), id="empty-accept"),
        pytest.param(pdu(AC, bytes(67)), id="short-accept"),
        pytest.param(accepted()[:-20] + bytes(20), id="broken-accept"),
        pytest.param(pdu(AC, b"", 2**32 - 1), id="4-GiB-accept"),
        pytest.param(pdu(ABORT), id="abort"),
        pytest.param(pdu(RELEASE_RP), id="released"),
        pytest.param(pdu(P_DATA, pdv(1, 3, b"x")), id="data"),
        pytest.param(pdu(77), id="unknown-type"),
    ],
)
def test_what_is_no_acceptance_is_an_end(said: bytes, keep_open: bool) -> None:
    with acceptor([said], keep_open=keep_open) as port, pytest.raises(DimseError):
        ask(port).release()


@pytest.mark.parametrize("body", [b"\0\1\1\7", b"\0\2\3\2", b"\0\xff\xff\xff", b"", b"\0"])
def test_a_rejection_of_any_kind_is_told(body: bytes) -> None:
    with acceptor([pdu(RJ, body)], keep_open=False) as port, pytest.raises(AssociationRejected) as rejected:
        ask(port, PATIENT)
    assert bytes([rejected.value.result, rejected.value.source, rejected.value.reason]) == body[1:4].ljust(3, b"\0")


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param(accepted(99), id="of-an-unknown-context"),
        pytest.param(accepted(1, EXPLICIT), id="of-a-syntax-never-proposed"),
        pytest.param(accepted(1, IMPLICIT, 3), id="refused"),
        pytest.param(accepted(1, "", 4), id="refused-with-an-empty-syntax"),
    ],
)
def test_C3_7_a_context_counts_only_as_it_was_proposed(accept: bytes) -> None:
    with acceptor([accept, pdu(RELEASE_RP)], keep_open=False) as port:
        association = ask(port, PATIENT)
        assert not association.contexts
        association.release()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="silence"),
        pytest.param(answer(message_id=9), id="answer-to-another"),
        pytest.param(answer()[:30], id="half-an-answer"),
        pytest.param(data(1, COMMAND | LAST, b"noise"), id="noise"),
        pytest.param(data(3, COMMAND | LAST, b""), id="unknown-context"),
        pytest.param(pdu(ABORT), id="abort"),
        pytest.param(pdu(RELEASE_RQ), id="release-instead"),
        pytest.param(data(1, COMMAND | LAST, command(0x0030, e0110=b"\1\0", e0800=b"\1\1")), id="a-request-of-its-own"),
    ],
)
def test_F36_a_request_without_its_answer_ends_in_time(said: bytes) -> None:
    with acceptor([accepted(), said], keep_open=True) as port:
        association = associated(port)
        with pytest.raises(AssociationEnded):
            requestor.echo(association)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="silence"),
        pytest.param(pdu(RELEASE_RQ), id="collision"),
        pytest.param(pdu(ABORT), id="abort"),
        pytest.param(answer() * 100, id="data"),
        pytest.param(b"noise" * 10, id="noise"),
    ],
)
def test_a_release_ends_whatever_answers_it(said: bytes) -> None:
    with acceptor([accepted(), said], keep_open=True) as port:
        associated(port).release()


def test_a_release_ends_though_the_peer_goes_on_for_ever() -> None:
    stopped = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(accepted())
            while not stopped.wait(0.02):
                connection.sendall(answer())

    serving = threading.Thread(target=serve)
    serving.start()
    association = associated(listening.getsockname()[1])
    association.release()
    stopped.set()
    serving.join(60)
    listening.close()


def test_nobody_there_is_no_connection() -> None:
    with pytest.raises(ConnectionFailed):
        ask(free_port())


def test_a_store_whose_peer_stops_reading_ends_in_time() -> None:
    with tempfile.TemporaryFile() as file, acceptor([accepted()], keep_open=True) as port:
        file.truncate(64 * 1024 * 1024)
        association = associated(port)
        with pytest.raises(AssociationEnded):
            requestor.store(
                association,
                1,
                1,
                sop_class_uid=VERIFICATION,
                sop_instance_uid="1.2.3",
                fd=file.fileno(),
                offset=0,
                length=os.fstat(file.fileno()).st_size,
            )


def test_C3_6_whoever_waits_for_us_is_told_while_a_peer_does_not_answer_the_association() -> None:
    told: list[None] = []
    with acceptor([b""], keep_open=True) as port, pytest.raises(AssociationEnded):
        ask(port, replace(LIMITS, pending_interval_seconds=0.01), lambda: told.append(None))
    assert told


def test_C3_8_a_peer_is_left_where_nobody_waits_for_us_any_more() -> None:
    def gone() -> None:
        raise AssociationEnded("gone")

    with acceptor([b""], keep_open=True) as port, pytest.raises(AssociationEnded, match="gone"):
        ask(port, replace(LIMITS, pending_interval_seconds=0.01), gone)


def test_C3_6_whoever_waits_for_us_is_told_while_a_peer_does_not_answer_a_store() -> None:
    got, told = threading.Event(), threading.Event()

    def keep(_: evt.Event) -> int:
        got.set()
        return 0x0000 if told.wait(60) else 0xA700

    ae = AE("SCP")
    ae.add_supported_context(VERIFICATION, IMPLICIT)
    ae.add_supported_context(CT_IMAGE, IMPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    limits = Limits(pending_interval_seconds=0.01, dimse_timeout_seconds=90.0)
    association = requestor.associate(
        "127.0.0.1",
        server.socket.getsockname()[1],
        calling_ae_title="ANNALS",
        called_ae_title="SCP",
        contexts=[(CT_IMAGE, (IMPLICIT,))],
        limits=limits,
    )
    with tempfile.TemporaryFile() as file:
        file.write(bytes(1000))
        file.flush()
        request = requestor.store_request(1, CT_IMAGE, "1.2.3")
        association.send_file(association.begin_file(1, request, file.fileno(), 0, 1000))
        status, _ = requestor.store_answer(association, 1, lambda: told.set() if got.is_set() else None)
    association.release()
    server.shutdown()
    assert status == 0
