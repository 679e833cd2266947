"""Storage commitment over the web, asked for as clients do (C5.4 to C5.9, C7.1, P5, F18; PS3.18 13, Annex J)."""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from api.dicomweb.native_xml import native_xml
from api.dicomweb.native_xml_reader import read_native_xml
from domain.limits import Limits
from tests.archive import stow
from tests.archive.conftest import Archive, running_archive, until
from tests.dicom.encoding import CT_CLASS, minimal
from tests.dicomweb.test_commitment_modules import sequence, sop, study, ui

JSON, XML = "application/dicom+json", "application/dicom+xml"
PARTS = f"multipart/related; boundary={stow.BOUNDARY}"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
NOT_THERE, ANOTHER_CLASS, AWAY = 0x0112, 0x0119, 0x0213
ROOT = "1.2.826.0.1.3680043.8.498.29"
STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.1.1"
AT_ONCE, MOST = 3, 6


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    settings = {
        "ANNALS_DIMSE__PROCESSES": "1",
        "ANNALS_LIMITS__COMMITMENT_AT_ONCE_MAX": str(AT_ONCE),
        "ANNALS_LIMITS__COMMITMENT_REFERENCES_MAX": str(MOST),
        "ANNALS_LIMITS__COMMITMENT_BODY_MAX": "20000",
        "ANNALS_LIMITS__STORAGE_CHECK_SECONDS": "0.2",
    }
    with running_archive(settings) as running:
        yield running


