"""A-ASSOCIATE: pynetdicom encodes and decodes the PDUs, the choices are ours (PS3.8 9.3.2, 9.3.3; PS3.7 Annex D)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
)
from pynetdicom.presentation import PresentationContext

from adapters.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from adapters.dimse.association import Context
from adapters.dimse.errors import DimseError
from adapters.dimse.wire import ASSOCIATE_AC, ASSOCIATE_RJ, ASSOCIATE_RQ
from domain.limits import Limits

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_ACCEPTED, _NO_ABSTRACT_SYNTAX, _NO_TRANSFER_SYNTAX = 0, 3, 4
_FIXED = 68
_APPLICATION_CONTEXT_ITEM, _CONTEXT_ITEM, _USER_ITEM = 0x10, 0x20, 0x50
_KNOWN_USER_ITEMS = frozenset((0x51, 0x52, 0x54, 0x55, 0x56))
"""Maximum length, implementation class and version, role selection, SOP class extended negotiation."""


class MalformedAssociate(DimseError):
    """An A-ASSOCIATE PDU that cannot be understood or breaks a limit."""


@dataclass(frozen=True, slots=True)
class SupportedContext:
    """In which transfer syntaxes an abstract syntax is supported; the proposer's order decides among them."""

    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejection:
    """The three numbers of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    result: int
    source: int
    reason: int

    def encode(self) -> bytes:
        """The PDU."""
        return struct.pack(">BxIxBBB", ASSOCIATE_RJ, 4, self.result, self.source, self.reason)


CALLING_AE_NOT_RECOGNISED = Rejection(1, 1, 3)
CALLED_AE_NOT_RECOGNISED = Rejection(1, 1, 7)
APPLICATION_CONTEXT_NOT_SUPPORTED = Rejection(1, 1, 2)
PROTOCOL_VERSION_NOT_SUPPORTED = Rejection(1, 2, 2)
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed presentation context."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """What a peer asks for."""

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


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was accepted: the contexts to use and the A-ASSOCIATE-AC that says so."""

    contexts: Mapping[int, Context]
    extended: Mapping[str, bytes]
    pdu: bytes = field(repr=False)


def parse_request(body: bytes, peer_address: str, limits: Limits) -> AssociationRequest:
    """Read an A-ASSOCIATE-RQ's body. Raises :class:`MalformedAssociate`."""
    body = _checked(body, limits)
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(struct.pack(">BxI", ASSOCIATE_RQ, len(body)) + body)
        version = pdu.protocol_version
        primitive = pdu.to_primitive()
        proposals = tuple(
            Proposal(
                context.context_id or 0, str(context.abstract_syntax), tuple(str(s) for s in context.transfer_syntax)
            )
            for context in primitive.presentation_context_definition_list
        )
        return AssociationRequest(
            str(primitive.calling_ae_title).strip(" "),
            str(primitive.called_ae_title).strip(" "),
            peer_address,
            version,
            str(primitive.application_context_name),
            proposals,
            primitive.maximum_length_received or 0,
            str(primitive.implementation_class_uid or ""),
            _version_name(primitive),
            {
                str(item.sop_class_uid): (bool(item.scu_role), bool(item.scp_role))
                for item in primitive.user_information
                if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
            },
            {
                str(item.sop_class_uid): bytes(item.service_class_application_information or b"")
                for item in primitive.user_information
                if isinstance(item, SOPClassExtendedNegotiation)
            },
        )
    except Exception as error:
        # pynetdicom's decoder raises many kinds on hostile bytes; each means the same to the peer.
        raise MalformedAssociate(f"an A-ASSOCIATE-RQ that cannot be read ({type(error).__name__})") from error


def agree(
    request: AssociationRequest,
    supported: Callable[[str], SupportedContext | None],
    accept_extended: Callable[[str, bytes], bytes | None],
    limits: Limits,
) -> Agreement:
    """Accept at most one transfer syntax for each context, in the proposer's order (PS3.8 7.1.1.14)."""
    contexts: dict[int, Context] = {}
    results = []
    for proposal in request.proposals:
        known = supported(proposal.abstract_syntax)
        syntax = next((s for s in proposal.transfer_syntaxes if known and s in known.transfer_syntaxes), None)
        result = PresentationContext()
        result.context_id = proposal.id
        result.abstract_syntax = proposal.abstract_syntax
        result.transfer_syntax = [syntax or proposal.transfer_syntaxes[0]]
        if known is None:
            result.result = _NO_ABSTRACT_SYNTAX
        elif syntax is None:
            result.result = _NO_TRANSFER_SYNTAX
        else:
            result.result = _ACCEPTED
            peer_scu, peer_scp = request.roles.get(proposal.abstract_syntax, (True, False))
            contexts[proposal.id] = Context(
                proposal.id, proposal.abstract_syntax, syntax, as_scu=peer_scp, as_scp=peer_scu
            )
        results.append(result)
    accepted = {context.abstract_syntax for context in contexts.values()}
    extended = {
        uid: answer
        for uid, asked in request.extended.items()
        if uid in accepted and (answer := accept_extended(uid, asked)) is not None
    }
    primitive = _primitive(request.calling_ae_title, request.called_ae_title, limits)
    for uid, (scu, scp) in request.roles.items():
        if uid in accepted:
            primitive.user_information.append(_role(uid, scu, scp))
    for uid, answer in extended.items():
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = uid
        item.service_class_application_information = answer
        primitive.user_information.append(item)
    primitive.result, primitive.result_source = 0, 1
    primitive.presentation_context_definition_results_list = results
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return Agreement(contexts, extended, pdu.encode())


