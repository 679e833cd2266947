"""Presentation data values: what the P-DATA PDUs of an association carry (PS3.8 9.3.5, Annex E)."""

from __future__ import annotations

import struct
from collections.abc import Container

from adapters.dimse.wire import P_DATA
from domain.limits import KIB

COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 E.2)."""

HEADER_BYTES = 12
"""Of a P-DATA PDU with one presentation data value: the headers of both."""

_HEADERS = struct.Struct(">BxIIBB")
_HEADER = 6
_LARGEST_SENT = 256 * KIB


class MalformedPdu(ValueError):
    """The body of a P-DATA PDU is not a list of presentation data values of accepted contexts."""


def split(body: memoryview, contexts: Container[int]) -> list[tuple[int, int, memoryview]]:
    """Context id, message control header and value of each in the body of a PDU. Raises :class:`MalformedPdu`."""
    pdvs = []
    offset, end = 0, len(body)
    while offset < end:
        if end - offset < _HEADER:
            raise MalformedPdu("a PDU ends inside a PDV")
        length, context_id, flags = struct.unpack_from(">IBB", body, offset)
        if length < 2 or length > end - offset - 4:
            raise MalformedPdu("a PDV of impossible length")
        if context_id not in contexts:
            raise MalformedPdu("a PDV of a presentation context that was not accepted")
        pdvs.append((context_id, flags, body[offset + _HEADER : offset + 4 + length]))
        offset += 4 + length
    if not pdvs:
        raise MalformedPdu("a P-DATA PDU without a PDV")
    return pdvs


def largest_value(peer_max_pdu: int) -> int:
    """The most bytes of a value in one PDU to a peer that takes PDUs of a length; 0 is any (PS3.8 D.1)."""
    maximum = peer_max_pdu - _HEADER if peer_max_pdu else _LARGEST_SENT
    return max(2, min(maximum, _LARGEST_SENT) & ~1)


def header(context_id: int, flags: int, length: int) -> bytes:
    """The headers of a PDU that carries one value of so many bytes."""
    return _HEADERS.pack(P_DATA, length + _HEADER, length + 2, context_id, flags)


def fragments(context_id: int, flags: int, value: memoryview, size: int, *, last: bool) -> list[bytes | memoryview]:
    """A value as PDUs with one PDV of at most ``size`` bytes each; ``last``: nothing of the message follows."""
    buffers: list[bytes | memoryview] = []
    for first in range(0, max(len(value), 1), size):
        piece = value[first : first + size]
        is_last = last and first + size >= len(value)
        buffers += (header(context_id, flags | (LAST if is_last else 0), len(piece)), piece)
    return buffers
