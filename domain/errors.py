"""The errors that doors translate: each refusal has one DIMSE status and one HTTP code."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class AnnalsError(Exception):
    """Any failure that Annals foresees. Its text says what to do and holds no patient data."""


class Unavailable(AnnalsError):
    """A part that is needed (database, storage) does not answer now; the same request may succeed later."""


class InvalidInput(AnnalsError):
    """Input that breaks its rules. ``faults`` names them all, each with its key and the reason."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class Because(Enum):
    """Why a request was refused, in DICOM's words. The value is the DIMSE status (PS3.7 Annex C, PS3.4 B.2.3, C.4)."""

    OUT_OF_RESOURCES = 0xA700
    CANNOT_COUNT_MATCHES = 0xA701
    CANNOT_PERFORM_SUB_OPERATIONS = 0xA702
    MOVE_DESTINATION_UNKNOWN = 0xA801
    IDENTIFIER_DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    INVALID_UID = 0x0117
    INVALID_ARGUMENT = 0x0115


class Refused(AnnalsError):
    """A request that is understood and not granted."""

    def __init__(self, because: Because, text: str) -> None:
        super().__init__(text)
        self.because = because
