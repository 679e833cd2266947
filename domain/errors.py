"""The errors that doors translate: each refusal has one DIMSE status and one HTTP code."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class AnnalsError(Exception):
    """Any failure that Annals foresees. Its text says what to do and holds no patient data."""


class Unavailable(AnnalsError):
    """A part that is needed (database, storage) does not answer now; the same request may succeed later."""


class NotThere(AnnalsError):
    """What is asked for does not exist, or not for the one who asks."""


class NotAcceptable(AnnalsError):
    """What is asked for exists, but cannot be had in any form that the asker accepts."""


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
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    INVALID_UID = 0x0117
    INVALID_ARGUMENT = 0x0115
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    NO_SUCH_ACTION = 0x0123
    DUPLICATE_TRANSACTION_UID = 0x0131


class Refused(AnnalsError):
    """A request that is understood and not granted."""

    def __init__(self, because: Because, text: str) -> None:
        super().__init__(text)
        self.because = because


class ToldTogether(Refused):
    """Out of resources for as many as may come: they are told of together where they are refused, not one by one."""

    def __init__(self, text: str) -> None:
        super().__init__(Because.OUT_OF_RESOURCES, text)


class OverQuota(ToldTogether):
    """More than one may in a time: later it succeeds."""


class TooLarge(Refused):
    """An object that is larger than one may be: no later time helps."""

    def __init__(self, text: str) -> None:
        super().__init__(Because.OUT_OF_RESOURCES, text)


class TooBroad(Refused):
    """A query that would take or return more than one may: it must be narrowed."""

    def __init__(self, text: str) -> None:
        super().__init__(Because.OUT_OF_RESOURCES, text)
