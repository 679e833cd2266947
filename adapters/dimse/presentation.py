"""Which presentation contexts are accepted: every storage class and syntax of the dictionary (NET-5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydicom._uid_dict import UID_dictionary

from adapters.dicom.sop_classes import storable_sop_classes
from adapters.dimse.command import C_ECHO_RQ, C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, C_STORE_RQ, N_ACTION_RQ
from adapters.dimse.negotiation import VERIFICATION, SupportedContext
from domain.device import Right
from domain.transcoding import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT

PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
STORAGE_COMMITMENT_PUSH = "1.2.840.10008.1.20.1"
MODALITY_WORKLIST_FIND = "1.2.840.10008.5.1.4.31"
QUERY_RETRIEVE = (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_MOVE,
    PATIENT_ROOT_GET,
    STUDY_ROOT_FIND,
    STUDY_ROOT_MOVE,
    STUDY_ROOT_GET,
)

_OPERATIONS = {
    VERIFICATION: C_ECHO_RQ,
    PATIENT_ROOT_FIND: C_FIND_RQ,
    PATIENT_ROOT_MOVE: C_MOVE_RQ,
    PATIENT_ROOT_GET: C_GET_RQ,
    STUDY_ROOT_FIND: C_FIND_RQ,
    STUDY_ROOT_MOVE: C_MOVE_RQ,
    STUDY_ROOT_GET: C_GET_RQ,
    STORAGE_COMMITMENT_PUSH: N_ACTION_RQ,
}

_RIGHTS: dict[int, tuple[Right, ...]] = {
    C_ECHO_RQ: (),
    C_STORE_RQ: (Right.UPLOAD,),
    C_FIND_RQ: (Right.FIND,),
    C_MOVE_RQ: (Right.DOWNLOAD,),
    C_GET_RQ: (Right.DOWNLOAD,),
    N_ACTION_RQ: (Right.UPLOAD,),
}
_WORKLIST_RIGHTS = (Right.MWL, Right.FIND)

_NOT_FOR_STORED_OBJECTS = (
    "1.2.840.10008.1.2.6.",
    "1.2.840.10008.1.2.7.",
    "1.2.840.10008.1.20",
)
_OFTEN_UNFIT = frozenset(
    (
        "1.2.840.10008.5.1.4.1.1.66.4",
        "1.2.840.10008.5.1.4.1.1.30",
        "1.2.840.10008.5.1.4.1.1.481.2",
    )
)
"""Segmentation, Parametric Map and RT Dose: samples of 1 bit, of 32 bits and floats, which few syntaxes hold."""


def storable_transfer_syntaxes() -> tuple[str, ...]:
    """Every transfer syntax in which an object can be stored (PS3.6 A-1, without MIME, XML, SMPTE and Papyrus)."""
    return tuple(
        uid
        for uid, entry in UID_dictionary.items()
        if entry[1] == "Transfer Syntax" and not uid.startswith(_NOT_FOR_STORED_OBJECTS)
    )


def is_agreed(operation: int, abstract_syntax: str) -> bool:
    """Whether a request's Command Field belongs to the service of its context; C-ECHO is welcome in every one."""
    return operation in (C_ECHO_RQ, _OPERATIONS.get(abstract_syntax, C_STORE_RQ))


def rights_needed(operation: int, abstract_syntax: str) -> tuple[Right, ...]:
    """The rights that a request takes (DEV-1, DEV-5); C-ECHO takes none, a worklist query two.

    Raises KeyError for an operation whose rights nobody declared: none is served without (D23).
    """
    if operation == C_FIND_RQ and abstract_syntax == MODALITY_WORKLIST_FIND:
        return _WORKLIST_RIGHTS
    return _RIGHTS[operation]


def accept_extended(abstract_syntax: str, asked: bytes) -> bytes | None:
    """Relational queries and retrievals are accepted, nothing else of the extended negotiation (PS3.4 C.5.1.1)."""
    return asked[:1] + b"\0" * (len(asked) - 1) if abstract_syntax in QUERY_RETRIEVE and asked else None


def is_relational(extended: Mapping[str, bytes], abstract_syntax: str) -> bool:
    """Whether unique keys of upper levels may be absent: it was agreed on for this class (PS3.4 C.4.1.2.2.2)."""
    return extended.get(abstract_syntax, b"")[:1] == b"\1"


def supported_contexts(accept_unknown_sop_classes: bool) -> Callable[[str], SupportedContext | None]:
    """The listener's question "is this abstract syntax supported, and in which transfer syntaxes?"."""
    uncompressed = (EXPLICIT, IMPLICIT, BIG_ENDIAN)
    services = {uid: SupportedContext((*uncompressed, DEFLATED)) for uid in QUERY_RETRIEVE} | {
        VERIFICATION: SupportedContext(uncompressed),
        STORAGE_COMMITMENT_PUSH: SupportedContext(uncompressed),
    }
    storable = storable_sop_classes(accept_unknown=accept_unknown_sop_classes)
    storage = SupportedContext(storable_transfer_syntaxes())
    often_unfit = SupportedContext(storable_transfer_syntaxes(), often_unfit=True)

    def supported(abstract_syntax: str) -> SupportedContext | None:
        if service := services.get(abstract_syntax):
            return service
        if not storable(abstract_syntax):
            return None
        return often_unfit if abstract_syntax in _OFTEN_UNFIT else storage

    return supported


def supported_by_worklist(abstract_syntax: str) -> SupportedContext | None:
    """The same question to a worklist listener."""
    uncompressed = (EXPLICIT, IMPLICIT, BIG_ENDIAN)
    return SupportedContext(uncompressed) if abstract_syntax == VERIFICATION else None
