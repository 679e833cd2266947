"""STOW-RS end to end on one archive: C7.11, C2, P6, B01 to B21, B43 to B47, with the sections of PS3.18 that say so."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import struct
import threading
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread

from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive, until
from tests.archive.stow import BOUNDARY, DICOM, RELATED, Answer, multipart, part10, post, store
from tests.archive.test_store_samples import given_back
from tests.dicom.broken import BROKEN, CANNOT_UNDERSTAND, RESOURCES, WHOLE, deflate_bomb
from tests.dicom.encoding import CT_CLASS, DEFLATED, description, element, image, item, minimal, text

MIB = 1024 * 1024
MISMATCH, DOES_NOT_MATCH_SOP_CLASS, NOT_SUPPORTED = 0xA900, 0xB007, 0x0122
ROOT = "1.2.826.0.1.3680043.8.498.12"
PATIENT = "SECRET^PATIENT"
STUDY = f"{ROOT}.1"


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    settings = {
        **SMALL,
        "ANNALS_LIMITS__OBJECT_SIZE_MAX": str(MIB),
        "ANNALS_LIMITS__PARTS_MAX": "2000",
        "ANNALS_LIMITS__REQUEST_BODY_TIMEOUT_SECONDS": "4",
        "ANNALS_LIMITS__REQUEST_BODY_MAX": str(64 * MIB),
    }
    with running_archive(settings) as running:
        yield running
        assert "Traceback" not in running.log_lines()
        assert PATIENT not in running.log_lines()


@pytest.fixture(autouse=True)
def nothing_half_stored(archive: Archive) -> Iterator[None]:
    """After every test no temp file is left."""
    yield
    until(lambda: not temp_files(archive), 60, "no temp file is left")


def temp_files(archive: Archive) -> list[Path]:
    return [path for path in archive.data.glob("storage/.incoming/*/*") if path.name != "lease"]


def objects(archive: Archive) -> int:
    return len(list(archive.data.glob("storage/??/?/*.dcm")))


def data_set(number: str, size: int = 512, study: str = STUDY, **extra: bytes) -> bytes:
    """A data set of its own for each number; ``extra`` elements are private."""
    return minimal(
        [
            (0x00100010, "PN", text(PATIENT)),
            (0x00200013, "IS", text(number)),
            *((0x00091000 + int(at[1:]), "OB", value) for at, value in extra.items()),
            (0x7FE00010, "OW", bytes(size)),
        ],
        instance=f"{ROOT}.9.{number}",
        series=f"{study}.1",
        study=study,
    )


def file(number: str, **how: Any) -> bytes:
    return part10(data_set(number, **how), f"{ROOT}.9.{number}")


def uids(*numbers: str) -> list[str]:
    return [f"{ROOT}.9.{number}" for number in numbers]


def kept(archive: Archive, data: bytes) -> bytes:
    """The file of a data set in the storage."""
    digest = hashlib.sha256(data).hexdigest()
    (found,) = (archive.data / "storage" / digest[:2] / digest[2]).glob(f"{digest}*.dcm")
    return found.read_bytes()


def found(archive: Archive, query: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web{query}", timeout=60) as answer:
        body = answer.read()
    return json.loads(body, parse_constant=pytest.fail) if body else []


def test_C7_11_P6_what_is_stored_is_named_found_at_once_and_kept_as_it_is(archive: Archive) -> None:
    """10.5.3, Table I.1-1: 200, every instance with its Retrieve URL, in the order of the request."""
    numbers, study = [str(number) for number in range(1, 31)], f"{ROOT}.5"
    sent = [data_set(number, study=study) for number in numbers]
    files = (part10(data, *uids(number)) for data, number in zip(sent, numbers, strict=True))
    answer = store(archive.dicomweb_port, *files, path=f"/dicom-web/studies/{study}")
    assert (answer.status, answer.stored) == (200, uids(*numbers))
    base = f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web/studies/{study}"
    assert answer.module["00081190"] == {"vr": "UR", "Value": [base]}
    assert answer.headers["Location"] == base
    assert answer.headers["Content-Location"] == base
    item = answer.module["00081199"]["Value"][0]
    assert item["00081190"]["Value"] == [f"{base}/series/{study}.1/instances/{ROOT}.9.1"]
    assert item["00081150"]["Value"] == [CT_CLASS]
    assert not {"00081198", "0008119A"} & answer.module.keys()
    assert len(found(archive, f"/studies/{study}/instances")) == len(numbers)
    asked = ("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}", "NumberOfStudyRelatedInstances")
    done = archive.dcmtk("findscu", "-S", *(word for key in asked for word in ("-k", key)))
    assert "[30" in done.stdout + done.stderr
    assert all(kept(archive, data).endswith(data) for data in sent)


def test_C2_1_what_other_tools_write_is_kept_and_given_back_byte_for_byte(archive: Archive, tmp_path: Path) -> None:
    """Every syntax as it is, deflated and big endian too; the samples' own file headers are not believed."""
    sent = [
        sample
        for sample in (*samples.all_different(tmp_path), *samples.converted(tmp_path))
        if sample.path.stat().st_size < MIB
    ]
    answer = store(archive.dicomweb_port, *(sample.path.read_bytes() for sample in sent))
    assert answer.status == 202
    assert set(answer.failed.values()) <= {CANNOT_UNDERSTAND}
    stored = [sample for sample in sent if sample.sop_instance_uid in answer.stored]
    assert [sample.sop_instance_uid for sample in stored] == answer.stored
    assert len(stored) > 100
    assert len({sample.transfer_syntax_uid for sample in stored}) > 10
    assert all(kept(archive, sample.data_set()).endswith(sample.data_set()) for sample in stored)
    by_syntax = list({sample.transfer_syntax_uid: sample for sample in stored}.values())
    got = given_back(archive, by_syntax)
    assert got == {sample.sop_instance_uid: sample.as_given_back() for sample in by_syntax}


