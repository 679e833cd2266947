"""What a licence file may be, and what this installation is allowed by it (B58, LIC-1, LIC-2)."""

from __future__ import annotations

import base64
import json
import random
import re
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import licence
from domain.errors import InvalidInput
from domain.licence import OPEN, TRIAL, Allowed, Installation, InstallationNamed, Licence, LicenceInstalled
from domain.limits import Limits
from tests.edges import edges

LIMITS = Limits()
CODE = "0123A-BCDEF-GHJKM-NPQRS-TVWXY"
NOW = datetime(2026, 2, 1, tzinfo=UTC)
SIGNATURE = base64.b64encode(bytes(64)).decode()
LICENCE = Licence(CODE, 5, "2027-01-31", "2026-01-31T12:00:00Z")
NAMED = Installation(CODE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def document(**changes: Any) -> dict[str, Any]:
    return {"licence": {"format": licence.FORMAT, **asdict(LICENCE), **changes}, "signature": SIGNATURE}


def faults_of(content: bytes) -> str:
    with pytest.raises(InvalidInput) as refused:
        licence.read(content, LIMITS)
    return "\n".join(refused.value.faults)


def test_LIC_1_what_a_licence_says_is_read_and_what_is_signed_does_not_depend_on_its_white_space() -> None:
    said = document()
    backwards = {name: said["licence"][name] for name in reversed(said["licence"])}
    for text in (json.dumps(said), json.dumps({"signature": SIGNATURE, "licence": backwards}, indent=4)):
        read = licence.read(text.encode(), LIMITS)
        assert read.licence == LICENCE
        assert read.message == (
            b'{"clients_max":5,"end_of_support":"2027-01-31","format":"annals-licence-1",'
            b'"issued_at":"2026-01-31T12:00:00Z","product_code":"0123A-BCDEF-GHJKM-NPQRS-TVWXY"}'
        )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not the JSON document"),
        (b"\xff\xfe\x00", "not the JSON document"),
        (b"[" * 60_000, "not the JSON document"),
        (b'{"a":' * 12_000, "not the JSON document"),
        (b"1" * 60_000, "not the JSON document"),
        (b'{"licence": NaN, "signature": ""}', "not the JSON document"),
        (b'{"licence": {}, "licence": {}, "signature": ""}', "not the JSON document"),
        (b"[]", "the file must hold licence, signature, and nothing else"),
        (b"{}", "the file must hold licence, signature, and nothing else"),
        (b'{"licence": [], "signature": ""}', "'licence' must hold format, product_code"),
        (b" " * (64 * 1024) + b"x", "more than 65536 bytes"),
        (json.dumps({**document(), "more": 1}).encode(), "nothing else"),
        (json.dumps(document(more=1)).encode(), "nothing else"),
        (json.dumps({**document(), "signature": [1]}).encode(), "no Ed25519 signature"),
        (json.dumps({**document(), "signature": "é"}).encode(), "no Ed25519 signature"),
        (json.dumps({**document(), "signature": SIGNATURE[:-4]}).encode(), "no Ed25519 signature"),
    ],
    ids=range(16),
)
def test_B58_garbage_is_refused_with_what_is_wrong(content: bytes, fault: str) -> None:
    assert fault in faults_of(content)


@edges
def test_D21_a_licence_file_has_so_many_bytes_and_no_more(off: int) -> None:
    content = json.dumps(document()).encode().ljust(LIMITS.licence_file_max + off)
    if off <= 0:
        assert licence.read(content, LIMITS).licence == LICENCE
    else:
        assert f"more than {LIMITS.licence_file_max} bytes" in faults_of(content)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("product_code", "../../etc/passwd"),
        ("product_code", CODE + "\n"),
        ("product_code", CODE.lower()),
        ("product_code", [CODE]),
        ("format", "../annals-licence-1"),
        ("format", None),
        ("clients_max", True),
        ("clients_max", 0),
        ("clients_max", 10**400),
        ("clients_max", "5"),
        ("clients_max", 5.0),
        ("end_of_support", "../2027-01-31"),
        ("end_of_support", "2027-02-30"),
        ("end_of_support", "２027-01-31"),
        ("issued_at", "2026-01-31T12:00:00+02:00"),
        ("issued_at", "2026-01-31T25:00:00Z"),
        ("issued_at", 0),
    ],
)
def test_B58_a_field_that_is_not_of_its_form_is_refused_by_name(field: str, value: object) -> None:
    assert f"licence: {field} is" in faults_of(json.dumps(document(**{field: value})).encode())


def test_B58_all_faults_are_told_at_once() -> None:
    said = {**document(product_code="../", clients_max=-1, end_of_support="", issued_at=""), "signature": ""}
    assert faults_of(json.dumps(said).encode()).count("\n") == 4


