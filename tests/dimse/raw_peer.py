"""A peer that can say anything: PDUs put together byte by byte (PS3.8 9.3)."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence

VERIFICATION = "1.2.840.10008.1.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
RQ, AC, RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
COMMAND, LAST = 1, 2
C_STORE_RQ, C_FIND_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0020, 0x0030, 0x0FFF


def pdu(kind: int, body: bytes = b"\0\0\0\0", length: int | None = None) -> bytes:
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def context(number: int, abstract: str, *syntaxes: str) -> bytes:
    inner = item(0x30, abstract.encode()) + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
    return item(0x20, struct.pack(">Bxxx", number) + inner)


def user_items(max_pdu: int = 16384, *more: bytes) -> bytes:
    return item(0x50, item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.3.4") + b"".join(more))


def associate_request(
    contexts: Sequence[bytes] = (context(1, VERIFICATION, IMPLICIT), context(3, CT_IMAGE, EXPLICIT)),
    *,
    calling: bytes = b"RAW",
    called: bytes = b"ANNALS",
    version: int = 1,
    application_context: str = "1.2.840.10008.3.1.1.1",
    users: bytes | None = None,
) -> bytes:
    body = struct.pack(">Hxx16s16s32x", version, called.ljust(16), calling.ljust(16))
    body += item(0x10, application_context.encode()) + b"".join(contexts)
    return pdu(RQ, body + (user_items() if users is None else users))


def pdv(number: int, flags: int, value: bytes) -> bytes:
    return struct.pack(">IBB", len(value) + 2, number, flags) + value


def data(number: int, flags: int, value: bytes) -> bytes:
    return pdu(P_DATA, pdv(number, flags, value))


def element(group: int, number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


def command(field: int | None, **more: bytes) -> bytes:
    """A command set with a Command Field; ``more`` is element numbers in hex (``e0110``) and their values."""
    body = {} if field is None else {0x0100: struct.pack("<H", field)}
    body.update({int(name[1:], 16): value for name, value in more.items()})
    encoded = b"".join(element(0, number, value) for number, value in sorted(body.items()))
    return element(0, 0, struct.pack("<I", len(encoded))) + encoded


def uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def store_request(sop_class: str = CT_IMAGE, instance: str = "1.2.3", data_set: bool = True) -> bytes:
    return command(
        C_STORE_RQ,
        e0002=uid(sop_class),
        e0110=b"\1\0",
        e0700=b"\0\0",
        e0800=b"\1\0" if data_set else b"\1\1",
        e1000=uid(instance),
    )


def echo_request(message_id: int = 1) -> bytes:
    return command(C_ECHO_RQ, e0002=uid(VERIFICATION), e0110=struct.pack("<H", message_id), e0800=b"\1\1")


class RawPeer:
    """One connection from an address of this machine. ``answer`` reads one PDU; None when the other side has closed."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
        self.socket.settimeout(30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def answer(self) -> tuple[int, bytes] | None:
        head = self._exactly(6)
        if head is None:
            return None
        kind, length = struct.unpack(">BxI", head)
        body = self._exactly(length)
        return None if body is None else (kind, body)

    def established(self, request: bytes | None = None) -> RawPeer:
        self.say(request or associate_request())
        answer = self.answer()
        assert answer is not None
        assert answer[0] == AC
        return self

    def status(self) -> int:
        """The status of the next response."""
        answer = self.answer()
        assert answer is not None
        kind, body = answer
        assert kind == P_DATA, (kind, body)
        encoded = body[6:]
        while encoded:
            group, number, length = struct.unpack_from("<HHI", encoded)
            if (group, number) == (0, 0x0900):
                return int(struct.unpack_from("<H", encoded, 8)[0])
            encoded = encoded[8 + length :]
        raise AssertionError("no status")

    def echo(self) -> int:
        self.say(data(1, COMMAND | LAST, echo_request()))
        return self.status()

    def _exactly(self, length: int) -> bytes | None:
        got = b""
        while len(got) < length:
            try:
                piece = self.socket.recv(length - len(got))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            got += piece
        return got