def test_one_file_alone_needs_no_multipart(archive: Archive) -> None:
    """Table 10.5.4-1: application/dicom as a single part, with a length or in chunks."""
    answer = post(archive.dicomweb_port, file("101"), content_type=DICOM)
    assert (answer.status, answer.stored) == (200, uids("101"))
    connection = http.client.HTTPConnection("127.0.0.1", archive.dicomweb_port, timeout=60)
    whole = file("102")
    pieces = iter([whole[:100], whole[100:700], whole[700:]])
    connection.request("POST", "/studies", pieces, {"Content-Type": DICOM}, encode_chunked=True)
    said = connection.getresponse()
    assert Answer(said.status, said.headers, said.read()).stored == uids("102")
    connection.close()


def test_dicomweb_client_stores(archive: Archive) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web")
    one = dcmread(samples.SAMPLES / "MR_small.dcm")
    answer = client.store_instances([one, dcmread(samples.SAMPLES / "rtplan.dcm")])
    assert answer.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    answer = client.store_instances([one], study_instance_uid=one.StudyInstanceUID)
    assert answer.RetrieveURL.endswith(f"/studies/{one.StudyInstanceUID}")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/dicom+json"),
        ("application/json", "application/json"),
        ("application/dicom+xml", "application/dicom+xml"),
        ('multipart/related; type="application/dicom+xml"', "multipart/related"),
        ("application/dicom+xml;q=0.5, application/dicom+json", "application/dicom+json"),
    ],
)
def test_the_answer_comes_as_it_is_asked_for(archive: Archive, accept: str, content_type: str) -> None:
    """Table 10.5.4-1."""
    answer = store(archive.dicomweb_port, file("111"), b"no file", Accept=accept)
    assert answer.status == 202
    assert answer.headers["Content-Type"].startswith(content_type)
    if "xml" in answer.headers["Content-Type"]:
        document = re.search(rb"<NativeDicomModel.*</NativeDicomModel>", answer.body, re.DOTALL)
        assert document
        values = [one.text for one in ET.fromstring(document[0]).iter("Value")]
        assert f"{ROOT}.9.111" in values
        assert str(CANNOT_UNDERSTAND) in values


