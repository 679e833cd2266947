"""Which syntax an object is sent in (TS-3, C3.9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.transcoding import (
    BIG_ENDIAN,
    ENCODED_LOSSY,
    EXPLICIT,
    IMPLICIT,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    LOSSY,
    RLE,
    can,
    sending_order,
    web_order,
)

MPEG = "1.2.840.10008.1.2.4.102"
SYNTAXES = st.sampled_from(sorted({EXPLICIT, IMPLICIT, RLE, JPEG_2000_LOSSLESS, MPEG, *LOSSY}))


@given(SYNTAXES, st.one_of(st.just(""), SYNTAXES), st.sets(SYNTAXES))
def test_TS_3_the_preferred_is_first_then_the_stored_and_loss_only_where_preferred(
    stored: str, preferred: str, accepted: set[str]
) -> None:
    order = sending_order(stored, preferred, accepted)
    assert set(order) <= accepted
    assert all(can(stored, syntax) for syntax in order)
    if preferred in accepted and can(stored, preferred):
        assert order[0] == preferred
    elif stored in accepted:
        assert order[0] == stored
    assert not set(order) & ENCODED_LOSSY - {preferred, stored}


def test_TS_3_never_lossy_from_lossy_and_what_no_codec_reads_goes_as_it_is() -> None:
    assert sending_order(JPEG_BASELINE, "1.2.840.10008.1.2.4.91", {JPEG_BASELINE, "1.2.840.10008.1.2.4.91"}) == [
        JPEG_BASELINE
    ]
    assert sending_order(MPEG, RLE, {MPEG, RLE, EXPLICIT}) == [MPEG]
    assert sending_order(RLE, "", {IMPLICIT, EXPLICIT}) == [EXPLICIT, IMPLICIT]


@pytest.mark.parametrize(
    ("stored", "asked", "order"),
    [
        (IMPLICIT, [("", 1.0)], [EXPLICIT]),
        (RLE, [("", 1.0)], [EXPLICIT, RLE]),
        (MPEG, [("", 1.0)], [MPEG]),
        (RLE, [("*", 1.0)], [RLE]),
        (BIG_ENDIAN, [("*", 1.0)], [EXPLICIT]),
        (RLE, [(IMPLICIT, 1.0), (BIG_ENDIAN, 1.0), ("1.2.3", 1.0)], []),
        (RLE, [(JPEG_2000_LOSSLESS, 1.0), (RLE, 1.0)], [RLE, JPEG_2000_LOSSLESS]),
        (RLE, [(JPEG_2000_LOSSLESS, 1.0), (RLE, 0.5)], [JPEG_2000_LOSSLESS, RLE]),
        (RLE, [("", 0.9), (JPEG_2000_LOSSLESS, 0.1)], [EXPLICIT, JPEG_2000_LOSSLESS, RLE]),
        (MPEG, [(EXPLICIT, 1.0)], []),
    ],
)
def test_C7_5_what_is_tried_for_a_web_client(stored: str, asked: list[tuple[str, float]], order: list[str]) -> None:
    """PS3.18 8.7.3, 8.7.8.2."""
    assert web_order(stored, asked) == order
