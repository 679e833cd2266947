"""Licences as an administrator and his vendor use them, and what is refused past their limits and past the quota."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.floods import OUT_OF_RESOURCES, post, rejections, send
from tests.licence.vendor import Vendor

VENDOR = Vendor()


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with running_archive({**SMALL, "ANNALS_LICENCE__VENDOR_KEY": VENDOR.pem}) as running:
        yield running


def upload(archive: Archive, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", archive.http_port, timeout=60)
    try:
        connection.request("POST", "/licence", body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        if answer.status != 200:
            assert answer.headers["Content-Type"] == "application/problem+json"
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def shown(archive: Archive) -> str:
    return archive.annals("licence", "show").stdout


def product_code(archive: Archive) -> str:
    return archive.annals("--product-key").stdout.strip()


def files(archive: Archive) -> set[Path]:
    return {path for path in archive.data.rglob("*") if "postgres" not in path.parts}


def test_B58_what_is_no_licence_for_this_installation_is_refused_and_what_was_in_use_stays(
    archive: Archive, tmp_path: Path
) -> None:
    code, before, files_before = product_code(archive), shown(archive), files(archive)
    other = f"{code[-5:]}{code[5:-5]}{code[:5]}"
    changed = VENDOR.signed(code)
    changed["licence"]["clients_max"] = 500
    bodies = {
        "garbage \x00\xff": "not the JSON document",
        VENDOR.licence(other).decode(): "another product code",
        Vendor().licence(code).decode(): "not signed by",
        " " * 65_537: "more than 65536 bytes",
        "": "not the JSON document",
        "[" * 60_000: "not the JSON document",
        json.dumps(changed): "not signed by",
        VENDOR.licence("../../../etc/passwd").decode(): "product_code is no product code",
        VENDOR.licence(code, end_of_support="../2099-12-31").decode(): "end_of_support is no date",
        json.dumps({**VENDOR.signed(code), "file": "../../x"}): "nothing else",
        " " * 1_000_000: "more than 65536 bytes",
    }
    by_command = list(bodies)[:4]
    (tmp_path / "a").mkdir()
    for body, fault in bodies.items():
        encoded = body.encode("latin-1")
        headers = {"Content_Disposition": 'attachment; filename="../../../../x.lic"', "Content_Type": "text/plain"}
        status, problem = upload(archive, encoded, **headers)
        assert status == 422, problem
        assert fault in " ".join(problem["faults"])
        assert "what was in use stays" in problem["detail"]
        if body in by_command:
            (tmp_path / "x.lic").write_bytes(encoded)
            done = archive.annals("licence", "install", str(tmp_path / "a" / ".." / "x.lic"), check=False)
            assert done.returncode == 2
            assert fault in done.stderr
    assert upload(archive, b"x", Content_Length=str(2**40))[0] == 422, "before it is read"
    assert archive.annals("licence", "install", str(tmp_path), check=False).returncode == 2
    assert shown(archive) == before
    assert files(archive) == files_before, "nothing is kept under a name from outside"


def test_LIC_1_LIC_2_DEV_6_a_trial_ends_at_2_clients_and_100_studies_and_a_licence_lifts_it_without_a_restart(
    archive: Archive,
) -> None:
    code = product_code(archive)
    said = shown(archive)
    assert f"product code: {code}\nlicence: none, this is a trial" in said
    assert "clients: 0 of 2 used\nstudies: 0 of 100 stored" in said
    assert f"a trial with 2 clients and 100 studies: install a licence for product code {code}" in archive.log_lines()
    archive.annals("device", "add", "CT", "127.0.0.1", "104")
    archive.annals("device", "wado", "add", "192.0.2.9")
    full = archive.annals("device", "add", "MR", "127.0.0.1", "104", check=False)
    assert full.returncode == 2
    assert "clients: 2 of 2 used" in full.stderr
    assert "install a licence" in full.stderr

    begun = [generate_uid() for _ in range(100)]
    assert post(archive, begun[:50]).status == 200
    assert send(archive, begun[50:]) == [0] * 50
    new = [generate_uid() for _ in range(3)]
    assert send(archive, new) == [OUT_OF_RESOURCES] * 3
    refused = post(archive, [*new, begun[0]])
    assert list(refused.failed.values()) == [OUT_OF_RESOURCES] * 3
    assert (refused.status, len(refused.stored)) == (202, 1)
    assert post(archive, new).status == 507
    assert send(archive, begun[:3]) == [0] * 3, "what exists goes on"
    assert "studies: 100 of 100 stored" in shown(archive)
    until(lambda: rejections(archive, "the trial's 100")[:2] == (2, 2), 50, "each door has told once")
    assert "refused with A700" not in archive.log_lines()

    assert upload(archive, VENDOR.licence(code, clients_max=3)) == (
        200,
        {
            "product_code": code,
            "clients_max": 3,
            "end_of_support": "2099-12-31",
            "issued_at": "2026-01-31T12:00:00Z",
        },
    )
    assert send(archive, new) == [0] * 3
    assert post(archive, [generate_uid()]).status == 200
    archive.annals("device", "add", "MR", "127.0.0.1", "104")
    assert archive.annals("device", "add", "US", "127.0.0.1", "104", check=False).returncode == 2
    assert "3 clients, support until 2099-12-31" in shown(archive)
    assert "clients: 3 of 3 used" in archive.annals("device", "list").stdout
