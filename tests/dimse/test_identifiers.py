"""Deflated identifiers within their limit (B12, D21)."""

from __future__ import annotations

import random
import zlib

import pytest

from adapters.dimse.identifier import IdentifierReader
from domain.errors import Because, Refused
from domain.limits import Limits
from tests.dicom.encoding import DEFLATED, element
from tests.edges import edges

LEVEL = element(0x00080052, "CS", b"STUDY ")
COMMENTS = {
    "many alike": b"x" * 10_000,
    "few alike": b"x" * 20,
    "noise": bytes(random.Random(1).choices(range(0x30, 0x7B), k=10_000)),
    "none": b"",
}


def keys(plain: bytes, maximum: int) -> dict[str, object]:
    squeezed = zlib.compress(plain, 9, wbits=-zlib.MAX_WBITS)
    return {**IdentifierReader(Limits(identifier_max=maximum)).keys(squeezed, DEFLATED)}


@edges
@pytest.mark.parametrize("comments", COMMENTS.values(), ids=COMMENTS)
def test_D21_B12_an_identifier_inflates_to_so_many_bytes_and_no_more(comments: bytes, off: int) -> None:
    plain = LEVEL + element(0x00104000, "LT", comments)
    if off <= 0:
        assert keys(plain, len(plain) - off).keys() == {"00080052", "00104000"}
        return
    with pytest.raises(Refused, match="inflates past the limit") as refused:
        keys(plain, len(plain) - off)
    assert refused.value.because is Because.CANNOT_UNDERSTAND