@given(st.binary(max_size=300) | JSON.map(lambda said: json.dumps(said).encode()))
def test_B58_whatever_the_bytes_they_are_refused_as_invalid_input(content: bytes) -> None:
    with pytest.raises(InvalidInput):
        licence.read(content, LIMITS)


@given(st.sampled_from([*asdict(LICENCE), "format"]), JSON)
def test_B58_whatever_a_field_holds_it_is_refused_or_has_its_form(field: str, value: Any) -> None:
    content = json.dumps(document(**{field: value})).encode()
    try:
        read = licence.read(content, LIMITS).licence
    except InvalidInput:
        return
    assert asdict(read) == {**asdict(LICENCE), **({} if field == "format" else {field: value})}
    assert re.fullmatch(r"[0-9A-Z-]{29}", read.product_code)
    assert not re.search(r"[^0-9A-Z:-]", read.end_of_support + read.issued_at)


@given(
    st.integers(1, 1_000_000),
    st.dates().map(date.isoformat),
    st.datetimes().map(lambda at: at.replace(microsecond=0).isoformat() + "Z"),
    st.lists(st.integers(0, 31), min_size=25, max_size=40).map(licence.product_code),
)
def test_LIC_1_every_licence_that_a_vendor_may_make_is_read_as_it_is(
    clients_max: int, end_of_support: str, issued_at: str, code: str
) -> None:
    made = Licence(code, clients_max, end_of_support, issued_at)
    said = {"licence": {"format": licence.FORMAT, **asdict(made)}, "signature": SIGNATURE}
    read = licence.read(json.dumps(said).encode(), LIMITS)
    assert read.licence == made
    assert json.loads(read.message) == said["licence"]


def test_LIC_1_an_installation_is_named_once_and_a_newer_licence_replaces_an_older_one() -> None:
    assert licence.name(Installation(), CODE) == [InstallationNamed(CODE)]
    assert licence.name(NAMED, "another") == []
    (installed,) = licence.install(NAMED, LICENCE, "{}", NOW)
    assert installed == LicenceInstalled(CODE, 5, "2027-01-31", "2026-01-31T12:00:00Z", "{}")
    known = licence.fold([InstallationNamed(CODE), installed])
    assert known == Installation(CODE, installed)
    assert licence.install(known, LICENCE, "{ }", NOW) == [], "the same again"
    newer = replace(LICENCE, issued_at="2026-01-31T12:00:01Z", clients_max=1)
    assert licence.install(known, newer, "{}", NOW)
    for older in (replace(LICENCE, issued_at="2026-01-31T11:59:59Z"), replace(LICENCE, clients_max=9)):
        with pytest.raises(InvalidInput, match="not newer than the one in use, issued at 2026-01-31T12:00:00Z"):
            licence.install(known, older, "{}", NOW)


def test_B58_a_licence_for_another_installation_or_of_the_future_is_refused() -> None:
    other = replace(LICENCE, product_code=CODE[::-1], issued_at="2026-02-03T00:00:00Z")
    with pytest.raises(InvalidInput) as refused:
        licence.install(NAMED, other, "{}", NOW)
    assert [re.sub(":.*", "", fault[9:]) for fault in refused.value.faults] == [
        f"is for another product code than {CODE}",
        "is issued in the future",
    ]


def test_LIC_1_a_trial_has_2_clients_and_100_studies_and_what_exists_stays() -> None:
    assert licence.allowed(None) == TRIAL == Allowed(2, 100)
    assert licence.allowed(LICENCE) == Allowed(5, None)
    assert [licence.may_begin_study(TRIAL, studies) for studies in (0, 99, 100, 101)] == [True, True, False, False]
    assert licence.may_begin_study(OPEN, 10**9)
    assert (licence.least(None, None), licence.least(None, 2), licence.least(3, 2)) == (None, 2, 2)


def test_LIC_1_support_lasts_to_the_end_of_its_day() -> None:
    assert licence.is_supported(LICENCE, date(2027, 1, 31))
    assert not licence.is_supported(LICENCE, date(2027, 2, 1))


def test_LIC_1_product_codes_differ_and_have_no_letter_that_is_taken_for_another() -> None:
    draw = random.Random(1)
    codes = {licence.product_code(draw.randrange(32) for _ in range(40)) for _ in range(100)}
    assert len(codes) == 100
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{5}", code) for code in codes)


def test_LIC_2_a_vendor_key_is_read_in_PEM_and_as_the_base64_inside_it() -> None:
    inside = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + bytes(range(32))).decode()
    for text in (inside, f"-----BEGIN PUBLIC KEY-----\n{inside}\n-----END PUBLIC KEY-----\n"):
        assert licence.vendor_key(text) == bytes(range(32))


@given(st.text() | st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode()))
def test_LIC_2_whatever_else_is_named_as_a_vendor_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no Ed25519 public key"):
        licence.vendor_key(text)