def test_C7_11_B06_B09_B10_one_bad_part_never_fails_the_others(archive: Archive) -> None:
    """10.5.3.1: 202, each part with its own outcome; what told no instance is in Other Failures (B06, B07 to B12)."""
    broken = [case.values for case in BROKEN]
    bad = [part10(data) for data, _ in broken]
    before = found(archive, "/instances?SOPInstanceUID=1.2.3.4")
    answer = store(archive.dicomweb_port, file("121"), *bad, b"", b"no DICOM file", WHOLE, file("122"))
    assert answer.status == 202
    assert answer.stored == uids("121", "122")
    assert set(answer.failed.values()) == {CANNOT_UNDERSTAND, RESOURCES} or answer.failed == {"1.2.3.4": RESOURCES}
    reasons = [one["00081197"]["Value"][0] for one in answer.module["00081198"]["Value"]] + answer.others
    assert sorted(reasons) == sorted([*(status for _, status in broken), *3 * [CANNOT_UNDERSTAND]])
    assert answer.headers["Warning"].startswith("299 http://127.0.0.1")
    assert found(archive, "/instances?SOPInstanceUID=1.2.3.4") == before


def test_B07_a_file_cut_anywhere_is_refused(archive: Archive) -> None:
    whole = part10(minimal([(0x00081140, "SQ", item(element(0x00080005, "CS", b"ISO_IR 100"))), *description(16, 16)]))
    before = objects(archive)
    answer = store(archive.dicomweb_port, *(whole[:at] for at in range(0, len(whole), 2)))
    ends = [
        at
        for at in range(0, len(whole), 2)
        if at >= len(part10(b"")) and whole[at : at + 2] in (b"\x28\x00", b"\x08\x00", b"\x20\x00")
    ]
    assert len(answer.stored) <= len(ends)
    assert answer.status in (202, 400)
    assert objects(archive) - before <= len(ends)


@pytest.mark.parametrize(
    "wrong",
    ["../../etc/x", "/etc/x", "C:\\x", "1.2.\0.3", "1.2.\n3", "1." * 33 + "1", "", "abc", "1.2.", "1..2"],
)
@pytest.mark.parametrize("level", ["instance", "series", "study"])
def test_B01_B02_a_UID_that_is_none_is_refused(archive: Archive, wrong: str, level: str) -> None:
    before = objects(archive)
    answer = store(archive.dicomweb_port, part10(minimal(**{level: wrong})))
    assert (answer.status, [*answer.failed.values(), *answer.others]) == (400, [CANNOT_UNDERSTAND])
    assert objects(archive) == before


def test_B02_leading_zeros_are_stored_as_they_are(archive: Archive) -> None:
    odd = f"{ROOT}.007"
    answer = store(archive.dicomweb_port, part10(minimal(instance=odd), odd))
    assert (answer.status, answer.stored) == (200, [odd])


def test_B03_of_the_file_header_only_the_transfer_syntax_is_believed(archive: Archive) -> None:
    data = data_set("131")
    answer = store(archive.dicomweb_port, part10(data, "1.2.999", sop_class="1.2.998"))
    assert (answer.status, answer.stored) == (200, uids("131"))
    assert b"1.2.999" not in kept(archive, data)


@pytest.mark.parametrize("program", [b"MZ\x90\0", b"\x7fELF\2", b"#!/bin/sh\n", b"<script>", b"\xcf\xfa\xed\xfe"])
def test_B05_a_program_in_the_preamble_is_not_kept(archive: Archive, program: bytes) -> None:
    number = str(140 + len(program))
    data = data_set(number)
    answer = store(archive.dicomweb_port, part10(data, uids(number)[0], preamble=program))
    assert answer.status == 200
    assert kept(archive, data)[:128] == bytes(128)


def test_B08_pixels_that_are_not_as_described_are_stored_with_a_warning(archive: Archive) -> None:
    """Table I.2-1: B007, and so 202; nothing is coerced or discarded, so there is never B000 or B006."""
    short, long = (
        minimal([*description(16, 16), (0x7FE00010, "OW", bytes(size))], instance=f"{ROOT}.9.{number}")
        for number, size in ((151, 100), (152, 1000))
    )
    answer = store(archive.dicomweb_port, part10(short), part10(long), part10(image(), "1.2.3.4"))
    assert (answer.status, answer.warnings) == (202, 2 * [DOES_NOT_MATCH_SOP_CLASS])
    assert answer.stored == [f"{ROOT}.9.151", f"{ROOT}.9.152", "1.2.3.4"]
    assert all(kept(archive, data).endswith(data) for data in (short, long))


