"""Which SOP classes are stored (NET-5): all storage classes of the dictionary, and by setting what it does not know."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydicom._uid_dict import UID_dictionary

from domain.identifiers import uid_fault
from domain.transcoding import NATIVE

_WITH_PIXELS = re.compile(r"Image|Dose Storage|Segmentation|Map Storage|Tomography|Volume Storage|AIT")
"""What the names of storage classes say whose objects may have pixel data."""

_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


def storable_sop_classes(*, accept_unknown: bool) -> Callable[[str], bool]:
    """The question "are instances of this SOP class stored?"."""

    def is_storable(sop_class_uid: str) -> bool:
        if sop_class_uid in UID_dictionary:
            return _is_storage_class(sop_class_uid)
        return accept_unknown and not uid_fault(sop_class_uid)

    return is_storable


def preferred_for(sop_class_uid: str, preferred: str) -> str:
    """The preferred syntax for objects of a class; empty where it compresses pixels and the class has none.

    Reports, plans and waveforms are not images (manual 1.2.1 j): a receiver may know them uncompressed only.
    """
    name = UID_dictionary[sop_class_uid][0] if sop_class_uid in UID_dictionary else ""
    has_pixels = not name or _WITH_PIXELS.search(name)
    return preferred if has_pixels or preferred in NATIVE else ""


def _is_storage_class(sop_class_uid: str) -> bool:
    name, kind, *_ = UID_dictionary[sop_class_uid]
    return (
        kind == "SOP Class"
        and "Storage" in name
        and "Storage Commitment" not in name
        and sop_class_uid != _MEDIA_STORAGE_DIRECTORY
    )
