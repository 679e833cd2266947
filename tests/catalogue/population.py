"""Generated histories and questions for the catalogue: few values, so that much collides.

There are two storages, which are removed and added again; what comes again while its storage is removed is kept anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from hypothesis import strategies as st

from domain.attributes import BY_TAG, Level
from domain.event import Actor, Envelope, Event, Particulars, Recorded, stream_id
from domain.instance import (
    Content,
    InstanceMoved,
    InstanceReplaced,
    InstanceStored,
    OnDuplicate,
    fold,
    move,
    store,
)
from domain.matching import Key
from domain.storage import StorageAdded, StorageRemoved, StorageWithdrawn

_NAMESPACE = UUID("0a1c7f52-52a1-5d0f-9f7e-3a2b1c4d5e6f")
_AT = datetime(2024, 1, 1, tzinfo=UTC)
_CT, _SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"

_LETTERS = st.text("AbÉé%_\\*?' ^1", min_size=1, max_size=4)
_WORDS = ("Ivanov", "Ivanova", "Ivnov", "Иванов", "Anna", "Ann", "An", "山田", "山田太", "")
_NAMES = st.lists(st.sampled_from(_WORDS), max_size=3).map("^".join) | _LETTERS
_NAME = st.fixed_dictionaries({}, optional=dict.fromkeys(("Alphabetic", "Ideographic", "Phonetic"), _NAMES)).map(
    lambda name: name or None
)
_DATE = st.sampled_from(["20240101", "20240102", "20241231", "2024.01.01", "nonsense"])


def _element(vr: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(st.none() | value, max_size=2).map(
        lambda values: {"vr": vr, "Value": values} if values else {"vr": vr}
    )


def _attributes(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {}, optional={tag[1:]: _element(BY_TAG[tag[1:]].vr, value) for tag, value in values.items()}
    )


_CODE = _LETTERS.map(lambda text: {"00080100": {"vr": "SH", "Value": [text]}})
_CONTENTS = st.fixed_dictionaries(
    {
        "patient": _attributes(
            t00100010=_NAME, t00100020=_LETTERS, t00100021=st.just("I"), t00100030=_DATE, t00104000=_LETTERS
        ),
        "study": _attributes(
            t00080020=_DATE,
            t00080030=st.just("1015"),
            t00080050=_LETTERS,
            t00080090=_NAME,
            t00081030=_LETTERS,
            t00081032=_CODE,
            t00201206=st.none(),
        ),
        "series": _attributes(
            t00080060=st.sampled_from(["CT", "MR", "SR"]), t0008103E=_LETTERS, t00200011=st.integers(0, 2)
        ),
    }
)
_OWN = _attributes(t00200013=st.integers(0, 2), t00080008=st.sampled_from(["ORIGINAL", "DERIVED"]))


def stored(
    number: int, content: dict[str, Any], own: dict[str, Any], digest: str, storage: str = "default"
) -> tuple[InstanceStored, Particulars]:
    """The instance of this number: its number decides its study, series and class."""
    study, series = f"1.{number % 3}", f"1.{number % 3}.{number % 5}"
    row = Particulars(uuid5(_NAMESPACE, repr(content)), "d", content)
    fact = InstanceStored(
        f"{series}.{number}",
        (_CT, _SR)[number % 2],
        series,
        study,
        Content(digest, 10, 300, "1.2.840.10008.1.2.1", storage, f"{digest}\t\\\n.dcm"),
        str(row.id),
        "d",
        own,
    )
    return fact, row


_STEPS = st.sampled_from([[], [("", "")], [("", "1.0"), ("1.0", "")], [("", "1.0")], [("1.0", "1.1"), ("1.1", "1.2")]])
"""The steps in which a storage is withdrawn before it is removed: to the last study, or not, or not all before it."""


@st.composite
def histories(draw: st.DrawFn, size: int = 14) -> list[Recorded]:
    """Facts as the verbs append them, in the order of the log."""
    streams: dict[str, list[Event]] = {}
    log: list[Recorded] = []
    used = {"default", "second"}

    def append(kind: str, name: str, fact: Event, row: Particulars | None = None) -> None:
        past = streams.setdefault(name, [])
        past.append(fact)
        envelope = Envelope(_AT, Actor("device", "MODALITY"))
        log.append(Recorded(len(log) * 3 + 1, stream_id(kind, name), len(past), fact, envelope, row))

    for _ in range(draw(st.integers(0, size))):
        step = draw(st.sampled_from(["arrive"] * 4 + ["remove", "add", "move"]))
        storage = draw(st.sampled_from(sorted(used) or ["default"]))
        if step == "remove" and used:
            used.remove(storage)
            for after, until in draw(_STEPS):
                append("storage", storage, StorageWithdrawn(storage, after, until))
            if draw(st.booleans()):
                append("storage", storage, StorageRemoved(storage))
        elif step == "add" and len(used) < 2:
            storage = draw(st.sampled_from(sorted({"default", "second"} - used)))
            used.add(storage)
            append("storage", storage, StorageAdded(storage, "id", "/path"))
        elif used:
            number, digest = draw(st.integers(0, 11)), draw(st.sampled_from(["a", "b"]))
            arriving, row = stored(number, draw(_CONTENTS), draw(_OWN), digest, storage)
            known = fold(streams.get(arriving.sop_instance_uid, []))
            if step == "move" and known:
                content = replace(known.stored.content, storage=storage)
                for moved in move(known, content):
                    append("instance", arriving.sop_instance_uid, moved)
                continue
            if known and known.stored.content.storage not in used:
                known = replace(known, unreadable=True)
            for fact in store(known, arriving, OnDuplicate.REPLACE):
                particulars = row if isinstance(fact, (InstanceStored, InstanceReplaced)) else None
                append("instance", arriving.sop_instance_uid, fact, particulars)
    return log


_MEANT = st.lists(st.sampled_from((*_WORDS, "Ivanvo", "Petrov")), min_size=1, max_size=2).map(" ".join)
_PATTERN = st.text("AbÉ%_\\*?' ^=1", min_size=1, max_size=4)
_DATES = st.sampled_from(["20240101", "20240102-", "-20240101", "20240101-20240102", "2024", "20250101-20240101"])
_VALUES = {
    "PN": _PATTERN,
    "LO": _PATTERN,
    "SH": _PATTERN,
    "LT": _PATTERN,
    "DA": _DATES,
    "TM": st.sampled_from(["1015", "10-11", "2300-"]),
    "IS": st.sampled_from(["0", "001", "2", "x"]),
    "CS": st.sampled_from(["CT", "C*", "?R", "SR", "DERIVED", "x"]),
}
_ASKED = {
    Level.PATIENT: ["00100010", "00100020", "00100030", "00104000", "00201200"],
    Level.STUDY: [
        "0020000D",
        "00080020",
        "00080030",
        "00080050",
        "00080090",
        "00081030",
        "00081032",
        "00080061",
        "00080062",
        "00201206",
        "00201208",
    ],
    Level.SERIES: ["0020000E", "00080060", "0008103E", "00200011", "00201209"],
    Level.IMAGE: ["00080018", "00080016", "00200013", "00080008"],
}
_UIDS = st.sampled_from(["1.0", "1.1", "1.0.0", "1.1.1", "1.0.0.0", "1.1.1.1", _CT, _SR, "9"])


@st.composite
def questions(draw: st.DrawFn, level: Level) -> dict[str, Key]:
    """Keys at or above a level."""
    tags = [tag for at, tags in _ASKED.items() if at <= level for tag in tags]
    keys = {}
    for tag in draw(st.lists(st.sampled_from(tags), unique=True, max_size=3)):
        vr = BY_TAG[tag].vr
        if vr == "SQ":
            keys[tag] = Key("SQ", (), {"00080100": Key("SH", (draw(_PATTERN),))})
        elif vr == "PN" and level > Level.PATIENT and draw(st.booleans()):
            keys[tag] = Key("PN", tuple(draw(st.lists(_MEANT, min_size=1, max_size=2))), is_fuzzy=True)
        else:
            values: st.SearchStrategy[str] = _UIDS if vr == "UI" else _VALUES[vr]
            keys[tag] = Key(vr, tuple(draw(st.lists(values, max_size=2 if vr != "DA" else 1))))
    return keys


def expected(log: Sequence[Recorded], level: Level) -> list[dict[str, Any]]:
    """Every record of a level as the log tells it, slowly and without SQL."""
    newest: dict[str, InstanceStored] = {}
    studies: dict[str, dict[str, Any]] = {}
    series: dict[str, dict[str, Any]] = {}
    patients: dict[str, dict[str, Any]] = {}
    owner: dict[str, str] = {}
    removed: set[str] = set()
    withdrawn: set[str] = set()
    for recorded in log:
        fact = recorded.event
        if isinstance(fact, StorageRemoved):
            removed.add(fact.name)
        elif isinstance(fact, StorageAdded):
            removed.discard(fact.name)
            withdrawn -= {uid for uid, one in newest.items() if one.content.storage == fact.name}
        elif isinstance(fact, StorageWithdrawn):
            withdrawn |= {
                uid
                for uid, one in newest.items()
                if one.content.storage == fact.name and fact.after < one.study_instance_uid <= (fact.until or "~")
            }
        elif isinstance(fact, InstanceMoved):
            withdrawn.discard(fact.sop_instance_uid)
            newest[fact.sop_instance_uid] = replace(newest[fact.sop_instance_uid], content=fact.content)
        if not isinstance(fact, InstanceStored):
            continue
        assert recorded.particulars
        content = recorded.particulars.content
        newest[fact.sop_instance_uid] = fact
        withdrawn.discard(fact.sop_instance_uid)
        owner[fact.study_instance_uid] = _owner(content["patient"], fact.study_instance_uid)
        patients[owner[fact.study_instance_uid]] = dict(content["patient"])
        studies[fact.study_instance_uid] = {**content["patient"], **content["study"]}
        series[fact.series_instance_uid] = dict(content["series"])
    there = (one for uid, one in newest.items() if uid not in withdrawn)
    instances = [one for one in there if one.content.storage not in removed]
    found = {one.study_instance_uid for one in instances}
    studies = {uid: attributes for uid, attributes in studies.items() if uid in found}
    records = []
    if level is Level.PATIENT:
        for key, attributes in patients.items():
            mine = [uid for uid in studies if owner[uid] == key]
            if mine:
                records.append({**attributes, **_patient_counts(instances, mine)})
        return records
    for study_uid, attributes in studies.items():
        within = [one for one in instances if one.study_instance_uid == study_uid]
        modalities = {_first(series[one.series_instance_uid], "00080060") for one in within} - {None}
        study = {
            **attributes,
            **_patient_counts(instances, [uid for uid in studies if owner[uid] == owner[study_uid]]),
            "0020000D": {"vr": "UI", "Value": [study_uid]},
            "00080061": {"vr": "CS", "Value": sorted(modalities)},
            "00080062": {"vr": "UI", "Value": sorted({one.sop_class_uid for one in within})},
            "00201206": {"vr": "IS", "Value": [len({one.series_instance_uid for one in within})]},
            "00201208": {"vr": "IS", "Value": [len(within)]},
        }
        if level is Level.STUDY:
            records.append(study)
            continue
        for series_uid in sorted({one.series_instance_uid for one in within}):
            members = [one for one in within if one.series_instance_uid == series_uid]
            record = {
                **study,
                **series[series_uid],
                "0020000E": {"vr": "UI", "Value": [series_uid]},
                "00201209": {"vr": "IS", "Value": [len(members)]},
            }
            if level is Level.SERIES:
                records.append(record)
                continue
            records.extend(
                {
                    **record,
                    **one.attributes,
                    "00080018": {"vr": "UI", "Value": [one.sop_instance_uid]},
                    "00080016": {"vr": "UI", "Value": [one.sop_class_uid]},
                }
                for one in members
            )
    return records


def _patient_counts(instances: Sequence[InstanceStored], studies: Sequence[str]) -> dict[str, Any]:
    mine = [one for one in instances if one.study_instance_uid in studies]
    counts = (len(studies), len({one.series_instance_uid for one in mine}), len(mine))
    return {
        tag: {"vr": "IS", "Value": [count]}
        for tag, count in zip(("00201200", "00201202", "00201204"), counts, strict=True)
    }


def _owner(patient: dict[str, Any], study_uid: str) -> str:
    patient_id = _first(patient, "00100020")
    return f"{_first(patient, '00100021') or ''}\x1f{patient_id}" if patient_id else f"\x1f\x1f{study_uid}"


def _first(attributes: dict[str, Any], tag: str) -> str | None:
    value = (attributes.get(tag, {}).get("Value") or [None])[0]
    return None if value is None else str(value).strip(" ")
