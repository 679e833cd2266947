"""The attributes of a data set that say how it is shown, read from its bytes when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.elements import Element, Form, Source, elements, items
from adapters.codecs.unfit import Unfit
from adapters.dicom.frames import UNDEFINED
from adapters.dicom.text import NAME_DELIMITERS, TEXT_DELIMITERS, CharacterSetReader, CharacterSets, clean, decode

_TEXT_MAX = 64 * 1024
_CHARACTER_SET = 0x00080005
_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_READER = CharacterSetReader()


class Attributes:
    """The elements of a data set or of an item, by tag."""

    def __init__(
        self,
        source: Source,
        form: Form,
        found: Iterable[Element],
        depth: int = 0,
        character_sets: CharacterSets = _READER.default,
    ) -> None:
        self.source = source
        self._form = form
        self._depth = depth
        self._elements = {element.tag: element for element in found}
        own = self.raw(_CHARACTER_SET)
        self._character_sets = _READER.read(own) if own else character_sets

    def __contains__(self, tag: int) -> bool:
        """Whether the attribute is there and has a value."""
        return tag in self._elements and self._elements[tag].length > 0

    def element(self, tag: int) -> Element | None:
        """Where the attribute stands."""
        return self._elements.get(tag)

    def raw(self, tag: int) -> bytes:
        """The bytes of a value, empty where there is none."""
        element = self._elements.get(tag)
        if element is None or element.length in (0, UNDEFINED):
            return b""
        return self.source.read(element.value, element.length)

    def text(self, tag: int) -> str:
        """A text in the default repertoire, trimmed; empty where there is none or it is longer than any can be."""
        element = self._elements.get(tag)
        if element is None or element.length > _TEXT_MAX:
            return ""
        return self.raw(tag).decode("latin-1").strip(" \0")

    def unicode(self, tag: int, *, name: bool = False) -> str:
        """A text of a person's language, trimmed, its values as they are separated; ``name``: it is a PN."""
        raw = self.raw(tag)[: _TEXT_MAX * 16]
        return clean(decode(raw, self._character_sets, NAME_DELIMITERS if name else TEXT_DELIMITERS)[0]).strip(
            " \0\ufffd"
        )

    def decimals(self, tag: int) -> list[float]:
        """The numbers of a DS or IS; one that is none ends them."""
        numbers: list[float] = []
        for part in self.text(tag).split("\\"):
            try:
                number = float(part)
            except ValueError:
                break
            if not np.isfinite(number):
                break
            numbers.append(number)
        return numbers

    def words(self, tag: int) -> Array:
        """The values of a US, SS or OW as unsigned words."""
        raw = self.raw(tag)
        return np.frombuffer(raw[: len(raw) // 2 * 2], f"{self._form.order}u2").astype(np.uint16)

    def bytes_of_words(self, tag: int) -> bytes:
        """A value of bytes that were written as words: in big endian data sets they are swapped (PS3.5 7.3)."""
        element = self._elements.get(tag)
        if self._form.big and element is not None and element.vr in (b"OW", b"US", b"SS"):
            return self.words(tag).astype("<u2").tobytes()
        return self.raw(tag)

    def number(self, tag: int) -> int | None:
        """The first value of a US."""
        words = self.words(tag)
        return int(words[0]) if len(words) else None

    def longs(self, tag: int) -> list[int]:
        """The values of a UL."""
        raw = self.raw(tag)
        return [int(one) for one in np.frombuffer(raw[: len(raw) // 4 * 4], f"{self._form.order}u4")]

    def floats(self, tag: int) -> list[float]:
        """The values of an FL."""
        raw = self.raw(tag)
        return [float(one) for one in np.frombuffer(raw[: len(raw) // 4 * 4], f"{self._form.order}f4")]

    def items(self, tag: int) -> list[Attributes]:
        """The items of a sequence."""
        element = self._elements.get(tag)
        if element is None:
            return []
        form = Form(True, False) if element.vr == b"UN" else self._form
        end = self.source.size if element.length == UNDEFINED else element.end
        depth = self._depth + 1
        return [
            Attributes(
                self.source,
                form,
                elements(self.source, form, item.value, item.content_end, depth),
                depth,
                self._character_sets,
            )
            for item in items(self.source, form, element.value, end, depth)
        ]

    def item(self, tag: int, number: int = 0) -> Attributes | None:
        """One item of a sequence, or None."""
        found = self.items(tag)
        return found[number] if number < len(found) else None

    def of_frame(self, macro: int, frame: int) -> Attributes | None:
        """A functional group's item for a frame, counted from 0, or for all (C.7.6.16)."""
        for groups, number in ((_PER_FRAME, frame), (_SHARED, 0)):
            group = self.item(groups, number)
            if group is not None and (item := group.item(macro)) is not None:
                return item
        return None


def required(value: Array, length: int, what: str) -> Array:
    """The first ``length`` values. Raises Unfit where there are fewer (B16)."""
    if len(value) < length:
        raise Unfit(f"{what} is shorter than its descriptor says")
    return value[:length]