def test_B11_B12_bombs_are_refused(archive: Archive) -> None:
    items = minimal([(0x00081140, "SQ", item(b"") * 110_000)])
    answer = store(archive.dicomweb_port, part10(items), part10(deflate_bomb(), syntax=DEFLATED), file("161"))
    assert (answer.status, answer.stored) == (202, uids("161"))
    assert [one["00081197"]["Value"][0] for one in answer.module["00081198"]["Value"]] == 2 * [CANNOT_UNDERSTAND]


def test_B13_to_B19_odd_values_are_kept_and_answered_in_valid_JSON(archive: Archive) -> None:
    odd: list[list[tuple[int, str, bytes]]] = [
        [(0x00280010, "US", b"\0\0"), (0x00280011, "US", b"\xff\xff"), (0x00280008, "IS", b"2147483647")],
        [(0x00280008, "IS", b"-1"), (0x00280100, "US", b"\7\0"), (0x00280002, "US", b"\0\0")],
        [(0x00280008, "IS", b"abc "), (0x00280010, "UL", b"\x10\0\0\0")],
        [(0x00100020, "UN", b"P1")],
        [(0x00201208, "IS", b"1e9 "), (0x00101030, "DS", b"NaN "), (0x00101020, "DS", b"1e400 ")],
        [(0x00080020, "DA", b"99999999"), (0x00080030, "TM", b"256161"), (0x00100030, "DA", b"2024.01.01")],
        [(0x00100010, "PN", b"A\0B\x1b$B\xff^\xed\xa0\x80 "), (0x00080050, "SH", b"\xe2\x80\xaeA\\B\\C")],
        [(0x00080005, "CS", b"ISO_IR 999"), (0x00081030, "LO", b"x" * 65_000)],
    ]
    study = f"{ROOT}.17"
    sent = [
        minimal(values, instance=f"{study}.{number}", study=study, series=f"{study}.1")
        for number, values in enumerate(odd)
    ]
    sent[3] += struct.pack("<HH2sHI", 0x0041, 0x1001, b"ZZ", 0, 4) + b"abcd"
    answer = store(archive.dicomweb_port, *(part10(data) for data in sent))
    assert len(answer.stored) == len(odd), answer.body
    assert all(kept(archive, data).endswith(data) for data in sent)
    assert len(found(archive, f"/studies/{study}/instances?includefield=all")) == len(odd)
    assert len(found(archive, f"/studies?StudyInstanceUID={study}&includefield=all")) == 1


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.1.1", "1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.31"])
def test_C7_11_a_SOP_class_that_is_not_stored_is_refused(archive: Archive, sop_class: str) -> None:
    """10.5.3.1: 409, "unsupported SOP Class"; Table I.2-2: 0122. As by C-STORE, which agrees on no such context."""
    before = objects(archive)
    alone = store(archive.dicomweb_port, part10(minimal(sop_class=sop_class)))
    assert (alone.status, alone.failed) == (409, {"1.2.3.4": NOT_SUPPORTED})
    assert objects(archive) == before
    beside = store(archive.dicomweb_port, part10(minimal(sop_class=sop_class)), file("165"))
    assert (beside.status, beside.failed, beside.stored) == (202, {"1.2.3.4": NOT_SUPPORTED}, uids("165"))


def test_B04_a_DICOMDIR_is_no_instance_and_names_no_file(archive: Archive) -> None:
    """Nothing that it names is opened: it tells no SOP Instance UID, so it is of Other Failures (0008,119A)."""
    path = b"..\\..\\..\\etc\\passwd "
    record = item(element(0x00041430, "CS", b"IMAGE ") + element(0x00041500, "CS", path))
    data = element(0x00041130, "CS", b"EVIL") + element(0x00041220, "SQ", record)
    before = objects(archive)
    answer = store(archive.dicomweb_port, part10(data, sop_class="1.2.840.10008.1.3.10"), file("166"))
    assert (answer.status, answer.others, answer.stored) == (202, [CANNOT_UNDERSTAND], uids("166"))
    assert objects(archive) == before + 1


