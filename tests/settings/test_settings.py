"""Settings: precedence, and all faults at once with the key and the reason (B68, CLI)."""

from dataclasses import fields
from pathlib import Path

import pytest

from annals.options import settings_of
from annals.settings import load
from domain.errors import InvalidInput
from domain.limits import Limits
from tests.licence.vendor import Vendor

VENDOR = Vendor()


def test_defaults_need_nothing() -> None:
    settings, warnings = load(None, {})
    assert (settings.dimse.store_port, settings.dimse.ae_title, settings.http.port) == (3000, "ANNALS", 8000)
    assert settings.dimse.accept_any
    assert not settings.storage.overwrite_image
    assert not settings.transcoding.lossy_as_derived
    assert warnings == ()


def test_environment_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "annals.toml"
    file.write_text("[dimse]\nstore_port = 4000\nae_title = 'FILE'\n[limits]\npdu_max = 65536\n")
    settings, _ = load(file, {"ANNALS_DIMSE__AE_TITLE": "ENVIRONMENT"})
    assert settings.dimse.store_port == 4000
    assert settings.dimse.ae_title == "ENVIRONMENT"
    assert settings.as_limits().pdu_max == 65536


def test_B68_every_fault_is_named_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "annals.toml"
    file.write_text(
        "[dimse]\nstore_port = 70000\nae_title = 'a title that is too long'\nsore_port = 1\n[limts]\nx = 1\n"
    )
    with pytest.raises(InvalidInput) as refused:
        load(file, {"ANNALS_HTTP__PORT": "many", "ANNALS_LIMITS__PDU_MAX": "0", "ANNALS_DIMS__STORE_PORT": "1"})
    faults = "\n".join(refused.value.faults)
    for key in (
        "dimse.store_port",
        "dimse.ae_title",
        "dimse.sore_port",
        "limts",
        "ANNALS_HTTP__PORT",
        "ANNALS_LIMITS__PDU_MAX",
        "ANNALS_DIMS__STORE_PORT",
    ):
        assert key in faults
    assert len(refused.value.faults) == 7


def test_B68_a_fault_of_the_file_names_its_line_and_one_of_the_environment_its_variable(tmp_path: Path) -> None:
    file = tmp_path / "annals.toml"
    file.write_text(
        "# ours\n\n[dimse]\nae_title = 'ANNALS'\nstore_port = 70000\n"
        "accept_any_rights = [\n  'UPLOAD',\n  5,\n]\n"
        "[limts]\nx = 1\n[limits]\n'pdu_max' = 'big'\n"
    )
    with pytest.raises(InvalidInput) as refused:
        load(file, {"ANNALS_LIMITS__PDU_MAX": "0", "ANNALS_DIMSE__COLOUR": "red"})
    told = [fault.removesuffix(": is limits meant?").rpartition(": ")[0] for fault in refused.value.faults]
    assert sorted(told) == [
        "ANNALS_DIMSE__COLOUR",
        "ANNALS_LIMITS__PDU_MAX",
        f"dimse.accept_any_rights.1 in {file}, line 6",
        f"dimse.store_port in {file}, line 5",
        f"limts in {file}, line 10",
    ]


@pytest.mark.parametrize(
    ("content", "variable", "meant"),
    [
        ("[dims]\nstore_port = 1\n", "", "dimse"),
        ("[dimse]\nsore_port = 1\n", "", "dimse.store_port"),
        ("dta = 'x'\n", "", "data"),
        ("[colours]\nred = 1\n", "", ""),
        ("[dimse]\ncolour = 1\n", "", ""),
        ("", "ANNALS_DIMS__STORE_PORT", "ANNALS_DIMSE__STORE_PORT"),
        ("", "ANNALS_DIMSE__SORE_PORT", "ANNALS_DIMSE__STORE_PORT"),
        ("", "ANNALS_DIMS__SORE_PORT", "ANNALS_DIMSE__STORE_PORT"),
        ("", "ANNALS_LIMIT__PDU_MAX", "ANNALS_LIMITS__PDU_MAX"),
        ("", "ANNALS_LIMITS__OBJECTS_SIZE_MAX", "ANNALS_LIMITS__OBJECT_SIZE_MAX"),
        ("", "ANNALS_DIMS__COLOUR", ""),
        ("", "ANNALS_COLOURS__STORE_PORT", ""),
    ],
)
def test_B68_a_misspelt_name_is_answered_with_the_nearest_right_one(
    tmp_path: Path, content: str, variable: str, meant: str
) -> None:
    file = tmp_path / "annals.toml"
    file.write_text(content)
    with pytest.raises(InvalidInput) as refused:
        load(file, {variable: "1"} if variable else {})
    (fault,) = refused.value.faults
    assert fault.endswith("is not a known setting" + (f": is {meant} meant?" if meant else ""))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[dimse]\nstore_port = = 1\n", 2),
        (b"[dimse]\nstore = true\nstore = true\n", 3),
        (b"[dimse]\n\naccept_any_rights = ['UPLOAD',\n'FIND'\n", 3),
        (b"[dimse]\nae_title = 'caf\xe9'\n", 2),
        (b"[http]\nport = " + b"1" * 5000 + b"\n", 2),
        (b"[http]\n\nport = " + b"[" * 5000 + b"]" * 5000 + b"\n", 3),
    ],
    ids=["no TOML", "twice", "without an end", "no UTF-8", "many digits", "many brackets"],
)
def test_B68_a_broken_file_names_the_line(content: bytes, line: int, tmp_path: Path) -> None:
    file = tmp_path / "annals.toml"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"annals\.toml: .*line {line}\b"):
        load(file, {})


