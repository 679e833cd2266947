"""What a copy that was compressed with loss tells of its origin (PS3.3 C.7.6.1.1.5, C.12.4.1, C.7.6.16.2.6)."""

from __future__ import annotations

from adapters.codecs import encoding, functional_groups, image
from adapters.codecs.changes import Change, appended, code, item, sequence_element, text, text_element
from adapters.codecs.object import StoredObject
from adapters.codecs.unfit import Unfit
from domain.derivation import copy_uid, derived_type, description

IS_LOSSY = "01"
_REFERENCED_CLASS, _REFERENCED_INSTANCE = 0x00081150, 0x00081155
_EVIDENCE, _SERIES, _OBJECTS_OF_SERIES, _INSTANCES_OF_SERIES = 0x00089154, 0x00081115, 0x00081199, 0x0008114A
_SOURCE_IMAGES, _DERIVATION_CODES, _PURPOSE = 0x00082112, 0x00089215, 0x0040A170
_LOSSY_COMPRESSION = code("113040", "Lossy Compression")
_UNCOMPRESSED_PREDECESSOR = code("121320", "Uncompressed predecessor")


def own_uid(stored: StoredObject, wanted: str) -> str:
    """The SOP Instance UID of the object's copy in a lossy syntax. Raises Unfit where it has none itself."""
    return copy_uid(_named(stored, image.SOP_INSTANCE), wanted)


def changes(stored: StoredObject, wanted: str, ratio: float, *, as_instance: bool) -> dict[int, Change]:
    """The marks of a copy that was compressed ``ratio``:1; ``as_instance`` makes it an instance of its own.

    Raises Unfit.
    """
    method = encoding.METHODS[wanted]
    made: dict[int, Change] = {
        image.LOSSY: (b"CS", text(IS_LOSSY)),
        image.RATIO: (b"DS", _further(stored, image.RATIO, f"{ratio:.2f}")),
        image.METHOD: (b"CS", _further(stored, image.METHOD, method)),
        image.IMAGE_TYPE: (b"CS", text(derived_type(stored.text(image.IMAGE_TYPE)))),
    }
    if functional_groups.are_in(stored):
        made |= functional_groups.typed(stored)
    if not as_instance:
        return made | _said(stored, method, ratio)
    made[image.SOP_INSTANCE] = (b"UI", text(own_uid(stored, wanted), b"\0"))
    source = item(*_reference(stored), sequence_element(_PURPOSE, _UNCOMPRESSED_PREDECESSOR))
    if not functional_groups.are_in(stored):
        return made | _said(stored, method, ratio) | {_SOURCE_IMAGES: appended(stored, _SOURCE_IMAGES, source)}
    # Many of the IODs with groups have no General Reference Module: their images tell of sources frame by frame.
    origin = item(
        text_element(image.DERIVATION, b"ST", description("", method, ratio) or ""),
        sequence_element(_SOURCE_IMAGES, source),
        sequence_element(_DERIVATION_CODES, _LOSSY_COMPRESSION),
    )
    return made | _evidence(stored) | functional_groups.derived(stored, origin)


def _said(stored: StoredObject, method: str, ratio: float) -> dict[int, Change]:
    """The derivation in words and as a code."""
    said = {_DERIVATION_CODES: appended(stored, _DERIVATION_CODES, _LOSSY_COMPRESSION)}
    if (whole := _description(stored, method, ratio)) is not None:
        said[image.DERIVATION] = (b"ST", text(whole))
    return said


def _description(stored: StoredObject, method: str, ratio: float) -> str | None:
    said, element = stored.text(image.DERIVATION), stored.element(image.DERIVATION)
    return None if element and element.length and not said else description(said, method, ratio)


def _reference(stored: StoredObject) -> tuple[bytes, bytes]:
    """What names the object with all of its frames (PS3.3 Table 10-3)."""
    return (
        text_element(_REFERENCED_CLASS, b"UI", _named(stored, image.SOP_CLASS)),
        text_element(_REFERENCED_INSTANCE, b"UI", _named(stored, image.SOP_INSTANCE)),
    )


def _evidence(stored: StoredObject) -> dict[int, Change]:
    """Where what the groups of frames refer to is found: by C.17.2.1 (enhanced images) and by C.12.2 (the others)."""
    series = text_element(image.SERIES, b"UI", _named(stored, image.SERIES))
    study = text_element(image.STUDY, b"UI", _named(stored, image.STUDY))
    reference = item(*_reference(stored))
    found = item(sequence_element(_OBJECTS_OF_SERIES, reference), series)
    return {
        _EVIDENCE: appended(stored, _EVIDENCE, item(sequence_element(_SERIES, found), study)),
        _SERIES: appended(stored, _SERIES, item(sequence_element(_INSTANCES_OF_SERIES, reference), series)),
    }


def _named(stored: StoredObject, tag: int) -> str:
    uid = stored.text(tag).strip(" \0")
    if not uid:
        raise Unfit("the object does not say what instance it is")
    return uid


def _further(stored: StoredObject, tag: int, value: str) -> bytes:
    return text("\\".join(filter(None, (stored.text(tag).strip(" \0"), value))))
