"""Which presentation contexts are accepted: every storage class and syntax of the dictionary (NET-5)."""

from __future__ import annotations

from collections.abc import Callable

from pydicom._uid_dict import UID_dictionary

from adapters.dimse.negotiation import SupportedContext

VERIFICATION = "1.2.840.10008.1.1"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
QUERY_RETRIEVE = (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_MOVE,
    PATIENT_ROOT_GET,
    STUDY_ROOT_FIND,
    STUDY_ROOT_MOVE,
    STUDY_ROOT_GET,
)

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"

_NOT_FOR_STORED_OBJECTS = (
    "1.2.840.10008.1.2.6.",
    "1.2.840.10008.1.2.7.",
    "1.2.840.10008.1.20",
)
_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


def storable_transfer_syntaxes() -> tuple[str, ...]:
    """Every transfer syntax in which an object can be stored (PS3.6 A-1, without MIME, XML, SMPTE and Papyrus)."""
    return tuple(
        uid
        for uid, entry in UID_dictionary.items()
        if entry[1] == "Transfer Syntax" and not uid.startswith(_NOT_FOR_STORED_OBJECTS)
    )


def is_storage_class(abstract_syntax: str) -> bool:
    """Whether the dictionary knows this UID as a storage SOP class."""
    entry = UID_dictionary.get(abstract_syntax)
    return (
        entry is not None
        and entry[1] == "SOP Class"
        and "Storage" in entry[0]
        and "Storage Commitment" not in entry[0]
        and abstract_syntax != _MEDIA_STORAGE_DIRECTORY
    )


def supported_contexts(accept_unknown_sop_classes: bool) -> Callable[[str], SupportedContext | None]:
    """The listener's question "is this abstract syntax supported, and in which transfer syntaxes?"."""
    uncompressed = (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN)
    services = {uid: SupportedContext((*uncompressed, DEFLATED_EXPLICIT_LITTLE_ENDIAN)) for uid in QUERY_RETRIEVE} | {
        VERIFICATION: SupportedContext(uncompressed)
    }
    storage = SupportedContext(storable_transfer_syntaxes())

    def supported(abstract_syntax: str) -> SupportedContext | None:
        if service := services.get(abstract_syntax):
            return service
        if is_storage_class(abstract_syntax):
            return storage
        if accept_unknown_sop_classes and abstract_syntax not in UID_dictionary:
            return storage
        return None

    return supported
