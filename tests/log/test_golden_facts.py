"""Every fact that was ever stored stays readable: one stored example of each stands in ``golden/`` for ever."""

from __future__ import annotations

import dataclasses
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.log.codec import Codec, UnknownFact, UnreadableFact
from annals.compose import FACTS
from domain.device import DeviceAdded
from domain.event import Actor, Envelope, Event

GOLDEN = Path(__file__).parent / "golden"
CODEC = Codec(FACTS)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.NAME)
def test_the_stored_example_of_a_fact_is_read_and_written_the_same(fact: type[Event]) -> None:
    stored = (GOLDEN / f"{fact.NAME}.json").read_bytes().strip()
    event, envelope = CODEC.decode(fact.NAME, stored)
    assert type(event) is fact
    assert CODEC.encode(event, envelope) == stored


@pytest.mark.parametrize("path", sorted((GOLDEN / "older").glob("*.json")), ids=lambda path: path.stem)
def test_a_form_of_an_older_program_is_read_and_what_it_lacks_takes_its_default(path: Path) -> None:
    event, _ = CODEC.decode(path.stem, path.read_bytes().strip())
    said = orjson.loads(path.read_bytes())["fact"]
    assert said == {name: getattr(event, name) for name in said}
    lacking = [field for field in dataclasses.fields(event) if field.name not in said]
    assert lacking
    assert all(getattr(event, field.name) == field.default for field in lacking)


def test_no_stored_example_is_without_its_fact() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {fact.NAME for fact in FACTS}


def _value(hint: Any) -> st.SearchStrategy[Any]:
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{field.name: _value(hints[field.name]) for field in dataclasses.fields(hint)})
    if hint is str:
        return TEXT
    if hint is int:
        return st.integers(0, 2**53)
    if hint is bool:
        return st.booleans()
    if get_origin(hint) is tuple:
        return st.lists(TEXT, max_size=3).map(tuple)
    return st.dictionaries(st.text(string.hexdigits, min_size=1, max_size=8), JSON, max_size=3)


@given(st.sampled_from(FACTS).flatmap(_value), TEXT, TEXT)
def test_D3_any_fact_comes_back_as_it_was(event: Event, cause: str, name: str) -> None:
    envelope = Envelope(datetime(2026, 1, 2, 3, 4, 5, 678000, UTC), Actor("device", name, "::1"), cause, "", "id")
    state = CODEC.encode(event, envelope)
    assert CODEC.decode(event.NAME, state) == (event, envelope)
    assert CODEC.encode(*CODEC.decode(event.NAME, state)) == state


def test_an_unknown_fact_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UnknownFact, match="use a newer one"):
        CODEC.decode(
            "NotYetKnown",
            b'{"at":"2026-01-01T00:00:00Z","by":["a","b","c"],"cause":"","command":"","fact":{},"reason":""}',
        )


@pytest.mark.parametrize("state", [b"", b"{", b"[]", b"{}", b"\xff", b"null"])
def test_a_stored_form_that_is_broken_is_an_error_of_its_own(state: bytes) -> None:
    with pytest.raises(UnreadableFact, match="DeviceAdded"):
        CODEC.decode("DeviceAdded", state)


def test_a_fact_without_a_field_that_has_no_default_is_an_error_of_its_own() -> None:
    stored = orjson.loads((GOLDEN / "DeviceAdded.json").read_bytes())
    del stored["fact"]["host"]
    with pytest.raises(UnreadableFact):
        CODEC.decode("DeviceAdded", orjson.dumps(stored))
    stored = orjson.loads((GOLDEN / "DeviceAdded.json").read_bytes())
    del stored["fact"]["description"]
    event, _ = CODEC.decode("DeviceAdded", orjson.dumps(stored))
    assert event.description == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_a_text_that_is_no_unicode_never_reaches_the_log(text: str) -> None:
    with pytest.raises(TypeError):
        CODEC.encode(DeviceAdded("AE", text, 1, ""), Envelope(datetime.now(UTC), Actor("user", "u")))


def test_a_field_of_a_newer_program_is_passed_over_and_a_missing_one_takes_its_default() -> None:
    stored = orjson.loads((GOLDEN / "DeviceAdded.json").read_bytes())
    stored["fact"]["of_tomorrow"] = 1
    event, _ = CODEC.decode("DeviceAdded", orjson.dumps(stored))
    assert event == CODEC.decode("DeviceAdded", (GOLDEN / "DeviceAdded.json").read_bytes())[0]
