"""Facts as canonical JSON bytes and back. A stored name is a constant; a missing field takes its default."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, get_origin, get_type_hints

import orjson

from domain.errors import AnnalsError
from domain.event import Actor, Envelope, Event


class UnknownFact(AnnalsError):
    """The log holds a fact that this program does not know: use the newer program that wrote it."""


class UnreadableFact(AnnalsError):
    """The stored form of a fact is broken, or not what this program ever wrote."""


class Codec:
    """Translates the facts it was given, and no others."""

    def __init__(self, facts: Iterable[type[Event]]) -> None:
        self._shapes = {fact.NAME: _Shape(fact) for fact in facts}
        self.names = frozenset(self._shapes)

    def encode(self, event: Event, envelope: Envelope) -> bytes:
        """Canonical bytes: sorted keys, UTF-8, no white space."""
        by = envelope.by
        return orjson.dumps(
            {
                "at": envelope.at,
                "by": [by.kind, by.name, by.address],
                "cause": envelope.cause,
                "command": envelope.command,
                "fact": self._shape(event.NAME).as_dict(event),
                "reason": envelope.reason,
            },
            option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z,
        )

    def decode(self, name: str, state: bytes) -> tuple[Event, Envelope]:
        """The fact and its envelope. Raises :class:`UnknownFact` and :class:`UnreadableFact`."""
        shape = self._shape(name)
        try:
            stored = orjson.loads(state)
            envelope = Envelope(
                datetime.fromisoformat(stored["at"]),
                Actor(*stored["by"]),
                stored["cause"],
                stored["reason"],
                stored["command"],
            )
            return shape.make(stored["fact"]), envelope
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableFact(
                f"a fact {name!a} in the log cannot be read ({type(error).__name__}): restore it from a backup"
            ) from error

    def _shape(self, name: str) -> _Shape:
        try:
            return self._shapes[name]
        except KeyError:
            raise UnknownFact(
                f"the log holds a fact {name!a} that this program does not know: use a newer one"
            ) from None


class _Shape:
    """The fields of one fact, and how those that are not plain JSON are made."""

    def __init__(self, fact: type[Any]) -> None:
        self._fact = fact
        hints = get_type_hints(fact)
        self._names = tuple(field.name for field in dataclasses.fields(fact))
        self._nested: dict[str, _Shape] = {}
        self._makers: dict[str, Callable[[Any], Any]] = {}
        for name in self._names:
            if dataclasses.is_dataclass(hints[name]):
                self._nested[name] = _Shape(hints[name])
                self._makers[name] = self._nested[name].make
            elif get_origin(hints[name]) is tuple:
                self._makers[name] = tuple

    def as_dict(self, value: Any) -> dict[str, Any]:
        said = {name: getattr(value, name) for name in self._names}
        for name, shape in self._nested.items():
            said[name] = shape.as_dict(said[name])
        return said

    def make(self, said: Mapping[str, Any]) -> Any:
        values = dict(said)
        for name, maker in self._makers.items():
            if name in values:
                values[name] = maker(values[name])
        try:
            return self._fact(**values)
        except TypeError:
            known = {name: value for name, value in values.items() if name in self._names}
            return self._fact(**known)
