"""A-ASSOCIATE: what is accepted of a request, and asking ourselves (PS3.8 9.3.2, 9.3.3; PS3.7 Annex D)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

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
from adapters.dicom.sop_classes import preferred_for
from adapters.dimse.agreed import Context
from adapters.dimse.associate_request import AssociationRequest, MalformedAssociate, Proposal
from adapters.dimse.wire import ASSOCIATE_AC, ASSOCIATE_RJ
from domain.limits import Limits
from domain.transcoding import IMPLICIT, LOSSY, NATIVE

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
_ACCEPTED, _NO_ABSTRACT_SYNTAX, _NO_TRANSFER_SYNTAX = 0, 3, 4
_ANSWERS_KEPT = 64

_Result = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class SupportedContext:
    """In which transfer syntaxes an abstract syntax is supported; the proposer's order decides among them.

    ``often_unfit``: many objects of the class have samples that few syntaxes hold.
    """

    transfer_syntaxes: tuple[str, ...]
    often_unfit: bool = False


@dataclass(frozen=True, slots=True)
class Rejection:
    """The three numbers of an A-ASSOCIATE-RJ (PS3.8 Table 9-21); ``why`` is for ourselves, the peer is not told."""

    result: int
    source: int
    reason: int
    why: str = ""

    def encode(self) -> bytes:
        """The PDU."""
        return struct.pack(">BxIxBBB", ASSOCIATE_RJ, 4, self.result, self.source, self.reason)

    def __str__(self) -> str:
        return f"{self.result}/{self.source}/{self.reason}"


CALLING_AE_NOT_RECOGNISED = Rejection(1, 1, 3, "the calling AE title is not a known device")
CALLED_AE_NOT_RECOGNISED = Rejection(1, 1, 7, "the called AE title is not ours")
APPLICATION_CONTEXT_NOT_SUPPORTED = Rejection(1, 1, 2, "the application context is not DICOM's")
PROTOCOL_VERSION_NOT_SUPPORTED = Rejection(1, 2, 2, "the protocol version is not 1")
TEMPORARY_CONGESTION = Rejection(2, 3, 1)
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2, "too many connections are open")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was accepted: the contexts to use and the A-ASSOCIATE-AC that says so."""

    contexts: Mapping[int, Context]
    extended: Mapping[str, bytes]
    pdu: bytes = field(repr=False)


def agree(
    request: AssociationRequest,
    supported: Callable[[str], SupportedContext | None],
    accept_extended: Callable[[str, bytes], bytes | None],
    limits: Limits,
    preferred: str = "",
) -> Agreement:
    """Accept at most one transfer syntax for each context, in the proposer's order (PS3.8 7.1.1.14; C2.5).

    Where the peer wants to be sent objects (it proposed to be SCP, C3.7) its ``preferred`` syntax comes first (C3.9).
    """
    preferring = _preferring(request, supported, preferred) if preferred else frozenset()
    contexts: dict[int, Context] = {}
    results: list[_Result] = []
    for proposal in request.proposals:
        known = supported(proposal.abstract_syntax)
        syntax = preferred if proposal.id in preferring else next(_possible(proposal, known), None)
        if known is None:
            results.append((proposal.id, _NO_ABSTRACT_SYNTAX, IMPLICIT))
        elif syntax is None:
            results.append((proposal.id, _NO_TRANSFER_SYNTAX, IMPLICIT))
        else:
            results.append((proposal.id, _ACCEPTED, syntax))
            peer_scu, peer_scp = request.roles.get(proposal.abstract_syntax, (True, False))
            contexts[proposal.id] = Context(
                proposal.id, proposal.abstract_syntax, syntax, as_scu=peer_scp, as_scp=peer_scu
            )
    accepted = {context.abstract_syntax for context in contexts.values()}
    extended = {
        uid: answer
        for uid, asked in request.extended.items()
        if uid in accepted and (answer := accept_extended(uid, asked)) is not None
    }
    roles = tuple((uid, *roles) for uid, roles in request.roles.items() if uid in accepted and any(roles))
    titles = (request.calling_ae_title, request.called_ae_title)
    return Agreement(
        contexts, extended, _encode_accept(titles, tuple(results), roles, tuple(extended.items()), limits.pdu_max)
    )


