"""What the images of a series have in common is read once: the same raw values give the same parts again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.dicom.findings import Span, Values

Parts = Mapping[str, Mapping[str, Any]]

_PARTS_MAX = 256
_KEY_MAX = 16 * 1024


class RememberedParts:
    """A bounded memory of parts by the raw values that they were read from. Nobody may change what it gives out."""

    def __init__(self) -> None:
        self._known: dict[Any, Parts] = {}

    def get(self, key: Any) -> Parts | None:
        """The parts that were kept under a key of :func:`key_of`."""
        return self._known.get(key)

    def keep(self, key: Any, parts: Parts) -> None:
        """Remember parts; no key is nothing."""
        if key is None:
            return
        if len(self._known) >= _PARTS_MAX:
            self._known.clear()
        self._known[key] = parts


def key_of(values: Values, *context: Any) -> Any:
    """What tells raw values apart, read in a ``context`` (byte order, character set); None where they are large."""
    size, frozen = _frozen(values)
    return (context, frozen) if size <= _KEY_MAX else None


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