def encode_request(
    calling_ae_title: str,
    called_ae_title: str,
    proposals: Sequence[Proposal],
    limits: Limits,
) -> bytes:
    """An A-ASSOCIATE-RQ."""
    primitive = _primitive(calling_ae_title, called_ae_title, limits)
    contexts = []
    for proposal in proposals:
        context = PresentationContext()
        context.context_id = proposal.id
        context.abstract_syntax = proposal.abstract_syntax
        context.transfer_syntax = list(proposal.transfer_syntaxes)
        contexts.append(context)
    primitive.presentation_context_definition_list = contexts
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def parse_accept(body: bytes, proposals: Sequence[Proposal]) -> tuple[dict[int, Context], int, str, str]:
    """The accepted contexts, the peer's maximum PDU length and its implementation; raises as :func:`parse_request`."""
    by_id = {proposal.id: proposal for proposal in proposals}
    pdu = A_ASSOCIATE_AC()
    try:
        pdu.decode(struct.pack(">BxI", ASSOCIATE_AC, len(body)) + body)
        primitive = pdu.to_primitive()
        contexts = {
            result.context_id: Context(
                result.context_id,
                by_id[result.context_id].abstract_syntax,
                str(result.transfer_syntax[0]),
                as_scu=True,
                as_scp=False,
            )
            for result in primitive.presentation_context_definition_results_list
            if result.result == _ACCEPTED and result.context_id in by_id
        }
        return (
            contexts,
            primitive.maximum_length_received or 0,
            str(primitive.implementation_class_uid or ""),
            _version_name(primitive),
        )
    except Exception as error:
        raise MalformedAssociate(f"an A-ASSOCIATE-AC that cannot be read ({type(error).__name__})") from error


def _checked(body: bytes, limits: Limits) -> bytes:
    """The body without the items that we do not know, which are ignored (PS3.8 D.2), counted before objects are built.

    Raises :class:`MalformedAssociate`, also for ids that are even or repeated (PS3.8 9.3.2.2).
    """
    kept, ids = [body[:_FIXED]], []
    for kind, content in _items(body, _FIXED):
        if kind == _USER_ITEM:
            users = list(_items(content, 0))
            if len(users) > limits.user_items_max:
                raise MalformedAssociate("an A-ASSOCIATE-RQ with too many user items")
            content = b"".join(_item(inner, value) for inner, value in users if inner in _KNOWN_USER_ITEMS)
        elif kind == _CONTEXT_ITEM:
            ids.append(content[0] if content else 0)
        elif kind != _APPLICATION_CONTEXT_ITEM:
            continue
        kept.append(_item(kind, content))
    if not ids or len(ids) > limits.presentation_contexts_max:
        raise MalformedAssociate(f"an A-ASSOCIATE-RQ with {len(ids)} presentation contexts")
    if len(set(ids)) != len(ids) or any(number % 2 == 0 for number in ids):
        raise MalformedAssociate("an A-ASSOCIATE-RQ with even or repeated presentation context ids")
    return b"".join(kept)


def _items(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset < len(data):
        if offset + 4 > len(data):
            raise MalformedAssociate("an A-ASSOCIATE-RQ that ends inside an item")
        kind, length = struct.unpack_from(">BxH", data, offset)
        offset += 4 + length
        if offset > len(data):
            raise MalformedAssociate("an A-ASSOCIATE-RQ with an item longer than what holds it")
        yield kind, data[offset - length : offset]


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _primitive(calling_ae_title: str, called_ae_title: str, limits: Limits) -> A_ASSOCIATE:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title = calling_ae_title
    primitive.called_ae_title = called_ae_title
    maximum = MaximumLengthNotification()
    maximum.maximum_length_received = limits.pdu_max
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    primitive.user_information = [maximum, implementation, version]
    return primitive


def _role(uid: str, scu: bool, scp: bool) -> SCP_SCU_RoleSelectionNegotiation:
    item = SCP_SCU_RoleSelectionNegotiation()
    item.sop_class_uid, item.scu_role, item.scp_role = uid, scu, scp
    return item


def _version_name(primitive: A_ASSOCIATE) -> str:
    for item in primitive.user_information:
        if isinstance(item, ImplementationVersionNameNotification):
            return str(item.implementation_version_name or "")
    return ""
