"""Many answers: a limit, an order, a cancel in the middle and one that comes too late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRoot,
)

from adapters.log.log import EventLog
from adapters.postgres.embedded import EmbeddedPostgres
from annals.compose import FACTS
from domain.event import Actor
from domain.instance import Content, InstanceStored
from domain.limits import Limits
from tests.archive.conftest import SMALL, Archive, running_archive

_STUDIES = 3_000
_MATCHES_MAX = 2_000


@pytest.fixture(scope="module")
def filled() -> Iterator[Archive]:
    """An archive whose log tells of many studies, and which looks for them a few at a time: a cancel overtakes them."""
    limits = {
        "ANNALS_LIMITS__QUERY_MATCHES_MAX": str(_MATCHES_MAX),
        "ANNALS_LIMITS__QUERY_PAGE": "2",
        "ANNALS_LIMITS__QUERY_TIMEOUT_SECONDS": "60",
    }
    with running_archive({**SMALL, **limits}) as archive:
        _fill(archive)
        yield archive


def _fill(archive: Archive) -> None:
    log = EventLog(EmbeddedPostgres(archive.data / "postgres").dsn(), FACTS, Limits())
    log.open()
    for first in range(0, _STUDIES, 500):
        facts, rows = [], []
        for number in range(first, first + 500):
            uid = f"1.2.{number * 7919 % _STUDIES}"
            half = {"00100020": {"vr": "LO", "Value": ["EVEN" if number % 2 else "ODD"]}}
            row = log.particulars_for({"patient": half, "study": {}, "series": {}})
            content = Content("d", 1, 1, ExplicitVRLittleEndian, "default", f"{number}.dcm")
            facts.append(
                ("instance", f"{uid}.1.1", InstanceStored(
                    f"{uid}.1.1", "1.2.840.10008.5.1.4.1.1.2", f"{uid}.1", uid, content, str(row.id), row.digest
                ))
            )  # fmt: skip
            rows.append(row)
        log.append_many(facts, by=Actor("system", "test"), particulars=list({row.id: row for row in rows}.values()))
    log.close()


@pytest.fixture
def association(filled: Archive) -> Iterator[Association]:
    asking = AE("FINDER")
    asking.add_requested_context(StudyRoot, ExplicitVRLittleEndian)
    made = asking.associate("127.0.0.1", filled.port, ae_title="ANNALS")
    assert made.is_established
    yield made
    made.release()


def _asked(patient_id: str = "") -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID, identifier.PatientID = "STUDY", "", patient_id
    return identifier


def _found(association: Association, patient_id: str) -> tuple[list[str], int]:
    uids, last = [], 0
    for status, answer in association.send_c_find(_asked(patient_id), StudyRoot, msg_id=1):
        if answer is not None:
            uids.append(answer.StudyInstanceUID)
        last = status.Status
    return uids, last


def test_C1_20_every_study_comes_once_and_in_the_same_order(association: Association) -> None:
    uids, status = _found(association, "ODD")
    assert status == 0
    assert len(uids) == len(set(uids)) == _STUDIES // 2
    assert uids == sorted(uids, reverse=True), "none has a date, so the order is that of the UIDs"
    assert _found(association, "ODD") == (uids, 0)


def test_B33_more_than_the_most_ends_in_A700(association: Association) -> None:
    uids, status = _found(association, "")
    assert (len(set(uids)), status) == (_MATCHES_MAX, 0xA700)


def test_C1_19_a_cancel_in_the_middle_ends_in_FE00_and_holds_for_that_request_only(association: Association) -> None:
    seen, last = 0, 0
    for status, answer in association.send_c_find(_asked("EVEN"), StudyRoot, msg_id=1):
        seen += answer is not None
        if seen == 10 and answer is not None:
            association.send_c_cancel(1, query_model=StudyRoot)
        last = status.Status
    assert last == 0xFE00
    assert seen < _STUDIES // 2
    uids, status = _found(association, "EVEN")
    assert (len(uids), status) == (_STUDIES // 2, 0)


def test_C1_19_a_cancel_after_the_end_is_ignored(association: Association) -> None:
    assert _found(association, "NOBODY") == ([], 0)
    association.send_c_cancel(1, query_model=StudyRoot)
    uids, status = _found(association, "ODD")
    assert (len(uids), status) == (_STUDIES // 2, 0)
