"""Facts straight into the log: an archive of any number of studies without sending one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

from adapters.log.log import EventLog
from domain import instance
from domain.event import Actor, Particulars
from domain.instance import Content, InstanceStored

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
MODALITIES = ("CT", "MR", "DX", "US")
STUDIES_A_DAY = 200

_FIRST_DAY = date(2012, 1, 2)
_FAMILY_NAMES = 20_000
_GIVEN_NAMES = 500
_BATCH = 1_000
_ROOT = "1.2.826.0.1.3680043.8.498"
_BY = Actor("system", "bench")


@dataclass(frozen=True, slots=True)
class Study:
    """A made-up study; everything follows from its number, so it can be asked for again."""

    number: int

    @property
    def uid(self) -> str:
        """Its Study Instance UID."""
        return f"{_ROOT}.{self.number + 1}"

    @property
    def patient_id(self) -> str:
        """Two studies a patient."""
        return f"P{self.number // 2:08d}"

    @property
    def patient_name(self) -> str:
        """One of some millions of names; a family name recurs as it does in a hospital."""
        chosen = random.Random(self.number // 2)
        family, given = chosen.randrange(_FAMILY_NAMES), chosen.randrange(_GIVEN_NAMES)
        return f"{_word(family * 7919 % _FAMILY_NAMES, 5)}^{_word(given * 37, 4)}"

    @property
    def accession_number(self) -> str:
        """One a study."""
        return f"A{self.number:09d}"

    @property
    def study_date(self) -> str:
        """The archive grows by the same number of studies every day."""
        return f"{_FIRST_DAY + timedelta(days=self.number // STUDIES_A_DAY):%Y%m%d}"

    @property
    def modality(self) -> str:
        """One a study, in turn."""
        return MODALITIES[self.number % len(MODALITIES)]

    def particulars(self, series: int) -> Mapping[str, Mapping[str, Any]]:
        """What the log keeps beside the facts of one series."""
        return {
            "patient": {
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": self.patient_name}]},
                "00100020": {"vr": "LO", "Value": [self.patient_id]},
                "00100030": {"vr": "DA", "Value": ["19600101"]},
                "00100040": {"vr": "CS", "Value": ["O"]},
            },
            "study": {
                "0020000D": {"vr": "UI", "Value": [self.uid]},
                "00080020": {"vr": "DA", "Value": [self.study_date]},
                "00080030": {"vr": "TM", "Value": ["101112"]},
                "00080050": {"vr": "SH", "Value": [self.accession_number]},
                "00081030": {"vr": "LO", "Value": ["Thorax"]},
                "00200010": {"vr": "SH", "Value": [str(self.number)]},
            },
            "series": {
                "0020000E": {"vr": "UI", "Value": [f"{self.uid}.{series}"]},
                "00080060": {"vr": "CS", "Value": [self.modality]},
                "00200011": {"vr": "IS", "Value": [series]},
                "0008103E": {"vr": "LO", "Value": ["Axial"]},
                "00080070": {"vr": "LO", "Value": ["Bench"]},
                "00081010": {"vr": "SH", "Value": ["STATION"]},
            },
        }


def append(log: EventLog, studies: Iterable[Study], *, series: int, images: int) -> int:
    """Append the facts of whole studies, ``images`` a series; returns how many."""
    facts = _facts(log, studies, series, images)
    appended = 0
    while batch := list(islice(facts, _BATCH)):
        rows = {particulars.id: particulars for particulars, _ in batch}
        log.append_many(
            [(instance.KIND, event.sop_instance_uid, event) for _, event in batch],
            by=_BY,
            particulars=list(rows.values()),
        )
        appended += len(batch)
    return appended


def _facts(
    log: EventLog, studies: Iterable[Study], series: int, images: int
) -> Iterator[tuple[Particulars, InstanceStored]]:
    for study in studies:
        for series_number in range(1, series + 1):
            particulars = log.particulars_for(study.particulars(series_number))
            series_uid = f"{study.uid}.{series_number}"
            for image in range(1, images + 1):
                yield particulars, _stored(study, series_uid, image, particulars)


def _stored(study: Study, series_uid: str, image: int, particulars: Particulars) -> InstanceStored:
    uid = f"{series_uid}.{image}"
    digest = sha256(uid.encode()).hexdigest()
    return InstanceStored(
        sop_instance_uid=uid,
        sop_class_uid=CT_IMAGE,
        series_instance_uid=series_uid,
        study_instance_uid=study.uid,
        content=Content(
            digest, 525_312, 352, EXPLICIT_LITTLE_ENDIAN, "default", f"{digest[:2]}/{digest[2:4]}/{digest}.dcm"
        ),
        particulars=str(particulars.id),
        particulars_digest=particulars.digest,
        attributes={
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", "AXIAL"]},
            "00080022": {"vr": "DA", "Value": [study.study_date]},
            "00200013": {"vr": "IS", "Value": [image]},
            "00280008": {"vr": "IS", "Value": [1]},
            "00280010": {"vr": "US", "Value": [512]},
            "00280011": {"vr": "US", "Value": [512]},
            "00280100": {"vr": "US", "Value": [16]},
        },
    )


def _word(number: int, letters: int) -> str:
    text = ""
    for _ in range(letters):
        number, letter = divmod(number, 26)
        text += chr(ord("A") + letter)
    return text
