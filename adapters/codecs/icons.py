"""Icons that are compressed as the image beside them is (PS3.3 F.7): in any other transfer syntax they go native."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from adapters.codecs import image
from adapters.codecs.changes import Change, text
from adapters.codecs.decoding import colour_after, decoded
from adapters.codecs.elements import PIXEL_DATA, Element, Form, Rewriting, element_bytes, elements, items
from adapters.codecs.fragments import Frames
from adapters.codecs.object import StoredObject
from adapters.dicom.frames import ITEM, UNDEFINED
from domain.transcoding import NATIVE

_ICONS = 0x00880200
_DEPTH = 2
_DESCRIBING = frozenset((*image.NUMBERS, *image.TEXTS))


def changes(stored: StoredObject, form: Form) -> dict[int, Change]:
    """The icons as they are written in a form, where one is compressed. Raises Unfit where it is damaged."""
    sequence = None if stored.syntax in NATIVE else stored.element(_ICONS)
    if sequence is None:
        return {}
    written, are_compressed = [], False
    for one in items(stored.source, stored.form, sequence.value, sequence.end, 1):
        icon = list(elements(stored.source, stored.form, one.value, one.content_end, _DEPTH))
        pixels = next((each for each in icon if each.tag == PIXEL_DATA and each.length == UNDEFINED), None)
        made = _uncompressed(stored, icon, pixels, form) if pixels else {}
        are_compressed = are_compressed or bool(made)
        rewriting = Rewriting(stored.source, stored.form, form, signed=stored.is_signed)
        content = b"".join(made.get(each.tag) or rewriting.element(each, _DEPTH) for each in icon)
        written.append(struct.pack(f"{form.order}HHI", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content)
    return {_ICONS: (b"SQ", b"".join(written))} if are_compressed else {}


def _uncompressed(stored: StoredObject, icon: Sequence[Element], pixels: Element, form: Form) -> dict[int, bytes]:
    """The elements of an icon that change, by tag."""
    values = {each.tag: stored.source.read(each.value, each.length) for each in icon if each.tag in _DESCRIBING}
    described = image.described(
        {tag: int.from_bytes(values[tag][:2], "little") for tag in image.NUMBERS if tag in values},
        {tag: values[tag].decode("latin-1") for tag in image.TEXTS if tag in values},
    )
    image.check_size(described, pixels.end - pixels.value, stored.limits)
    frame = Frames(stored.source, pixels.value, 1, stored.limits).frame(0)
    samples = np.ascontiguousarray(decoded(frame, stored.syntax, described)).tobytes()
    vr = b"OW" if described.bits_allocated > 8 or form.implicit else b"OB"
    changed = {
        image.PHOTOMETRIC: (b"CS", text(colour_after(stored.syntax, described))),
        image.PLANAR: (b"US", bytes(2)),
        PIXEL_DATA: (vr, samples + b"\0" * (len(samples) % 2)),
    }
    return {tag: element_bytes(tag, *change, form) for tag, change in changed.items()}