@dataclass(frozen=True)
class Answer:
    """What a request was answered, its module read from JSON or XML."""

    status: int
    headers: Message
    body: bytes

    @property
    def module(self) -> dict[str, Any]:
        """Table J.2-1."""
        if self.headers["Content-Type"] == XML:
            return read_native_xml(self.body, Limits())
        assert self.headers["Content-Type"] == JSON, self.body
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def committed(self) -> list[str]:
        """The SOP Instance UIDs of the Referenced SOP Sequence."""
        return [item["00081155"]["Value"][0] for item in self.module.get("00081199", {}).get("Value", [])]

    @property
    def failed(self) -> dict[str, int]:
        """The Failure Reasons by SOP Instance UID of the Failed SOP Sequence."""
        items = self.module.get("00081198", {}).get("Value", [])
        return {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in items}

    @property
    def problem(self) -> str:
        """Why it was refused."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        return str(json.loads(self.body)["detail"])


def path_of(transaction: str) -> str:
    return f"/dicom-web/commitment-requests/{transaction}"


def said(archive: Archive, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", archive.dicomweb_port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def ask(archive: Archive, request: Any, transaction: str = "", **headers: str) -> Answer:
    document = request if isinstance(request, bytes) else json.dumps(request).encode()
    named = {"Content_Type": JSON, **headers}
    return said(archive, "POST", path_of(transaction or generate_uid()), document, **named)


def look(archive: Archive, transaction: str, **headers: str) -> Answer:
    return said(archive, "GET", path_of(transaction), None, **headers)


def sops(*uids: str, sop_class: str = CT_CLASS) -> dict[str, Any]:
    return {"00081199": sequence(*(sop(uid, sop_class) for uid in uids))}


def stored(archive: Archive, count: int = 1) -> list[str]:
    """New instances of the study, by STOW-RS, in the order in which they are answered."""
    uids = sorted(str(generate_uid()) for _ in range(count))
    files = [
        stow.part10(minimal([(0x7FE00010, "OW", os.urandom(1000))], instance=uid, study=STUDY, series=SERIES), uid)
        for uid in uids
    ]
    assert stow.store(archive.dicomweb_port, *files).stored == uids
    return uids


def file_of(archive: Archive, uid: str) -> Path:
    shown = archive.annals("events", "--stream", uid).stdout
    path = re.search(r"(../?./[0-9a-f]{64}[0-9a-f-]*\.dcm)", shown)
    assert path, shown
    return archive.data / "storage" / path[1]


def is_free(archive: Archive, transaction: str) -> bool:
    """Whether nothing was taken on under this UID."""
    return look(archive, transaction).status == 404


def test_C5_9_what_is_kept_is_committed_and_the_result_stays_at_the_same_URL(archive: Archive) -> None:
    """Table 13.4.3-1, 200: "The origin server finished processing the storage commitment request; the payload describes
    in detail what referenced SOP Instances have been committed for safekeeping, and what Instances have not."
    """
    uids, transaction = stored(archive, 2), str(generate_uid())
    answer = ask(archive, sops(*uids), transaction)
    assert (answer.status, answer.module) == (200, sops(*uids)), answer.body
    assert answer.headers["Content-Location"] == f"http://127.0.0.1:{archive.dicomweb_port}{path_of(transaction)}"
    again = look(archive, transaction)
    assert (again.status, again.body) == (200, answer.body)
    assert said(archive, "GET", f"/commitment-requests/{transaction}").body == answer.body


def test_C5_9_each_that_is_not_kept_fails_with_its_reason(archive: Archive) -> None:
    """PS3.3 C.14.1.1: 0112 "No such object instance", 0119 "Class/Instance conflict"."""
    good, other_class = stored(archive, 2)
    request = {"00081199": sequence(sop(good), sop("1.2.3.404"), sop(other_class, MR_CLASS))}
    answer = ask(archive, request)
    assert (answer.status, answer.committed) == (200, [good])
    assert answer.failed == {"1.2.3.404": NOT_THERE, other_class: ANOTHER_CLASS}
    assert [item["00081150"]["Value"][0] for item in answer.module["00081198"]["Value"]] == [CT_CLASS, MR_CLASS]


def test_C5_9_instances_named_below_their_study_are_answered_below_it(archive: Archive) -> None:
    """J.2: Referenced Study Sequence (0008,1110) is "Required if the request payload contained" it; Failed Study
    Sequence (0008,119B) is its counterpart.
    """
    one, two, three = stored(archive, 3)
    transaction = str(generate_uid())
    whole = {"00081110": sequence(study(STUDY, SERIES, one, two))}
    answer = ask(archive, whole, transaction)
    assert (answer.status, answer.module) == (200, whole)
    assert look(archive, transaction).module == whole

    elsewhere = study(f"{ROOT}.2", SERIES, three)
    answer = ask(archive, {"00081110": sequence(study(STUDY, SERIES, one, "1.2.3.404"), elsewhere)})
    assert answer.module["00081110"] == sequence(study(STUDY, SERIES, one))
    failed = answer.module["0008119B"]["Value"]
    assert [item["0020000D"] for item in failed] == [ui(STUDY), ui(f"{ROOT}.2")]
    items = [item["00081115"]["Value"][0]["00081112"]["Value"][0]["0008114A"]["Value"] for item in failed]
    reason = {"00081197": {"vr": "US", "Value": [NOT_THERE]}}
    assert items == [[{"00081155": ui("1.2.3.404"), **reason}], [{"00081155": ui(three), **reason}]]
    assert not {"00081198", "00081199"} & answer.module.keys()


def test_C5_9_C7_1_asked_in_XML_and_answered_in_what_is_acceptable(archive: Archive) -> None:
    (uid,), transaction = stored(archive), str(generate_uid())
    asked = ask(archive, native_xml(sops(uid)), transaction, Content_Type=XML, Accept=XML)
    assert (asked.status, asked.headers["Content-Type"], asked.module) == (200, XML, sops(uid))
    assert look(archive, transaction, Accept=JSON).module == sops(uid)
    assert look(archive, transaction, Accept="application/json").headers["Content-Type"] == "application/json"
    parts = look(archive, transaction, Accept=f'multipart/related; type="{XML}"')
    assert parts.headers.get_content_type() == "multipart/related"
    assert uid.encode() in parts.body
    assert look(archive, transaction, Accept="image/png").status == 406


@pytest.mark.parametrize(("part_type", "type_of_all"), [(XML, XML), (JSON, JSON), (XML, ""), (JSON, "")])
def test_C5_9_a_request_may_come_as_the_one_part_of_a_multipart(
    archive: Archive, part_type: str, type_of_all: str
) -> None:
    """13.4.1.4: "The representation shall conform to Media Types described in Section 8.7.3"; in Table 8.7.3-3 XML is
    multipart/related; type="application/dicom+xml".
    """
    (uid,) = stored(archive)
    document = native_xml(sops(uid)) if part_type == XML else json.dumps(sops(uid)).encode()
    of_all = f'multipart/related; boundary={stow.BOUNDARY}; type="{type_of_all}"'
    answer = ask(archive, stow.multipart([document], part_type), Content_Type=of_all)
    assert (answer.status, answer.module) == (200, sops(uid)), answer.body


def test_C5_9_the_Transaction_UID_is_that_of_the_URL(archive: Archive) -> None:
    (uid,), transaction, other = stored(archive), str(generate_uid()), str(generate_uid())
    assert ask(archive, {**sops(uid), "00081195": ui(other)}, transaction).module == sops(uid)
    assert look(archive, transaction).status == 200
    assert is_free(archive, other)


def _gone(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("harm", [_gone, _cut, _flipped])
def test_P5_F18_C5_6_what_the_disk_lost_is_not_committed(archive: Archive, harm: Callable[[Path], None]) -> None:
    harmed, whole = stored(archive, 2)
    path = file_of(archive, harmed)
    path.chmod(0o600)
    harm(path)
    answer = ask(archive, sops(harmed, whole))
    assert (answer.status, answer.committed, answer.failed) == (200, [whole], {harmed: NOT_THERE})


def test_P5_C5_6_while_a_storage_is_away_nothing_in_it_is_promised(archive: Archive) -> None:
    """PS3.3 C.14.1.1: 0213 "Resource limitation". Nothing is wrong with the object: asked again it is committed."""
    (uid,) = stored(archive)
    kept, away = archive.data / "storage", archive.data / "away"
    kept.rename(away)
    try:
        until(lambda: ask(archive, sops(uid)).failed == {uid: AWAY}, 60, "the storage is known to be away")
    finally:
        away.rename(kept)
    until(lambda: ask(archive, sops(uid)).committed == [uid], 60, "it is back")
    assert "InstanceUnreadable" not in archive.annals("events", "--stream", uid).stdout


def test_C5_4_C5_9_a_Transaction_UID_is_used_once(archive: Archive) -> None:
    """Table 13.4.3-1, 409: "... because the provided transaction UID is already in use"."""
    (uid,), transaction = stored(archive), str(generate_uid())
    first = ask(archive, sops(uid), transaction)
    for request in (sops(uid), sops("1.2.3.404")):
        again = ask(archive, request, transaction)
        assert (again.status, "in use" in again.problem) == (409, True)
    assert look(archive, transaction).body == first.body


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", JSON, 400),
        (b"{", JSON, 400),
        (b"{}", JSON, 400),
        (b"[]", JSON, 400),
        (b"\xff\x00", JSON, 400),
        (b"[" * 5_000, JSON, 400),
        (json.dumps({"00081199": sequence()}).encode(), JSON, 400),
        (json.dumps({"00081110": sequence({"0020000D": ui(STUDY)})}).encode(), JSON, 400),
        (json.dumps({"00081110": sequence(study(STUDY, SERIES))}).encode(), JSON, 400),
        (json.dumps(sops("../../../etc/passwd")).encode(), JSON, 400),
        (json.dumps(sops(*(f"1.2.{n}" for n in range(MOST + 1)))).encode(), JSON, 400),
        (b"", XML, 400),
        (b"<!DOCTYPE x><NativeDicomModel/>", XML, 400),
        (b"<NativeDicomModel/>", XML, 400),
        (json.dumps(sops("1.2")).encode().ljust(20_001), JSON, 413),
        (json.dumps(sops("1.2")).encode(), "text/plain", 415),
        (json.dumps(sops("1.2")).encode(), "nonsense", 415),
        (b"", PARTS, 400),
        (stow.multipart([]), PARTS, 400),
        (stow.multipart([json.dumps(sops("1.2")).encode()] * 2, JSON), PARTS, 400),
        (stow.multipart([json.dumps(sops("1.2")).encode()], JSON)[:-8], PARTS, 400),
        (stow.multipart([b"{"], JSON), PARTS, 400),
        (stow.multipart([json.dumps(sops("1.2")).encode()], "text/plain"), PARTS, 415),
        (stow.multipart([stow.multipart([b"{}"], JSON)], PARTS), PARTS.replace(stow.BOUNDARY, "b"), 400),
        (stow.multipart([json.dumps(sops("1.2")).encode()], JSON), "multipart/related", 400),
        (stow.multipart([json.dumps(sops("1.2")).encode()], JSON), f"{PARTS}; type=image/png", 415),
    ],
)
def test_C5_5_C5_9_what_is_no_request_is_refused_and_nothing_is_taken_on(
    archive: Archive, body: bytes, content_type: str, status: int
) -> None:
    """Nothing named, or too much, never means all."""
    transaction = str(generate_uid())
    answer = ask(archive, body, transaction, Content_Type=content_type)
    assert answer.status == status, answer.body
    assert answer.problem
    assert is_free(archive, transaction)


def test_C5_9_a_body_of_no_told_length_ends_at_the_limit(archive: Archive) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", archive.dicomweb_port, timeout=60)
    pieces = (b" " * 5_000 for _ in range(5))
    connection.request("POST", path_of(generate_uid()), pieces, {"Content-Type": JSON}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_C5_9_a_Transaction_UID_that_is_none_is_400_and_what_is_not_acceptable_406(
    archive: Archive, method: str
) -> None:
    body = json.dumps(sops("1.2.3")).encode() if method == "POST" else None
    assert said(archive, method, path_of("1..2"), body, Content_Type=JSON).status == 400
    assert said(archive, method, path_of("x" * 65), body, Content_Type=JSON).status == 400
    transaction = str(generate_uid())
    assert said(archive, method, path_of(transaction), body, Content_Type=JSON, Accept="image/png").status == 406
    assert is_free(archive, transaction)


def test_C5_9_a_large_request_is_taken_on_and_its_result_is_fetched_later(archive: Archive) -> None:
    """Table 13.4.3-1, 202: "The origin server has not finished processing the storage commitment request yet; there is
    no payload. The user agent is expected to follow-up with the Result Check transaction".
    """
    uids, transaction = stored(archive, AT_ONCE + 1), str(generate_uid())
    answer = ask(archive, sops(*uids), transaction)
    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["Location"] == f"http://127.0.0.1:{archive.dicomweb_port}{path_of(transaction)}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert ask(archive, sops(*uids), transaction).status == 409
    until(lambda: look(archive, transaction).status != 202, 60, "it is decided")
    assert look(archive, transaction).module == sops(*uids)
