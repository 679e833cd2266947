"""Errors as statuses: normalized services have other ones than C-STORE for the same (PS3.7 10.1.4.1.10)."""

from __future__ import annotations

import pytest

from adapters.dimse.answers import normalized, status_of
from domain.errors import Because, InvalidInput, Refused, Unavailable


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("the database does not answer"), 0x0213),
        (InvalidInput(["this read model does not exist yet"]), 0x0110),
        (ZeroDivisionError(), 0x0110),
        (Refused(Because.DUPLICATE_TRANSACTION_UID, "in use"), 0x0131),
        (Refused(Because.NOT_AUTHORISED, "no"), 0x0124),
    ],
)
def test_C5_4_an_error_is_a_status_that_N_ACTION_has(error: Exception, status: int) -> None:
    assert normalized(status_of(error)[0]) == status
