"""Objects of a number: small data sets, no two alike, that a checker can make again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tests.dicom.encoding import CT_CLASS, EXPLICIT, element, minimal, text

ROOT = "1.2.826.0.1.3680043.10.1234"
PIECE = 64 * 1024
SIZE = 150_000
SYNTAX = EXPLICIT
SOP_CLASS = CT_CLASS


@dataclass(frozen=True, slots=True)
class Sent:
    """One object of a study; ``salt`` changes its bytes and nothing else."""

    study: str
    instance: str
    salt: int = 0
    size: int = SIZE

    def data_set(self) -> bytes:
        """Its bytes, in explicit VR little endian."""
        seed = hashlib.sha256(f"{self.instance} {self.salt}".encode()).digest()
        head = minimal(
            [
                (0x00100010, "PN", text("Durability^Test")),
                (0x00100020, "LO", text(f"P{self.study.rsplit('.', 1)[1]}")),
                (0x00200013, "IS", text(self.instance.rsplit(".", 1)[1])),
            ],
            sop_class=SOP_CLASS,
            instance=self.instance,
            series=f"{self.study}.1",
            study=self.study,
        )
        return head + element(0x7FE00010, "OW", seed * (self.size // len(seed)))

    def digest(self) -> str:
        """The SHA-256 of its bytes."""
        return hashlib.sha256(self.data_set()).hexdigest()


def study_uid(number: int, part: int = 0) -> str:
    """The Study Instance UID of a round."""
    return f"{ROOT}.{part}.{number}"


def sent(study: str, number: int, salt: int = 0) -> Sent:
    """The object of a number in a study."""
    return Sent(study, f"{study}.1.{number}", salt)
