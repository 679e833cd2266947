"""The functional groups of a copy that was compressed with loss: what is said of the image is said of its frames too.

Where Image Type is DERIVED, so is each Frame Type (PS3.3 C.8.16.1); Derivation Image tells from what (C.7.6.16.2.6).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from adapters.codecs.changes import Change, item, rewriting_of, sequence_element, text_element
from adapters.codecs.elements import Element, Form, Item, Rewriting, elements, items
from adapters.codecs.object import StoredObject
from domain.derivation import derived_type

_SHARED, _OF_FRAMES = 0x52009229, 0x52009230
_DERIVATION_IMAGES, _FRAME_TYPE = 0x00089124, 0x00089007


@dataclass(slots=True)
class _Group:
    """The functional groups of one item, as they are written; ``origins`` are the items of Derivation Image."""

    written: list[tuple[int, bytes]] = field(default_factory=list)
    origins: bytes | None = None

    def item(self) -> bytes:
        """The whole item, its elements in order."""
        whole = list(self.written)
        if self.origins is not None:
            whole.append((_DERIVATION_IMAGES, sequence_element(_DERIVATION_IMAGES, self.origins)))
        return item(*(element for _, element in sorted(whole, key=lambda one: one[0])))


def are_in(stored: StoredObject) -> bool:
    """Whether the object describes its frames by functional groups."""
    return bool(stored.element(_SHARED) or stored.element(_OF_FRAMES))


def typed(stored: StoredObject) -> dict[int, Change]:
    """Both sequences of groups, each Frame Type derived."""
    return _changes(_groups(stored, _SHARED), _groups(stored, _OF_FRAMES))


def derived(stored: StoredObject, origin: bytes) -> dict[int, Change]:
    """As :func:`typed`, with ``origin`` as a further item of Derivation Image.

    It is shared by all frames, unless a frame has that group already: then it stands in the groups of each frame.
    """
    shared, of_frames = _groups(stored, _SHARED), _groups(stored, _OF_FRAMES)
    by_frame = any(group.origins is not None for group in of_frames)
    if not by_frame and not shared:
        shared = [_Group()]
    for group in of_frames if by_frame else shared:
        group.origins = (group.origins or b"") + origin
    return _changes(shared, of_frames)


def _changes(shared: list[_Group], of_frames: list[_Group]) -> dict[int, Change]:
    made = {_SHARED: shared, _OF_FRAMES: of_frames}
    return {tag: (b"SQ", b"".join(group.item() for group in groups)) for tag, groups in made.items() if groups}


def _groups(stored: StoredObject, tag: int) -> list[_Group]:
    sequence = stored.element(tag)
    if sequence is None:
        return []
    rewriting, old = rewriting_of(stored, sequence)
    found = []
    for one in items(stored.source, old, sequence.value, sequence.end, 1):
        group = _Group()
        for inner in _elements(stored, old, one):
            if inner.tag == _DERIVATION_IMAGES:
                group.origins = rewriting.items(inner)
            else:
                group.written.append((inner.tag, _typed(stored, old, inner, rewriting)))
        found.append(group)
    return found


def _typed(stored: StoredObject, old: Form, element: Element, rewriting: Rewriting) -> bytes:
    """One functional group in the explicit form; a Frame Type in it says that the frame is derived."""
    if rewriting.vr(element) != b"SQ":
        return rewriting.element(element, 2)
    whole = []
    for one in items(stored.source, old, element.value, element.end, 3):
        inner = (
            text_element(_FRAME_TYPE, b"CS", derived_type(_text(stored, each)))
            if each.tag == _FRAME_TYPE
            else rewriting.element(each, 4)
            for each in _elements(stored, old, one)
        )
        whole.append(item(*inner))
    return sequence_element(element.tag, *whole)


def _elements(stored: StoredObject, old: Form, one: Item) -> Iterator[Element]:
    return elements(stored.source, old, one.value, one.content_end, 2)


def _text(stored: StoredObject, element: Element) -> str:
    return stored.source.read(element.value, element.length).decode("latin-1")