def test_B20_what_is_larger_than_an_object_may_be_is_refused(archive: Archive) -> None:
    answer = store(archive.dicomweb_port, file("181", size=2 * MIB))
    assert (answer.status, answer.failed) == (413, {uids("181")[0]: RESOURCES})


def test_B21_the_same_again_and_another_under_its_name(archive: Archive) -> None:
    """NET-6: as by C-STORE. The same bytes are stored once, also where they come twice in one request."""
    before = objects(archive)
    first = store(archive.dicomweb_port, file("191"), file("191"))
    assert (first.status, first.stored) == (200, uids("191", "191"))
    assert (store(archive.dicomweb_port, file("191")).status, objects(archive)) == (200, before + 1)
    other = store(archive.dicomweb_port, file("191", _1=b"others"))
    assert (other.status, other.stored) == (200, uids("191"))
    shown = archive.annals("events", "--stream", *uids("191")).stdout
    assert (shown.count("InstanceStored"), shown.count("DuplicateIgnored")) == (1, 1)
    moved = store(archive.dicomweb_port, file("191", study=f"{ROOT}.2"))
    assert (moved.status, moved.failed) == (409, {uids("191")[0]: MISMATCH})
    theirs = data_set("191").replace(text(PATIENT), text(PATIENT) + element(0x00100020, "LO", text("OTHER")), 1)
    other_patient = store(archive.dicomweb_port, part10(theirs, *uids("191")))
    assert (other_patient.status, other_patient.failed) == (409, {uids("191")[0]: MISMATCH})


def test_B21e_file_meta_information_in_a_data_set_is_not_believed(archive: Archive) -> None:
    """F.2.2, 10.4.1.1.2: kept as it came, told by no metadata; the syntax is that of the file's header."""
    data = data_set("195")
    inside = data.replace(text(PATIENT), text(PATIENT) + element(0x00020010, "UI", b"1.2.840.10008.1.2.2\0"))
    answer = store(archive.dicomweb_port, part10(inside, *uids("195")))
    assert (answer.status, answer.stored) == (200, uids("195"))
    assert kept(archive, inside).endswith(inside)
    (told,) = found(archive, f"/studies/{STUDY}/series/{STUDY}.1/instances/{uids('195')[0]}/metadata")
    assert not [tag for tag in told if tag.startswith("0002")]
    (listed,) = found(archive, f"/instances?SOPInstanceUID={uids('195')[0]}")
    assert listed["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]


def test_an_instance_of_another_study_than_the_URL_names_fails(archive: Archive) -> None:
    """10.5.1.1: each shall have the same Study Instance UID; 409 where none has."""
    before = objects(archive)
    path = f"/dicom-web/studies/{STUDY}"
    answer = store(archive.dicomweb_port, file("201", study=f"{ROOT}.3"), path=path)
    assert (answer.status, answer.failed) == (409, {uids("201")[0]: MISMATCH})
    assert answer.module["00081190"] == {"vr": "UR"}
    assert objects(archive) == before
    answer = store(archive.dicomweb_port, file("201", study=f"{ROOT}.3"), file("202"), path=path)
    assert (answer.status, answer.stored, list(answer.failed)) == (202, uids("202"), uids("201"))
    assert store(archive.dicomweb_port, file("203"), path="/dicom-web/studies/abc").status == 400


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(multipart([file("211")]), "multipart/related; type=application/dicom", 400, id="no-boundary"),
        pytest.param(multipart([file("211")]), RELATED.replace(BOUNDARY, "other"), 400, id="another-boundary"),
        pytest.param(b"", RELATED, 400, id="empty"),
        pytest.param(b"noise" * 10_000, RELATED, 400, id="boundary-noise"),
        pytest.param(b"--" + BOUNDARY.encode() + b"--\r\n", RELATED, 400, id="no-part"),
        pytest.param(b"--" + BOUNDARY.encode() + b"\r\n" + b"x" * 20_000, RELATED, 413, id="endless-fields"),
        pytest.param(multipart([b""] * 2001), RELATED, 413, id="more-parts-than-parts_max"),
        pytest.param(multipart([b"GIF89a"], "image/gif"), RELATED, 415, id="parts-of-another-type"),
        pytest.param(
            multipart([multipart([file("211")])], f"multipart/mixed; boundary={BOUNDARY}x"), RELATED, 415, id="nested"
        ),
        pytest.param(b"{}", "application/json", 415, id="json"),
        pytest.param(b"PK\3\4", "application/zip", 415, id="B48-zip"),
        pytest.param(b"x", "", 415, id="no-type"),
        pytest.param(b"x", "multipart/form-data; boundary=x", 415, id="form"),
        pytest.param(b"", DICOM, 400, id="nothing-at-all"),
        pytest.param(file("211")[:300], DICOM, 400, id="a-cut-file"),
    ],
)
def test_B47_a_body_that_holds_nothing_to_store(archive: Archive, body: bytes, content_type: str, status: int) -> None:
    before = objects(archive)
    answer = post(archive.dicomweb_port, body, content_type=content_type)
    assert answer.status == status, answer.body
    assert objects(archive) == before


