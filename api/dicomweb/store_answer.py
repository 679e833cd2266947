"""What became of the parts of a store request, as its answer (PS3.18 10.5.3, Annex I)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from api.dicomweb.model_types import model_document
from api.problems import RETRY_SECONDS, HttpRefusal, status_of
from domain.errors import AnnalsError, Because, OverQuota, Refused, ToldTogether, Unavailable

DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xB007
PROCESSING_FAILURE = 0x0110
INSUFFICIENT_STORAGE = 507
"""No storage takes what was sent (RFC 4918 11.5); 503 is the archive itself, which cannot answer now."""

_ALONE = frozenset((400, 413, 415, 500, 503, INSUFFICIENT_STORAGE))
"""HTTP codes that answer the whole request where every part failed with it; a mixture of reasons is 409 (10.5.3.1)."""

_WARNINGS_MAX = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part. A failed one has a Failure Reason (Table I.2-2), and a UID only where it told one.

    ``status`` is the HTTP code that the part alone would be answered with; ``said`` holds no patient data. ``is_told``:
    many such failures are told of together, elsewhere.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    failure_reason: int = 0
    warning_reason: int = 0
    status: int = 200
    said: str = ""
    is_told: bool = False


def store_status(error: Exception) -> int:
    """The one HTTP code of an error while something is stored: what refuses then is a storage, or a licence."""
    status = status_of(error)
    is_full = isinstance(error, Refused) and not isinstance(error, OverQuota)
    return INSUFFICIENT_STORAGE if is_full and status == 503 else status


def failed(error: Exception, sop_class_uid: str = "", sop_instance_uid: str = "") -> Outcome:
    """The outcome of a part that could not be stored."""
    reason, status = PROCESSING_FAILURE, store_status(error)
    match error:
        case Refused():
            reason = error.because.value
            if error.because is Because.IDENTIFIER_DOES_NOT_MATCH:
                status = 409
        case Unavailable():
            reason = Because.OUT_OF_RESOURCES.value
        case HttpRefusal():
            reason = Because.CANNOT_UNDERSTAND.value
    said = str(error) if isinstance(error, AnnalsError) else "failed for a reason that was logged"
    is_told = isinstance(error, ToldTogether)
    return Outcome(sop_class_uid, sop_instance_uid, failure_reason=reason, status=status, said=said, is_told=is_told)


def store_answer(outcomes: Sequence[Outcome], service: str, media_type: str, *, in_parts: bool) -> Response:
    """The Store Instances Response Module with the status of the whole; ``in_parts``: as a ``multipart/related``."""
    status = _status(outcomes)
    stored = [one for one in outcomes if not one.failure_reason]
    studies = {one.study_instance_uid for one in stored}
    study = f"{service}/studies/{studies.pop()}" if len(studies) == 1 else ""
    headers = {"Vary": "Accept"}
    if study:
        headers["Location"] = study
        headers["Content-Location"] = _url(stored[0], service) if len(stored) == 1 else study
    if status == 503:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if warnings := list(_warnings(outcomes)):
        headers["Warning"] = ", ".join(f"299 {service}: {text}" for text in warnings)
    body, content_type = model_document(_module(outcomes, service, study), media_type, in_parts=in_parts)
    return Response(body, status, headers, content_type)


def _status(outcomes: Sequence[Outcome]) -> int:
    failures = {one.status for one in outcomes if one.failure_reason}
    if all(one.failure_reason for one in outcomes):
        (alone, *others) = failures
        return alone if not others and alone in _ALONE else 409
    return 202 if failures or any(one.warning_reason for one in outcomes) else 200


def _module(outcomes: Sequence[Outcome], service: str, study: str) -> dict[str, Any]:
    """Table I.1-1; what is required only where there is something is left out else."""
    sequences: dict[str, list[dict[str, Any]]] = {
        "00081198": [_item(one, service) for one in outcomes if one.failure_reason and one.sop_instance_uid],
        "00081199": [_item(one, service) for one in outcomes if not one.failure_reason],
        "0008119A": [_item(one, service) for one in outcomes if one.failure_reason and not one.sop_instance_uid],
    }
    filled = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    return {"00081190": {"vr": "UR", "Value": [study]} if study else {"vr": "UR"}, **filled}


def _item(one: Outcome, service: str) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if one.sop_instance_uid:
        item["00081150"] = {"vr": "UI", "Value": [one.sop_class_uid]}
        item["00081155"] = {"vr": "UI", "Value": [one.sop_instance_uid]}
    if one.failure_reason:
        item["00081197"] = {"vr": "US", "Value": [one.failure_reason]}
        return item
    item["00081190"] = {"vr": "UR", "Value": [_url(one, service)]}
    if one.warning_reason:
        item["00081196"] = {"vr": "US", "Value": [one.warning_reason]}
    return item


def _url(stored: Outcome, service: str) -> str:
    parts = (("studies", stored.study_instance_uid), ("series", stored.series_instance_uid))
    return service + "".join(f"/{name}/{uid}" for name, uid in (*parts, ("instances", stored.sop_instance_uid)))


def _warnings(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Each failure's status and reason once (10.5.3.2 recommends it); the module has no place for words."""
    distinct = dict.fromkeys((one.failure_reason, one.said) for one in outcomes if one.failure_reason)
    for reason, said in list(distinct)[:_WARNINGS_MAX]:
        text = "".join(c for c in ascii(said)[1:-1] if c not in '",\\')
        yield f"{reason:04X} {text}"
