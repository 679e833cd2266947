"""What a storage commitment request names and how it is answered, without a server (C5.5, C5.9; PS3.18 Annex J)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.dicomweb.commitment_modules import read_data_set, references, response_module
from api.dicomweb.model_types import JSON, XML
from api.dicomweb.native_xml import native_xml
from domain.commitment import Commitment, CommitmentRequested, checked, placed
from domain.errors import Because, Refused
from domain.limits import Limits

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
LIMITS = Limits(commitment_references_max=4)


def sequence(*items: dict[str, Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(items)}


def ui(uid: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [uid]}


def sop(uid: str, sop_class: str = CT) -> dict[str, Any]:
    return {"00081150": ui(sop_class), "00081155": ui(uid)}


def study(uid: str, series: str, *instances: str, sop_class: str = CT) -> dict[str, Any]:
    of_class = {"00081150": ui(sop_class), "0008114A": sequence(*({"00081155": ui(one)} for one in instances))}
    return {"0020000D": ui(uid), "00081115": sequence({"0020000E": ui(series), "00081112": sequence(of_class)})}


def asked(request: Any, media_type: str = JSON) -> CommitmentRequested:
    document = native_xml(request) if media_type == XML else json.dumps(request).encode()
    named = list(references(read_data_set(document, media_type, LIMITS)))
    return CommitmentRequested(
        "1.2.9", "", "", checked("1.2.9", ((r.sop_class_uid, r.sop_instance_uid) for r in named), LIMITS), placed(named)
    )


BOTH = {
    "00081195": ui("1.2.3.99"),
    "00081199": sequence(sop("1.1"), sop("1.2", MR)),
    "00081110": sequence(study("5", "5.1", "1.3", "1.4")),
}


@pytest.mark.parametrize("media_type", [JSON, XML])
def test_C5_9_both_sequences_are_read_and_each_is_answered_as_it_was_asked_for(media_type: str) -> None:
    """J.2-1: "Required if the request payload contained the Referenced SOP Sequence (0008,1199), and there is at least
    one SOP Instance in that supplied sequence for which storage has been committed", and so for each of the four.

    13.4.1.1: "the Transaction UID is not encoded in the response".
    """
    request = asked(BOTH, media_type)
    assert dict(request.references) == {"1.1": CT, "1.2": MR, "1.3": CT, "1.4": CT}
    assert response_module(Commitment(request, {})) == {
        "00081110": sequence(study("5", "5.1", "1.3", "1.4")),
        "00081199": sequence(sop("1.1"), sop("1.2", MR)),
    }
    reason = {"00081197": {"vr": "US", "Value": [0x0112]}}
    failed_study = study("5", "5.1")
    failed_study["00081115"]["Value"][0]["00081112"]["Value"][0]["0008114A"] = sequence(
        {"00081155": ui("1.4"), **reason}
    )
    assert response_module(Commitment(request, {"1.2": 0x0112, "1.4": 0x0112})) == {
        "00081110": sequence(study("5", "5.1", "1.3")),
        "0008119B": sequence(failed_study),
        "00081198": sequence({**sop("1.2", MR), **reason}),
        "00081199": sequence(sop("1.1")),
    }
    assert set(response_module(Commitment(request, dict.fromkeys(request.references, 0x0213)))) == {
        "00081198",
        "0008119B",
    }


def test_C5_9_a_study_of_several_series_and_classes_is_put_together_again() -> None:
    several = study("5", "5.1", "1.1")
    several["00081115"]["Value"] += study("5", "5.2", "1.2", sop_class=MR)["00081115"]["Value"]
    series = several["00081115"]["Value"][0]
    series["00081112"]["Value"] += study("5", "5.1", "1.3", sop_class=MR)["00081115"]["Value"][0]["00081112"]["Value"]
    request = {"00081110": sequence(several, study("6", "6.1", "1.4"))}
    assert response_module(Commitment(asked(request), {})) == request


def test_an_instance_that_is_named_twice_alike_is_answered_once() -> None:
    request = asked({"00081199": sequence(sop("1.1"), sop("1.1"))})
    assert response_module(Commitment(request, {})) == {"00081199": sequence(sop("1.1"))}


@pytest.mark.parametrize(
    ("request_body", "said"),
    [
        ({}, "no instance"),
        ([], "not one data set"),
        ([{}, {}], "not one data set"),
        ("x", "not one data set"),
        (None, "not one data set"),
        ({"00081195": ui("1.2.9")}, "no instance"),
        ({"00081199": sequence()}, "no instance"),
        ({"00081199": {"vr": "SQ"}}, "no instance"),
        ({"00081199": []}, "no element"),
        ({"00081199": {"vr": "SQ", "Value": "1.2"}}, "no element"),
        ({"00081199": {"vr": "SQ", "Value": [None]}}, "no sequence"),
        ({"00081199": sequence({})}, "lacks"),
        ({"00081199": sequence({"00081155": ui("1.1")})}, "lacks"),
        ({"00081199": sequence({"00081150": ui(CT), "00081155": {"vr": "UI", "Value": ["1.1", "1.2"]}})}, "lacks"),
        ({"00081199": sequence({"00081150": ui(CT), "00081155": {"vr": "UI", "Value": [7]}})}, "lacks"),
        ({"00081199": sequence(sop("../../x"))}, "referenced UID"),
        ({"00081199": sequence(sop("1.1"), sop("1.1", MR))}, "two SOP classes"),
        ({"00081199": sequence(*(sop(f"1.{n}") for n in range(5)))}, "more than 4"),
        ({"00081110": sequence({"0020000D": ui("5")})}, "name each of its instances"),
        ({"00081110": sequence(study("5", "5.1"))}, "name each of its instances"),
        ({"00081110": sequence(study("x", "5.1", "1.1"))}, "study or series"),
        ({"00081110": sequence(study("5", "", "1.1"))}, "lacks"),
        ({"00081110": sequence(study("5", "5.1", "1.1"), study("6", "5.1", "1.1"))}, "two places"),
        ({"00081199": sequence(sop("1.1")), "00081110": sequence(study("5", "5.1", "1.1"))}, "two places"),
    ],
)
def test_C5_5_C5_9_what_names_nothing_or_is_no_request_is_refused_and_never_means_all(
    request_body: Any, said: str
) -> None:
    with pytest.raises(Refused, match=said) as refused:
        asked(request_body)
    assert refused.value.because in (Because.INVALID_ARGUMENT, Because.CANNOT_UNDERSTAND)


@pytest.mark.parametrize(
    ("document", "media_type"), [(b"", JSON), (b"{", JSON), (b"\xff", JSON), (b"", XML), (b"<a/>", XML)]
)
def test_C5_9_garbage_is_refused(document: bytes, media_type: str) -> None:
    with pytest.raises(Refused):
        read_data_set(document, media_type, LIMITS)