def test_a_body_without_its_close_delimiter_keeps_what_was_whole(archive: Archive) -> None:
    body = multipart([file("221"), file("222")], end=b"\r\nContent-Type: application/dicom\r\n\r\nDIC")
    answer = post(archive.dicomweb_port, body)
    assert (answer.status, answer.stored, answer.others) == (202, uids("221", "222"), [CANNOT_UNDERSTAND])


def test_the_boundary_in_a_part_is_only_one_at_a_line_of_its_own(archive: Archive) -> None:
    noise = f"--{BOUNDARY}--{BOUNDARY}\r\n--{BOUNDARY}x\r\n\r\n-{BOUNDARY}".encode()
    data = data_set("231", _1=noise + b" " * (len(noise) % 2))
    answer = store(archive.dicomweb_port, part10(data))
    assert answer.stored == uids("231")
    assert noise in kept(archive, data)


def test_a_path_in_a_part_is_nothing(archive: Archive) -> None:
    head = b'\r\nContent-Disposition: attachment; filename="../../x"\r\nContent-Location: ../../x\r\n\r\n'
    body = b"--" + BOUNDARY.encode() + head + file("241") + b"\r\n--" + BOUNDARY.encode() + b"--"
    assert post(archive.dicomweb_port, body).stored == uids("241")


def test_406_before_anything_is_read(archive: Archive) -> None:
    assert store(archive.dicomweb_port, file("251"), Accept="image/png").status == 406
    assert found(archive, f"/instances?SOPInstanceUID={uids('251')[0]}") == []


def _head(body_fields: str) -> bytes:
    return f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n{body_fields}\r\n\r\n".encode()


def _said(connection: socket.socket) -> bytes:
    said = b""
    while b"\r\n\r\n" not in said and (piece := connection.recv(65536)):
        said += piece
    return said


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Content-Type: text/plain", b"415"),
        (f"Content-Type: {RELATED}\r\nAccept: image/png", b"406"),
        ("Content-Type: multipart/related; type=application/dicom", b"400"),
        (f"Content-Type: {RELATED}\r\nContent-Encoding: gzip", b"415"),
    ],
)
def test_what_is_refused_is_refused_before_the_body_is_asked_for(archive: Archive, fields: str, status: bytes) -> None:
    """RFC 9110 10.1.1: the final status instead of 100 Continue."""
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
        connection.sendall(_head(f"{fields}\r\nExpect: 100-continue\r\nContent-Length: 1000000"))
        assert _said(connection).startswith(b"HTTP/1.1 " + status)
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
        whole = multipart([file("261")])
        connection.sendall(_head(f"Content-Type: {RELATED}\r\nExpect: 100-continue\r\nContent-Length: {len(whole)}"))
        assert _said(connection).startswith(b"HTTP/1.1 100")
        connection.sendall(whole)
        assert _said(connection).startswith(b"HTTP/1.1 200")