def test_B68_a_variable_that_is_no_setting_is_warned_about_and_one_that_is_known_is_not() -> None:
    known = {"ANNALS_CFG": "x", "ANNALS_DATA": "x", "ANNALS_FAILPOINTS": "", "ANNALS_LIFELINE": "3", "ANNALS_SOAK": "1"}
    assert load(None, {**known, "ANNALS_DIMSE__STORE_PORT": "4000", "ANNALSX": "x"})[1] == ()
    settings, warnings = load(None, {"ANNALS_DIMSE_STORE_PORT": "4000", "ANNALS_PORT": "tcp://10.0.0.1:8000"})
    assert settings.dimse.store_port == 3000
    assert warnings == (
        "ANNALS_DIMSE_STORE_PORT is no setting and is passed over: is ANNALS_DIMSE__STORE_PORT meant?",
        "ANNALS_PORT is no setting and is passed over: settings are named ANNALS_SECTION__KEY",
    )


def test_B68_what_is_doubtful_is_said_once_and_not_by_each_child_of_the_supervisor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANNALS_DIMSE_STORE_PORT", "4000")
    settings_of(None, None)
    assert capsys.readouterr().err.startswith("annals: warning: ANNALS_DIMSE_STORE_PORT is no setting")
    monkeypatch.setenv("ANNALS_LIFELINE", "3")
    settings_of(None, None)
    assert capsys.readouterr().err == ""


def test_B68_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.toml") as refused:
        load(tmp_path / "nowhere.toml", {"ANNALS_HTTP__PORT": "many"})
    assert len(refused.value.faults) == 2


def test_B68_a_secret_that_everyone_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "annals.toml"
    file.write_text("[database]\ndsn = 'host=db password=x'\n")
    file.chmod(0o644)
    _, warnings = load(file, {})
    assert "chmod 600" in warnings[0]
    file.chmod(0o600)
    assert load(file, {})[1] == ()


def test_LIC_2_B68_a_vendor_key_is_read_in_PEM_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    assert load(None, {})[0].licence.public_key == b""
    file = tmp_path / "annals.toml"
    file.write_text(f"[licence]\nvendor_key = '''{VENDOR.pem}'''\n")
    assert load(file, {})[0].licence.public_key == VENDOR.public_key
    with pytest.raises(InvalidInput, match="ANNALS_LICENCE__VENDOR_KEY: is no Ed25519 public key"):
        load(None, {"ANNALS_LICENCE__VENDOR_KEY": "key"})


def test_B21d_the_quota_of_new_studies_can_be_switched_off_by_0_as_no_other_limit_can() -> None:
    key = "ANNALS_LIMITS__NEW_STUDIES_A_MINUTE_MAX"
    assert load(None, {key: "0"})[0].as_limits().new_studies_a_minute_max == 0
    with pytest.raises(InvalidInput, match=key):
        load(None, {key: "-1"})
    with pytest.raises(InvalidInput, match="ANNALS_LIMITS__STUDIES_REMEMBERED_MAX"):
        load(None, {"ANNALS_LIMITS__STUDIES_REMEMBERED_MAX": "0"})


@pytest.mark.parametrize(("name", "least"), [("RSA_KEY_BITS_MIN", 2048), ("EC_KEY_BITS_MIN", 224)])
def test_no_key_is_allowed_that_no_TLS_connection_takes(name: str, least: int) -> None:
    key = f"ANNALS_LIMITS__{name}"
    assert getattr(load(None, {key: str(least)})[0].as_limits(), name.lower()) == least
    with pytest.raises(InvalidInput, match=key):
        load(None, {key: str(least - 1)})


def test_D21_every_limit_is_a_setting() -> None:
    names = [field.name for field in fields(Limits)]
    settings, warnings = load(None, {f"ANNALS_LIMITS__{name.upper()}": "4096" for name in names})
    assert settings.as_limits() == Limits(**dict.fromkeys(names, 4096))
    assert warnings == ()
