"""What an Accept header means (C7.5, PS3.18 8.7, RFC 9110 12.5.1)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dicomweb.media_types import accepted, media_type
from api.dicomweb.rendering_parameters import media_types_of
from domain.errors import InvalidInput


@pytest.mark.parametrize(
    "text",
    [
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.90',
        "multipart/related;type=application/dicom;transfer-syntax=1.2.840.10008.1.2.4.90",
        'Multipart/Related; TYPE="application/dicom"; Transfer-Syntax="1.2.840.10008.1.2.4.90";',
    ],
)
def test_C7_5_parameters_are_read_quoted_and_unquoted(text: str) -> None:
    """PS3.18 8.7: a value is a token or quoted, and both are equal."""
    (one,) = accepted([text])
    assert one.name == "multipart/related"
    assert one.part_type == "application/dicom"
    assert one.parameters["transfer-syntax"] == "1.2.840.10008.1.2.4.90"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("application/dicom json", "application/dicom+json"),
        ("application/dicom+json", "application/dicom+json"),
        ('multipart/related; type="application/dicom xml"', "application/dicom+xml"),
    ],
)
def test_C7_5_a_plus_sign_of_the_query_parameter_need_not_be_escaped(text: str, name: str) -> None:
    """8.3.3.1: ?accept=application/dicom+json; RFC 3986 3.4 allows it so, forms read it as a blank."""
    (one,) = accepted(["text/html"], [text])
    assert name in (one.name, one.part_type)


def test_C7_5_the_most_wanted_comes_first_and_zero_is_refused() -> None:
    """RFC 9110 12.4.2, 12.5.1."""
    ranges = accepted(["image/png;q=0.2, image/jpeg", "text/html;q=0, */*; q=0.1"])
    assert [one.name for one in ranges] == ["image/jpeg", "image/png", "*/*"]


@pytest.mark.parametrize(
    ("accept", "name", "is_taken"),
    [
        ("application/dicom+json;q=0, */*", "application/dicom+json", False),
        ("*/*;q=0.1, application/dicom+json;q=0", "application/dicom+json", False),
        ("application/dicom+json;q=0, */*", "multipart/related", True),
        ("image/*;q=0, */*", "image/png", False),
        ("image/png;q=0, image/*", "image/png", False),
        ("image/png;q=0, image/*", "image/jpeg", True),
        ("*/*;q=0, image/png", "image/png", True),
        ("image/*;q=0, image/png", "image/png", True),
        ('multipart/related;type="text/html";q=0, */*', "multipart/related", True),
    ],
)
def test_C7_5_what_has_no_weight_is_not_taken_by_a_wider_range_either(accept: str, name: str, is_taken: bool) -> None:
    """RFC 9110 12.4.2: "not acceptable"; 12.5.1: the most specific reference has precedence."""
    assert any(one.covers(name) for one in accepted([accept])) == is_taken


def test_C7_5_C7_10_what_is_rendered_is_never_what_has_no_weight() -> None:
    """RFC 9110 12.4.2; PS3.18 8.7.5."""
    assert media_types_of(accepted(["image/jpeg;q=0, image/*, */*;q=0.1"]))[:3] == (
        "image/png",
        "image/gif",
        "image/jp2",
    )
    assert "image/jpeg" not in media_types_of(accepted(["image/jpeg;q=0, image/*, */*;q=0.1"]))
    assert media_types_of(accepted(["image/*, multipart/related;type=image/png"])) == ("image/*", "image/png")


def test_C7_5_the_query_parameter_takes_the_headers_place() -> None:
    """PS3.18 8.3.3.1."""
    assert [one.name for one in accepted(["image/png"], ["image/jpeg"])] == ["image/jpeg"]


def test_C7_5_nothing_asked_for_is_everything() -> None:
    """RFC 9110 12.5.1."""
    assert [one.name for one in accepted([""], [])] == ["*/*"]


@pytest.mark.parametrize(
    "text", ["dicom", "a/b;q=x", "a/b;q=2", "a/b;q=nan", "a/b c", 'a/b;x="', "a/b;x=1;x=2", "a/b;x"]
)
def test_C7_5_what_is_no_media_type_is_refused(text: str) -> None:
    """RFC 9110 8.3.1."""
    with pytest.raises(InvalidInput):
        accepted([text])


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        assert accepted([text]) or "q=0" in text
    with suppress(InvalidInput):
        assert "/" in media_type(text).name
