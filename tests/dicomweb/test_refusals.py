"""Each refusal has one DIMSE status and one HTTP code: a walk over all of them."""

from __future__ import annotations

import pytest

from adapters.dimse import answers
from api import problems
from domain.errors import Because, InvalidInput, Refused, Unavailable

EXPECTED = {
    Because.OUT_OF_RESOURCES: (0xA700, 503),
    Because.CANNOT_COUNT_MATCHES: (0xA701, 413),
    Because.CANNOT_PERFORM_SUB_OPERATIONS: (0xA702, 503),
    Because.MOVE_DESTINATION_UNKNOWN: (0xA801, 404),
    Because.IDENTIFIER_DOES_NOT_MATCH: (0xA900, 400),
    Because.CANNOT_UNDERSTAND: (0xC000, 400),
    Because.TRANSFER_SYNTAX_NOT_SUPPORTED: (0xC122, 415),
    Because.SOP_CLASS_NOT_SUPPORTED: (0x0122, 409),
    Because.NOT_AUTHORISED: (0x0124, 403),
    Because.INVALID_UID: (0x0117, 400),
    Because.INVALID_ARGUMENT: (0x0115, 400),
    Because.NO_SUCH_OBJECT_INSTANCE: (0x0112, 404),
    Because.NO_SUCH_ACTION: (0x0123, 400),
    Because.DUPLICATE_TRANSACTION_UID: (0x0131, 409),
}


@pytest.mark.parametrize("because", Because)
def test_each_refusal_is_one_DIMSE_status_and_one_HTTP_code(because: Because) -> None:
    refused = Refused(because, "so it is\\\n")
    status, code = EXPECTED[because]
    assert answers.status_of(refused) == (status, "so it is??")
    answer = problems.answer(refused)
    assert answer.status_code == code
    assert answer.headers["Content-Type"] == problems.MEDIA_TYPE
    assert ("Retry-After" in answer.headers) == (code == 503)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unavailable("away"), 0xA700, 503),
        (InvalidInput(["a", "b"]), 0xA900, 400),
        (RuntimeError("DOE^JOHN"), 0xC000, 500),
    ],
)
def test_each_other_failure_too_and_what_nobody_foresaw_says_nothing_of_its_inside(
    error: Exception, status: int, code: int
) -> None:
    assert answers.status_of(error)[0] == status
    answer = problems.answer(error)
    assert answer.status_code == code
    assert "DOE" not in answers.status_of(error)[1] + bytes(answer.body).decode()