def _possible(proposal: Proposal, known: SupportedContext | None) -> Iterator[str]:
    return (syntax for syntax in proposal.transfer_syntaxes if known and syntax in known.transfer_syntaxes)


def _preferring(
    request: AssociationRequest, supported: Callable[[str], SupportedContext | None], preferred: str
) -> frozenset[int]:
    """The contexts that get the preferred syntax: one a class, so that its other contexts stay for what does not fit.

    Where much may not fit (loss is forbidden from loss, classes of 1-bit or float samples), only beside another one.
    """
    by_class: dict[str, list[Proposal]] = {}
    for proposal in request.proposals:
        _, is_sent = request.roles.get(proposal.abstract_syntax, (True, False))
        if is_sent:
            by_class.setdefault(proposal.abstract_syntax, []).append(proposal)
    preferring = set()
    for abstract_syntax, proposals in by_class.items():
        known = supported(abstract_syntax)
        taking = [proposal for proposal in proposals if preferred in _possible(proposal, known)]
        if known is None or not taking or not preferred_for(abstract_syntax, preferred):
            continue
        others = (next(_possible(proposal, known), "") for proposal in proposals if proposal is not taking[0])
        if not (known.often_unfit or preferred in LOSSY) or any(syntax in NATIVE for syntax in others):
            preferring.add(taking[0].id)
    return frozenset(preferring)


@lru_cache(maxsize=_ANSWERS_KEPT)
def _encode_accept(
    titles: tuple[str, str],
    results: tuple[_Result, ...],
    roles: tuple[tuple[str, bool, bool], ...],
    extended: tuple[tuple[str, bytes], ...],
    pdu_max: int,
) -> bytes:
    """The A-ASSOCIATE-AC; kept, since a device asks for the same each time and 120 contexts take milliseconds."""
    primitive = _primitive(*titles, pdu_max)
    primitive.user_information += [_role(*role) for role in roles]
    for uid, answer in extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = uid
        item.service_class_application_information = answer
        primitive.user_information.append(item)
    primitive.result, primitive.result_source = 0, 1
    primitive.presentation_context_definition_results_list = []
    for context_id, result, transfer_syntax in results:
        context = PresentationContext()
        context.context_id, context.result, context.transfer_syntax = context_id, result, [transfer_syntax]
        primitive.presentation_context_definition_results_list.append(context)
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def encode_request(
    calling_ae_title: str,
    called_ae_title: str,
    proposals: Sequence[Proposal],
    limits: Limits,
    as_scp: Collection[str] = (),
) -> bytes:
    """An A-ASSOCIATE-RQ; of the abstract syntaxes ``as_scp`` we propose to be SCP only (PS3.7 D.3.3.4)."""
    primitive = _primitive(calling_ae_title, called_ae_title, limits.pdu_max)
    primitive.user_information += [_role(uid, False, True) for uid in as_scp]
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
    """The accepted contexts, the peer's maximum PDU length and its implementation.

    A context with an id or a transfer syntax that was not proposed counts as refused.
    Raises :class:`MalformedAssociate`.
    """
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
            if result.result == _ACCEPTED
            and result.context_id in by_id
            and str(result.transfer_syntax[0]) in by_id[result.context_id].transfer_syntaxes
        }
        return (
            contexts,
            primitive.maximum_length_received or 0,
            str(primitive.implementation_class_uid or ""),
            _version_name(primitive),
        )
    except Exception as error:
        raise MalformedAssociate(f"an A-ASSOCIATE-AC that cannot be read ({type(error).__name__})") from error


def _primitive(calling_ae_title: str, called_ae_title: str, pdu_max: int) -> A_ASSOCIATE:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title = calling_ae_title
    primitive.called_ae_title = called_ae_title
    maximum = MaximumLengthNotification()
    maximum.maximum_length_received = pdu_max
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