def test_B45_a_body_past_its_limit_is_refused_also_where_it_does_not_say_so(archive: Archive) -> None:
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
        connection.sendall(_head(f"Content-Type: {DICOM}\r\nTransfer-Encoding: chunked"))
        piece = b"%x\r\n" % MIB + bytes(MIB) + b"\r\n"
        try:
            for _ in range(80):
                connection.sendall(piece)
        except OSError:
            pass
        assert _said(connection).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_what_follows_a_body_on_its_connection_is_the_next_request(archive: Archive) -> None:
    """Read to its end or left at its close delimiter, whatever comes behind it in the same packets is not lost."""
    search = f"GET /dicom-web/instances?SOPInstanceUID={ROOT}.9.292 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    whole = multipart([file("291", size=900_000)])
    with_epilogue = multipart([file("292", size=900_000)]) + bytes(3 * MIB)
    sent = b"".join(
        _head(f"Content-Type: {RELATED}\r\nContent-Length: {len(body)}") + body for body in (whole, with_epilogue)
    )
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
        sending = threading.Thread(target=connection.sendall, args=(sent + search,))
        sending.start()
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 3 and (said := connection.recv(65536)):
            answers += said
        sending.join()
    assert answers.count(b"HTTP/1.1 200") == 3
    assert not temp_files(archive)


def test_a_connection_lost_in_a_part_keeps_what_was_whole_and_nothing_else(archive: Archive) -> None:
    before = objects(archive)
    body = multipart([file("271"), file("272"), file("273", size=900_000)])
    for at in (700_000, len(body) - 40):
        with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
            connection.sendall(_head(f"Content-Type: {RELATED}\r\nContent-Length: {len(body)}") + body[:at])
            until(lambda: len(found(archive, f"/instances?SOPInstanceUID={uids('272')[0]}")) == 1, 60, "272 is there")
            until(lambda: bool(temp_files(archive)), 60, "the third has begun")
        until(lambda: not temp_files(archive), 60, "its temp file is gone")
    assert objects(archive) == before + 2


def test_B44_a_body_that_does_not_come_is_given_up(archive: Archive) -> None:
    body = multipart([file("281"), file("282", size=900_000)])
    with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
        connection.sendall(_head(f"Content-Type: {RELATED}\r\nContent-Length: {len(body)}") + body[:-1000])
        assert _said(connection).startswith(b"HTTP/1.1 408")


def resident(archive: Archive) -> int:
    (pid,) = archive.processes("dicomweb")
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_hostile_bodies_at_once_harm_nobody(archive: Archive) -> None:
    """Peers that stop in the middle hold no memory to speak of, and an honest one is served meanwhile."""
    assert store(archive.dicomweb_port, file("291")).status == 200
    before = resident(archive)
    body = multipart([file("292", size=900_000)])
    held = [socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) for _ in range(30)]
    for connection in held:
        connection.sendall(_head(f"Content-Type: {RELATED}\r\nContent-Length: {len(body)}") + body[:700_000])
    assert store(archive.dicomweb_port, file("293")).status == 200
    assert archive.dcmtk("echoscu").returncode == 0
    for connection in held:
        connection.close()
    until(lambda: not temp_files(archive), 60, "all were given up")
    assert resident(archive) - before < 64 * MIB


def test_DEV_5_a_device_without_UPLOAD_stores_nothing(archive: Archive) -> None:
    archive.annals("device", "wado", "add", "127.0.0.1", "--rights", "DOWNLOAD,FIND")
    try:
        until(lambda: store(archive.dicomweb_port, file("301")).status == 403, 60, "the right is asked")
        with socket.create_connection(("127.0.0.1", archive.dicomweb_port), timeout=60) as connection:
            connection.sendall(_head(f"Content-Type: {RELATED}\r\nExpect: 100-continue\r\nContent-Length: 1000000"))
            assert _said(connection).startswith(b"HTTP/1.1 403")
    finally:
        archive.annals("device", "wado", "remove", "127.0.0.1")
    until(lambda: store(archive.dicomweb_port, file("302")).status == 200, 60, "anyone may again")


def test_the_facts_name_who_stored_and_by_which_request(archive: Archive) -> None:
    assert store(archive.dicomweb_port, file("311")).status == 200
    shown = archive.annals("explain", *uids("311")).stdout
    assert "127.0.0.1" in shown
    assert re.search(r"[0-9a-f]{16}/1", archive.annals("events", "--stream", *uids("311")).stdout + shown)
