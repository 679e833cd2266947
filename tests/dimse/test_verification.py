"""What is said when a device is asked whether it is there (DEV-3, DEV-4, C4.7)."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme

from adapters.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from adapters.dimse.verification import Verified, reach, verify
from domain.device import DeviceAdded
from tests.dimse.conftest import Door
from tests.dimse.raw_peer import AC, COMMAND, LAST, RELEASE_RP, RJ, VERIFICATION, command, data, pdu, uid
from tests.dimse.test_hostile_acceptors import PATIENT as LIMITS
from tests.dimse.test_hostile_acceptors import accepted, acceptor, answer
from tests.ports import free_port

RELEASED = pdu(RELEASE_RP)


def asked(port: int, host: str = "127.0.0.1") -> Verified:
    return verify(DeviceAdded("SCP", host, port), calling_ae_title="ANNALS", limits=LIMITS)


def test_DEV_3_a_device_that_answers_is_shown_with_time_and_implementation(door: Door) -> None:
    done = asked(door.port)
    assert done.answered
    assert done.said == "it answers C-ECHO"
    assert done.seconds > 0
    assert (done.implementation_class_uid, done.implementation_version_name) == (
        IMPLEMENTATION_CLASS_UID,
        IMPLEMENTATION_VERSION_NAME,
    )


@pytest.mark.parametrize(
    ("says", "words"),
    [
        pytest.param([pdu(RJ, b"\0\1\1\3")], "it does not know our AE title ANNALS", id="unknown-caller"),
        pytest.param([pdu(RJ, b"\0\1\1\7")], "its AE title is not SCP", id="wrong-called"),
        pytest.param([pdu(RJ, b"\0\2\3\2")], "it is too busy", id="busy"),
        pytest.param([pdu(RJ, b"\0\1\1\1")], "no reason given", id="no-reason"),
        pytest.param([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not answer as DICOM", id="HTTP"),
        pytest.param([b""], "does not answer as DICOM", id="silent"),
        pytest.param([pdu(AC, bytes(67))], "does not answer as DICOM", id="broken-accept"),
        pytest.param([accepted(result=3)], "does not know C-ECHO", id="no-verification"),
        pytest.param([accepted(), b""], "does not answer as DICOM", id="silent-after-accept"),
        pytest.param(
            [
                accepted(),
                data(
                    1,
                    COMMAND | LAST,
                    command(0x8030, e0002=uid(VERIFICATION), e0120=b"\1\0", e0800=b"\1\1", e0900=b"\x10\1"),
                ),
                RELEASED,
            ],
            "status 0110",
            id="failure-status",
        ),
    ],
)
def test_DEV_3_why_a_device_does_not_answer_is_said_in_plain_words(says: list[bytes], words: str) -> None:
    with acceptor(says, keep_open=False) as port:
        done = asked(port)
    assert not done.answered
    assert words in done.said
    assert done.said.isprintable()


def test_DEV_3_the_release_of_a_device_that_does_not_answer_it_changes_nothing() -> None:
    with acceptor([accepted(), answer(), RELEASED], keep_open=False) as port:
        assert asked(port).answered


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A port whose queue is full: nobody accepts, so that a connection waits."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        while True:
            one = stack.enter_context(socket.socket())
            one.settimeout(0.2)
            try:
                one.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port


def test_DEV_3_a_machine_that_does_not_answer_is_told_from_one_where_nothing_listens() -> None:
    port = free_port()
    assert asked(port).said == f"the machine 127.0.0.1 is there, but nothing listens at port {port}"
    with deaf() as port:
        done = asked(port)
    assert "no answer within 1 s" in done.said
    assert "has no address" in asked(104, "no-such-name.invalid").said
    assert "has no address" in asked(104, "x" * 64 + ".invalid").said


def test_DEV_3_a_peer_that_does_not_speak_TLS_is_said_so() -> None:
    with acceptor([b"HTTP/1.1 400 Bad Request\r\n\r\n"], keep_open=False) as port:
        context = ssl.create_default_context()
        trustme.CA().configure_trust(context)
        done = verify(DeviceAdded("SCP", "127.0.0.1", port), calling_ae_title="ANNALS", limits=LIMITS, tls=context)
    assert not done.answered
    assert done.said.startswith("no TLS connection")


@pytest.mark.parametrize(("keep_open", "words"), [(True, "no handshake came about in time"), (False, "it closed")])
def test_DEV_3_a_peer_that_says_nothing_to_TLS_or_ends_it_is_not_taken_for_a_machine_that_is_off(
    keep_open: bool, words: str
) -> None:
    with acceptor([], keep_open=keep_open) as port:
        done = verify(
            DeviceAdded("SCP", "127.0.0.1", port),
            calling_ae_title="ANNALS",
            limits=LIMITS,
            tls=ssl.create_default_context(),
        )
    assert done.said.startswith(f"no TLS connection: {words}")
    assert done.outcome == ("timeout" if keep_open else "refused")


def test_DEV_3_why_a_certificate_is_refused_is_said_to_its_end() -> None:
    unknown, theirs = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = unknown.issue_cert("127.0.0.1")
    chain = b"".join(pem.bytes() for pem in (issued.private_key_pem, *issued.cert_chain_pems, unknown.cert_pem))
    with trustme.Blob(chain).tempfile() as file:
        theirs.load_cert_chain(file)
    ours = ssl.create_default_context()
    trustme.CA().configure_trust(ours)
    with acceptor([], keep_open=False, tls=theirs) as port:
        done = verify(DeviceAdded("SCP", "127.0.0.1", port), calling_ae_title="ANNALS", limits=LIMITS, tls=ours)
    assert done.said == "no TLS connection: certificate refused: self-signed certificate in certificate chain"


def test_DEV_4_a_machine_that_refuses_is_there_and_one_without_a_name_is_not() -> None:
    assert reach("127.0.0.1", LIMITS, free_port()).answered
    with deaf() as port:
        assert not reach("127.0.0.1", LIMITS, port).answered
    assert "has no address" in reach("no-such-name.invalid", LIMITS).said
