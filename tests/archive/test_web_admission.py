"""Who may do what at the DICOMweb door, behind a trusted proxy that says who asks (DEV-4, DEV-5, C7.15, B43, B52)."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive, until

_FINDER, _DOWNLOADER, _UPLOADER, _NOBODY, _STRANGER = (f"192.0.2.{number}" for number in range(1, 6))
_SAMPLE = samples.read(samples.SAMPLES / "CT_small.dcm")


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    settings = {
        **SMALL,
        "ANNALS_DICOMWEB__ACCEPT_ANY": "false",
        "ANNALS_DICOMWEB__TRUSTED_PROXIES": "127.0.0.1,198.51.100.0/24",
        "ANNALS_DICOMWEB__HOSTS": "pacs.example",
    }
    with running_archive(settings) as running:
        assert _SAMPLE
        assert samples.send(running.port, _SAMPLE)[0] == 0
        for host, rights in ((_FINDER, "FIND"), (_DOWNLOADER, "DOWNLOAD"), (_UPLOADER, "UPLOAD"), (_NOBODY, "")):
            running.annals("device", "wado", "add", host, "--rights", rights)
        yield running


def _ask(archive: Archive, path: str, forwarded: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(
        f"http://127.0.0.1:{archive.dicomweb_port}{path}",
        data=b"" if method == "POST" else None,
        headers={"X-Forwarded-For": forwarded, "Content-Type": "application/dicom", **named},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


@pytest.fixture(scope="module")
def operations(archive: Archive) -> list[tuple[str, str]]:
    """Method and path of everything that is described, with UIDs of an object that is there."""
    said: dict[str, Any] = json.loads(_ask(archive, "/dicom-web/openapi.json", _FINDER)[1])
    assert _SAMPLE
    values = {
        "study_uid": _SAMPLE.study_instance_uid,
        "series_uid": _SAMPLE.series_instance_uid,
        "instance_uid": _SAMPLE.sop_instance_uid,
    }
    return [
        (method.upper(), re.sub(r"{(\w+)}", lambda name: values.get(name[1], "1"), path))
        for path, methods in said["paths"].items()
        for method in methods
    ]


def _right(method: str, path: str) -> str:
    if method == "POST" or "/commitment-requests/" in path:
        return _UPLOADER
    return _FINDER if re.search(r"/(studies|series|instances)$", path) else _DOWNLOADER


@pytest.mark.parametrize("prefix", ["/dicom-web", ""])
def test_DEV_5_each_path_wants_its_right_and_no_other_will_do(
    archive: Archive, operations: list[tuple[str, str]], prefix: str
) -> None:
    assert len(operations) > 12
    for method, path in operations:
        here = prefix + path.removeprefix("/dicom-web")
        codes = {who: _ask(archive, here, who, method)[0] for who in (_FINDER, _DOWNLOADER, _UPLOADER)}
        allowed = {who for who, code in codes.items() if code != 403}
        if method == "OPTIONS":
            assert set(codes.values()) == {200}
        else:
            assert allowed == {_right(method, path)}, (method, path, codes)
        for nobody in (_NOBODY, _STRANGER):
            assert (_ask(archive, here, nobody, method)[0] == 403) == (method != "OPTIONS"), (method, path, nobody)


def test_B52_who_may_not_ask_is_not_told_what_there_is(archive: Archive) -> None:
    """An object, none, a UID that is none: the same words."""
    assert _SAMPLE
    known = f"/studies/{_SAMPLE.study_instance_uid}"
    said = {_ask(archive, f"/dicom-web{path}", _NOBODY) for path in (known, "/studies/1.2.3", "/studies/no-uid")}
    assert len(said) == 1
    said = {_ask(archive, f"/dicom-web{path}/series", _DOWNLOADER) for path in (known, "/studies/1.2.3")}
    assert len(said) == 1


def test_DEV_4_a_right_that_is_taken_or_given_holds_at_once(archive: Archive) -> None:
    assert _ask(archive, "/studies", _STRANGER)[0] == 403
    try:
        for rights, code in (("FIND", 200), ("DOWNLOAD", 403), ("FIND,UPLOAD", 200)):
            archive.annals("device", "wado", "add", _STRANGER, "--rights", rights)
            until(lambda code=code: _ask(archive, "/studies", _STRANGER)[0] == code, 60, rights)  # type: ignore[misc]
    finally:
        archive.annals("device", "wado", "remove", _STRANGER)
    until(lambda: _ask(archive, "/studies", _STRANGER)[0] == 403, 60, "the device is forgotten")


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        (_FINDER, 200),
        (f"{_STRANGER}, {_FINDER}", 200),
        (f"{_FINDER}, {_STRANGER}", 403),
        (f"{_FINDER}, 198.51.100.7", 200),
        (f"{_STRANGER}, {_FINDER}, 198.51.100.7, 198.51.100.8", 200),
        (f"::ffff:{_FINDER}", 200),
        (f"[::ffff:{_FINDER}]", 200),
        (f"{_FINDER}:443", 400),
        ("evil", 400),
        (f"{_FINDER}, ,", 200),
        ("198.51.100.7", 403),
    ],
)
def test_C7_15_the_nearest_address_that_is_no_trusted_proxy_asks(archive: Archive, forwarded: str, status: int) -> None:
    """What stands to its left anyone may have written."""
    assert _ask(archive, "/dicom-web/studies", forwarded)[0] == status


def test_C7_15_URLs_are_those_that_the_proxy_is_asked_by(archive: Archive) -> None:
    """RFC 7239 8.1: only what a trusted proxy forwards is believed."""
    path = "/dicom-web/studies?limit=1"
    _, body = _ask(archive, path, _FINDER, X_Forwarded_Host="pacs.example", X_Forwarded_Proto="https")
    assert b'"https://pacs.example/dicom-web/studies/' in body
    _, body = _ask(archive, path, _FINDER, X_Forwarded_Host="evil.example, pacs.example:8443")
    assert b'"http://pacs.example:8443/dicom-web/studies/' in body
    for bad in ("evil.example", "pacs.example, evil.example", "pacs.example/x", "pacs example"):
        assert _ask(archive, path, _FINDER, X_Forwarded_Host=bad)[0] == 400
    _, body = _ask(archive, path, _FINDER, X_Forwarded_Host="pacs.example", X_Forwarded_Proto="javascript")
    assert b'"http://pacs.example/dicom-web/studies/' in body
