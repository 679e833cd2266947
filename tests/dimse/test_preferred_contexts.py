"""Which of the proposed syntaxes a device gets that prefers one and wants to be sent objects (C3.9, C2.5)."""

from __future__ import annotations

import pytest

from adapters.dimse.associate_request import AssociationRequest, Proposal
from adapters.dimse.negotiation import agree
from adapters.dimse.presentation import supported_contexts
from adapters.dimse.sending import destination_proposals
from domain.limits import Limits
from domain.transcoding import EXPLICIT, IMPLICIT, JPEG_2000_LOSSLESS, JPEG_BASELINE, RLE
from tests.dimse.raw_peer import CT_IMAGE

RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RT_PLAN, BASIC_TEXT_SR, ECG = (
    "1.2.840.10008.5.1.4.1.1.481.5",
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.9.1.1",
)
PRIVATE = "1.2.3.4"


def accepted(
    preferred: str, *contexts: tuple[str, tuple[str, ...]], roles: tuple[bool, bool] | None = (False, True)
) -> list[str]:
    """The transfer syntax that each proposed context gets."""
    request = requested(*contexts, roles=roles)
    agreement = agree(request, supported_contexts(True), lambda _uid, _asked: None, Limits(), preferred)
    return [agreement.contexts[proposal.id].transfer_syntax for proposal in request.proposals]


def requested(
    *contexts: tuple[str, tuple[str, ...]], roles: tuple[bool, bool] | None = (False, True)
) -> AssociationRequest:
    proposals = tuple(Proposal(2 * number + 1, *context) for number, context in enumerate(contexts))
    asked = {sop_class: roles for sop_class, _ in contexts} if roles else {}
    return AssociationRequest("PREFERS", "ANNALS", "", 1, "", proposals, 0, "", "", asked, {})


def test_C3_9_the_preferred_syntax_is_chosen_wherever_it_stands_in_the_proposal() -> None:
    assert accepted(RLE, (CT_IMAGE, (EXPLICIT, IMPLICIT, RLE))) == [RLE]
    assert accepted(RLE, (CT_IMAGE, (EXPLICIT, IMPLICIT))) == [EXPLICIT]
    assert accepted("", (CT_IMAGE, (EXPLICIT, RLE))) == [EXPLICIT]


@pytest.mark.parametrize("roles", [None, (True, False)])
def test_C2_5_who_sends_keeps_its_own_order(roles: tuple[bool, bool] | None) -> None:
    assert accepted(RLE, (CT_IMAGE, (EXPLICIT, RLE)), roles=roles) == [EXPLICIT]


@pytest.mark.parametrize(("roles", "wants"), [(None, False), ((True, False), False), ((False, True), True)])
def test_C3_7_only_who_proposes_to_be_scp_is_asked_for_its_preference(
    roles: tuple[bool, bool] | None, wants: bool
) -> None:
    assert requested((CT_IMAGE, (EXPLICIT,)), roles=roles).wants_objects == wants


def test_C3_9_of_several_contexts_of_a_class_one_is_left_for_what_does_not_fit() -> None:
    both = (CT_IMAGE, (EXPLICIT, RLE))
    assert accepted(RLE, both, both) == [RLE, EXPLICIT]
    assert accepted(RLE, (CT_IMAGE, (IMPLICIT,)), both) == [IMPLICIT, RLE]


@pytest.mark.parametrize(("sop_class", "preferred"), [(CT_IMAGE, JPEG_BASELINE), (RT_DOSE, JPEG_2000_LOSSLESS)])
def test_TS_3_what_many_objects_do_not_fit_into_is_chosen_only_beside_an_uncompressed_context(
    sop_class: str, preferred: str
) -> None:
    either = (sop_class, (EXPLICIT, preferred))
    assert accepted(preferred, either) == [EXPLICIT]
    assert accepted(preferred, either, (sop_class, (IMPLICIT,))) == [preferred, IMPLICIT]
    assert accepted(preferred, (sop_class, (preferred,))) == [preferred]


@pytest.mark.parametrize("sop_class", [RT_PLAN, BASIC_TEXT_SR, ECG])
def test_DEV_1_TS_2_what_has_no_pixels_is_neither_offered_nor_taken_in_a_syntax_that_compresses_them(
    sop_class: str,
) -> None:
    assert accepted(RLE, (sop_class, (EXPLICIT, RLE))) == [EXPLICIT]
    assert accepted(IMPLICIT, (sop_class, (EXPLICIT, IMPLICIT))) == [IMPLICIT]
    syntaxes = [syntax for _, (syntax,) in destination_proposals([(sop_class, EXPLICIT)], RLE)]
    assert syntaxes == [EXPLICIT, IMPLICIT]


@pytest.mark.parametrize("sop_class", [CT_IMAGE, RT_DOSE, PRIVATE])
def test_DEV_1_TS_2_what_may_have_pixels_is_offered_in_the_preferred_syntax(sop_class: str) -> None:
    assert (sop_class, (RLE,)) in destination_proposals([(sop_class, EXPLICIT)], RLE)
