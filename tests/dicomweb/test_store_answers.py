"""What became of the parts of a store request, as one status and one module (C7.11; PS3.18 10.5.3, Annex I)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.dicomweb.model_types import JSON
from api.dicomweb.store_answer import DATA_SET_DOES_NOT_MATCH_SOP_CLASS, Outcome, failed, store_answer
from api.problems import HttpRefusal
from domain.errors import Because, Refused, TooLarge, Unavailable

STORED = Outcome("1.2", "1.2.3", "1.4", "1.5")
WARNED = Outcome("1.2", "1.2.3", "1.4", "1.5", warning_reason=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
_REFUSALS: list[tuple[Exception, int, int]] = [
    (TooLarge("x"), 0xA700, 413),
    (Refused(Because.OUT_OF_RESOURCES, "x"), 0xA700, 507),
    (Unavailable("x"), 0xA700, 503),
    (Refused(Because.IDENTIFIER_DOES_NOT_MATCH, "x"), 0xA900, 409),
    (Refused(Because.CANNOT_UNDERSTAND, "x"), 0xC000, 400),
    (HttpRefusal(415, "x"), 0xC000, 415),
    (Refused(Because.TRANSFER_SYNTAX_NOT_SUPPORTED, "x"), 0xC122, 415),
    (Refused(Because.SOP_CLASS_NOT_SUPPORTED, "x"), 0x0122, 409),
    (RuntimeError("DOE^JOHN"), 0x0110, 500),
]


def _answered(*outcomes: Outcome) -> tuple[int, dict[str, Any], str]:
    answer = store_answer(outcomes, "http://pacs/dicom-web", JSON, in_parts=False)
    return answer.status_code, json.loads(bytes(answer.body)), answer.headers.get("warning", "")


@pytest.mark.parametrize(("error", "reason", "status"), _REFUSALS)
def test_C7_11_each_failure_has_its_reason_and_the_code_of_a_request_that_only_has_it(
    error: Exception, reason: int, status: int
) -> None:
    """Table I.2-2; Table 10.5.3-1, 8.5. Beside one that is stored it is 202."""
    named = failed(error, "1.2", "1.2.9")
    code, module, warning = _answered(named, named)
    assert code == status
    assert module["00081198"]["Value"] == 2 * [
        {
            "00081150": {"vr": "UI", "Value": ["1.2"]},
            "00081155": {"vr": "UI", "Value": ["1.2.9"]},
            "00081197": {"vr": "US", "Value": [reason]},
        }
    ]
    assert warning.startswith(f"299 http://pacs/dicom-web: {reason:04X} ")
    assert warning.count("299 ") == 1, "10.5.3.2: each reason once"
    assert "DOE" not in warning
    code, module, _ = _answered(STORED, failed(error))
    assert code == 202
    assert module["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [reason]}}]


def test_C7_11_all_stored_is_200_with_a_warning_202_and_a_mixture_of_reasons_409() -> None:
    """Table 10.5.3-1; Table I.1-1: a Retrieve URL of the study where it is one, and of each instance."""
    url = "http://pacs/dicom-web/studies/1.4"
    code, module, warning = _answered(STORED, STORED)
    assert (code, warning, module["00081190"]) == (200, "", {"vr": "UR", "Value": [url]})
    assert module["00081199"]["Value"][0]["00081190"]["Value"] == [f"{url}/series/1.5/instances/1.2.3"]
    assert not {"00081198", "0008119A"} & module.keys()
    code, module, _ = _answered(STORED, WARNED)
    assert (code, module["00081199"]["Value"][1]["00081196"]["Value"]) == (202, [45063])
    refused = [failed(error) for error, *_ in _REFUSALS]
    code, module, _ = _answered(*refused)
    assert (code, module["00081190"], len(module["0008119A"]["Value"])) == (409, {"vr": "UR"}, len(refused))
    other = Outcome("1.2", "1.2.3", "1.9", "1.5")
    assert _answered(STORED, other)[1]["00081190"] == {"vr": "UR"}, "of two studies"


def test_C7_11_the_answer_names_what_the_request_held_and_what_was_made_of_it() -> None:
    """10.5.3.2: "Shall be present if a new resource was created", both.

    Content-Location: "The value is the URL of the representation contained in the request payload"; Location: "The
    value is the URL of the created resource."
    """
    study = "http://pacs/dicom-web/studies/1.4"

    def places(*outcomes: Outcome) -> tuple[str | None, str | None]:
        headers = store_answer(outcomes, "http://pacs/dicom-web", JSON, in_parts=False).headers
        return headers.get("content-location"), headers.get("location")

    assert places(STORED) == (f"{study}/series/1.5/instances/1.2.3", study)
    assert places(STORED, failed(Unavailable("x"))) == (f"{study}/series/1.5/instances/1.2.3", study)
    assert places(STORED, WARNED) == (study, study)
    assert places(STORED, Outcome("1.2", "1.2.3", "1.9", "1.5")) == (None, None), "of two studies: none is the one"
    assert places(failed(Unavailable("x"))) == (None, None)
