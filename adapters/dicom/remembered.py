"""What the images of a series have in common is read once: the same raw values give the same parts again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adapters.dicom.findings import Span, Values

Parts = Mapping[str, Mapping[str, Any]]

_PARTS_MAX = 256
_KEY_MAX = 16 * 1024


class RememberedParts:
    """A bounded memory of parts that were read without a warning. Nobody may change what it gives out."""

    def __init__(self) -> None:
        self._known: dict[Any, Parts] = {}

    def parts(self, values: Values, context: tuple[Any, ...], read: Callable[[], tuple[Parts, bool]]) -> Parts:
        """The parts for these raw values read in this ``context`` (byte order, character set).

        ``read`` reads them, and says whether without a warning: only then they are remembered.
        """
        size, frozen = _frozen(values)
        if size > _KEY_MAX:
            return read()[0]
        key = (context, frozen)
        known = self._known.get(key)
        if known is None:
            known, is_clean = read()
            if is_clean:
                if len(self._known) >= _PARTS_MAX:
                    self._known.clear()
                self._known[key] = known
        return known


def _frozen(values: Values) -> tuple[int, tuple[Any, ...]]:
    """The values as a key, and how large they are in bytes."""
    size = 0
    key: list[tuple[int, bytes, Any]] = []
    for tag, (vr, raw) in values.items():
        if isinstance(raw, bytes):
            size += len(raw)
            key.append((tag, vr, raw))
        elif isinstance(raw, Span):
            key.append((tag, vr, raw))
        else:
            items = [_frozen(item) for item in raw]
            size += sum(length for length, _ in items)
            key.append((tag, vr, tuple(item for _, item in items)))
    return size, tuple(key)
