"""What the images of a series have in common is read once, and never taken for what only looks like it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dicom.index import Indexer
from domain.limits import Limits
from processes.ports import Header
from tests.dicom.encoding import BIG_ENDIAN, CT_CLASS, EXPLICIT, IMPLICIT, INSTANCE, element, item, minimal, text

NAMES = st.sampled_from((b"Yamada^Tarou", b"\xc3\xa4", b"\xd0\x96", b"A\\B", b""))
SETS = st.sampled_from((b"ISO_IR 192", b"ISO_IR 100", b"ISO_IR 144", b"", None))
DATES = st.sampled_from((b"20240229", b"2024.02.29", b"not a day"))


def read(indexer: Indexer, data: bytes, syntax: str, instance: str = INSTANCE) -> Header:
    return indexer.header(
        data, lambda offset, length: data[offset : offset + length], len(data), syntax, CT_CLASS, instance
    )


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, str]:
    """Data sets that are alike in all but a few values, a character set, a nested one, or the transfer syntax."""
    syntax = draw(st.sampled_from((EXPLICIT, IMPLICIT, BIG_ENDIAN)))
    sets, inner = draw(SETS), draw(SETS)
    code = element(0x00080104, "LO", text(draw(NAMES)), syntax)
    if inner is not None:
        code = element(0x00080005, "CS", text(inner), syntax) + code
    return minimal(
        [
            *([] if sets is None else [(0x00080005, "CS", text(sets))]),
            (0x00080020, "DA", text(draw(DATES))),
            (0x00081032, "SQ", item(code, order=">" if syntax == BIG_ENDIAN else "<")),
            (0x00100010, "PN", text(draw(NAMES))),
        ],
        syntax,
    ), syntax


@settings(max_examples=60)
@given(st.lists(objects(), min_size=2, max_size=8))
def test_what_was_read_before_changes_no_header(sent: list[tuple[bytes, str]]) -> None:
    one = Indexer(Limits())
    for data, syntax in (*sent, *sent):
        assert read(one, data, syntax) == read(Indexer(Limits()), data, syntax)


def test_images_of_one_series_share_what_was_read() -> None:
    indexer = Indexer(Limits())
    headers = [
        read(indexer, minimal([(0x00100010, "PN", b"A^B ")], instance=uid), EXPLICIT, uid) for uid in ("1.2.5", "1.2.6")
    ]
    assert headers[0].particulars is headers[1].particulars


def test_a_warning_is_given_again_with_every_object() -> None:
    indexer = Indexer(Limits())
    data = minimal([(0x00080020, "DA", b"nonsense")])
    assert read(indexer, data, EXPLICIT).warnings == read(indexer, data, EXPLICIT).warnings
    assert any("StudyDate" in warning for warning in read(indexer, data, EXPLICIT).warnings)
