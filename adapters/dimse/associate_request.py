"""Reading an A-ASSOCIATE-RQ of a peer that nothing is known of: bounded, and nothing is built before it is counted.

PS3.8 9.3.2 and Annex D, PS3.7 Annex D.3.3. Items that Annals does not know are ignored, as they must be.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adapters.dimse.errors import DimseError
from domain.limits import Limits

_FIXED = 68
_APPLICATION_CONTEXT, _CONTEXT, _ABSTRACT_SYNTAX, _TRANSFER_SYNTAX, _USER = 0x10, 0x20, 0x30, 0x40, 0x50
_MAXIMUM_LENGTH, _IMPLEMENTATION_CLASS, _ROLE, _IMPLEMENTATION_VERSION, _EXTENDED = 0x51, 0x52, 0x54, 0x55, 0x56


class MalformedAssociate(DimseError):
    """An A-ASSOCIATE PDU that cannot be understood or breaks a limit."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed presentation context."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """What a peer asks for. Every text is as the peer sent it, without padding: it may hold any character.

    ``peer_certificates`` are the verified ones of the peer, each in DER, its own first; none without TLS or where it
    showed none.
    """

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    protocol_version: int
    application_context: str
    proposals: tuple[Proposal, ...]
    max_pdu: int
    implementation_class_uid: str
    implementation_version_name: str
    roles: Mapping[str, tuple[bool, bool]]
    extended: Mapping[str, bytes]
    peer_certificates: tuple[bytes, ...] = ()

    @property
    def wants_objects(self) -> bool:
        """Whether the peer proposes to be sent objects over this association, as for C-GET (PS3.7 D.3.3.4)."""
        return any(is_scp for _, is_scp in self.roles.values())


def parse_request(body: bytes, peer_address: str, limits: Limits) -> AssociationRequest:
    """Read an A-ASSOCIATE-RQ's body. Raises :class:`MalformedAssociate`."""
    if len(body) < _FIXED:
        raise MalformedAssociate("an A-ASSOCIATE-RQ that is too short")
    application_context = ""
    contexts: list[bytes] = []
    users: list[bytes] = []
    for kind, content in _items(body, _FIXED):
        if kind == _APPLICATION_CONTEXT:
            application_context = _text(content)
        elif kind == _CONTEXT:
            contexts.append(content)
        elif kind == _USER:
            users.append(content)
    if not contexts or len(contexts) > limits.presentation_contexts_max:
        raise MalformedAssociate("an A-ASSOCIATE-RQ with no presentation contexts, or more than may be")
    if len(users) > 1:
        raise MalformedAssociate("an A-ASSOCIATE-RQ with more than one user information item")
    proposals = tuple(_proposal(content) for content in contexts)
    ids = [proposal.id for proposal in proposals]
    if len(set(ids)) != len(ids) or any(number % 2 == 0 for number in ids):
        raise MalformedAssociate("an A-ASSOCIATE-RQ with even or repeated presentation context ids")
    user = _User.read(users[0] if users else b"", limits)
    return AssociationRequest(
        calling_ae_title=_text(body[20:36]).strip(" "),
        called_ae_title=_text(body[4:20]).strip(" "),
        peer_address=peer_address,
        protocol_version=struct.unpack_from(">H", body)[0],
        application_context=application_context,
        proposals=proposals,
        max_pdu=user.max_pdu,
        implementation_class_uid=user.implementation_class_uid,
        implementation_version_name=user.implementation_version_name,
        roles=user.roles,
        extended=user.extended,
    )


@dataclass(slots=True)
class _User:
    """The user information item (PS3.7 D.3.3)."""

    max_pdu: int
    implementation_class_uid: str
    implementation_version_name: str
    roles: dict[str, tuple[bool, bool]]
    extended: dict[str, bytes]

    @classmethod
    def read(cls, content: bytes, limits: Limits) -> _User:
        user = cls(0, "", "", {}, {})
        for number, (kind, value) in enumerate(_items(content, 0)):
            if number >= limits.user_items_max:
                raise MalformedAssociate("an A-ASSOCIATE-RQ with too many user items")
            if kind == _MAXIMUM_LENGTH:
                if len(value) != 4:
                    raise MalformedAssociate("a maximum length that is not four bytes")
                (user.max_pdu,) = struct.unpack(">I", value)
            elif kind == _IMPLEMENTATION_CLASS:
                user.implementation_class_uid = _text(value)
            elif kind == _IMPLEMENTATION_VERSION:
                user.implementation_version_name = _text(value)
            elif kind == _ROLE:
                uid, rest = _uid_and_rest(value)
                if len(rest) < 2:
                    raise MalformedAssociate("a role selection without roles")
                user.roles[uid] = (rest[0] == 1, rest[1] == 1)
            elif kind == _EXTENDED:
                uid, user.extended[uid] = _uid_and_rest(value)
        return user


def _proposal(content: bytes) -> Proposal:
    if len(content) < 4:
        raise MalformedAssociate("a presentation context that is too short")
    abstract, transfer = [], []
    for kind, value in _items(content, 4):
        if kind == _ABSTRACT_SYNTAX:
            abstract.append(_text(value))
        elif kind == _TRANSFER_SYNTAX:
            transfer.append(_text(value))
    if len(abstract) != 1 or not transfer:
        raise MalformedAssociate("a presentation context without one abstract syntax and a transfer syntax")
    return Proposal(content[0], abstract[0], tuple(transfer))


def _uid_and_rest(value: bytes) -> tuple[str, bytes]:
    length = struct.unpack_from(">H", value)[0] if len(value) >= 2 else len(value)
    if 2 + length > len(value):
        raise MalformedAssociate("a user item that ends inside its UID")
    return _text(value[2 : 2 + length]), value[2 + length :]


def _text(value: bytes) -> str:
    """Text without the padding that peers add, by the standard or not."""
    return value.decode("latin-1").rstrip("\0 ")


def _items(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset < len(data):
        if offset + 4 > len(data):
            raise MalformedAssociate("an A-ASSOCIATE-RQ that ends inside an item")
        kind, length = struct.unpack_from(">BxH", data, offset)
        offset += 4 + length
        if offset > len(data):
            raise MalformedAssociate("an A-ASSOCIATE-RQ with an item longer than what holds it")
        yield kind, data[offset - length : offset]
