"""Bodies as STOW-RS gets them: whole, cut anywhere, lying and hostile (B47, RFC 2046 5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.dicomweb.multipart import MultipartFault, MultipartReader, MultipartWriter, PartBegins, PartBytes, PartEnds
from domain.limits import Limits
from tests.edges import edges

BOUNDARY = "boundary"
Part = tuple[dict[str, str], bytes]


def read(
    pieces: Iterable[bytes], boundary: str = BOUNDARY, limits: Limits | None = None, finish: bool = True
) -> list[Part]:
    reader = MultipartReader(boundary, limits or Limits())
    parts: list[Part] = []
    whole = 0
    # One buffer for all pieces, as they come from a connection: what is behind a piece is of an earlier one.
    pieces = list(pieces)
    buffer = bytearray(max(map(len, pieces), default=0))
    for piece in pieces:
        buffer[: len(piece)] = piece
        for found in reader.feed(buffer, len(piece)):
            match found:
                case PartBegins(fields):
                    parts.append((dict(fields), b""))
                case PartBytes(data):
                    assert data
                    parts[-1] = (parts[-1][0], parts[-1][1] + bytes(data))
                case PartEnds():
                    whole += 1
    if finish:
        reader.finish()
        assert whole == len(parts)
    return parts


def feed_for_ever(reader: MultipartReader, piece: bytes) -> None:
    for _ in range(10_000):
        list(reader.feed(piece))


def cut(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = sorted({min(place, len(body)) for place in cuts} | {0, len(body)})
    return [body[first:last] for first, last in pairwise(places)]


TRICKY = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"boundar", b"--boundary", b"\r\n--boundar", b"x", b"\0", b"-"])
    | st.binary(max_size=40),
    max_size=12,
).map(b"".join)


@given(
    st.lists(st.tuples(st.dictionaries(st.sampled_from(["content-type", "x-a"]), st.just("a/b; c=d")), TRICKY)),
    st.lists(st.integers(0, 2000), max_size=20),
)
def test_what_was_written_is_read_however_it_arrives(parts: list[Part], cuts: list[int]) -> None:
    writer = MultipartWriter()
    body = b"".join(writer.begin(fields) + data for fields, data in parts) + writer.end
    assert read(cut(body, cuts), writer.boundary) == parts


@given(TRICKY, st.lists(st.integers(0, 400), max_size=20))
def test_B47_what_only_resembles_the_delimiter_belongs_to_the_part(data: bytes, cuts: list[int]) -> None:
    assume(not re.search(rb"\r\n--boundary(--|\r\n)", data + b"\r\n"))
    body = b"--boundary\r\n\r\n" + data + b"\r\n--boundary--\r\n"
    assert read(cut(body, cuts)) == [({}, data)]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_B47_any_bytes_at_all_are_read_or_refused(body: bytes, cuts: list[int]) -> None:
    with suppress(MultipartFault):
        assert isinstance(read(cut(body, cuts)), list)


def test_a_preamble_an_epilogue_and_padding_are_passed_over() -> None:
    body = b"preamble --boundary in it\r\n--boundaryX\r\n--boundary \t\r\nA: 1\r\n\r\none\r\n--boundary--\r\nepilogue"
    assert read([body]) == [({"a": "1"}, b"one")]


def test_folded_header_fields_are_joined() -> None:
    body = b"--boundary\r\nContent-Type: application/dicom;\r\n\ttransfer-syntax=1.2\r\n\r\n\r\n--boundary--"
    assert read([body]) == [({"content-type": "application/dicom; transfer-syntax=1.2"}, b"")]


def test_a_nested_multipart_is_the_bytes_of_its_part() -> None:
    inner = b"--boundary2\r\n\r\ninner\r\n--boundary2--"
    assert read([b"--boundary\r\n\r\n" + inner + b"\r\n--boundary--"]) == [({}, inner)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--boundary",
        b"--boundary\r\n",
        b"--boundary\r\n\r\nbytes",
        b"--boundary\r\n\r\nbytes\r\n--boundar",
        b"--boundary\r\n\r\nbytes\r\n--boundary-",
        b"--boundary\n\nbare line feeds\n--boundary--\n",
        b"--boundary\r\nno field\r\n\r\n\r\n--boundary--",
        b"--boundary\r\nA: 1\nB: 2\r\n\r\n\r\n--boundary--",
        b"--boundary\r\nA: 1\r\nA: 2\r\n\r\n\r\n--boundary--",
        b"--boundary\r\nA: \0\r\n\r\n\r\n--boundary--",
    ],
)
def test_B47_cut_and_malformed_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(MultipartFault):
        read([body])
    with pytest.raises(MultipartFault):
        read(cut(body, range(len(body))))


@pytest.mark.parametrize("boundary", ["", " ", "ends with space ", "ü", "a" * 71, "a\r\nb", '"'])
def test_B47_a_boundary_that_is_none_is_refused(boundary: str) -> None:
    with pytest.raises(MultipartFault):
        MultipartReader(boundary, Limits())


def test_B47_endless_header_fields_are_refused_while_they_arrive() -> None:
    reader = MultipartReader(BOUNDARY, Limits())
    list(reader.feed(b"--boundary\r\nA: "))
    with pytest.raises(MultipartFault) as refused:
        feed_for_ever(reader, b"x" * 1024)
    assert refused.value.too_large


def test_B47_an_endless_preamble_is_refused_while_it_arrives() -> None:
    reader = MultipartReader(BOUNDARY, Limits())
    with pytest.raises(MultipartFault):
        feed_for_ever(reader, b"\r\n-boundary" * 100)


def test_B47_a_million_parts_are_refused_at_the_limit() -> None:
    with pytest.raises(MultipartFault) as refused:
        read([b"--boundary\r\n\r\n\r\n" * 1_000] * 1_000, limits=Limits(parts_max=5_000))
    assert refused.value.too_large


def test_the_reader_holds_no_more_than_a_delimiter_of_a_part() -> None:
    reader = MultipartReader(BOUNDARY, Limits())
    list(reader.feed(b"--boundary\r\n\r\n"))
    piece = b"\r\n--boundar" * 10_000
    for _ in range(20):
        given_out = sum(len(found.data) for found in reader.feed(piece) if isinstance(found, PartBytes))
        assert abs(given_out - len(piece)) < 20


@edges
def test_D21_a_body_has_parts_max_parts_and_no_more(off: int) -> None:
    body = b"--boundary\r\n\r\n\r\n" * (5 + off) + b"--boundary--"
    if off <= 0:
        assert read([body], limits=Limits(parts_max=5)) == [({}, b"")] * (5 + off)
        return
    with pytest.raises(MultipartFault, match="parts_max") as refused:
        read([body], limits=Limits(parts_max=5))
    assert refused.value.too_large


@edges
@pytest.mark.parametrize("how", ["whole", "byte by byte"])
def test_D21_the_header_fields_of_a_part_have_so_many_bytes_with_their_line_ends_and_no_more(
    off: int, how: str
) -> None:
    limits = Limits(part_fields_size_max=100)
    value = "x" * (100 + off - len("A: \r\n"))
    body = f"--boundary\r\nA: {value}\r\n\r\nbytes\r\n--boundary--".encode()
    pieces = [body] if how == "whole" else cut(body, range(len(body)))
    if off <= 0:
        assert read(pieces, limits=limits) == [({"a": value}, b"bytes")]
        return
    with pytest.raises(MultipartFault, match="part_fields_size_max") as refused:
        read(pieces, limits=limits)
    assert refused.value.too_large
