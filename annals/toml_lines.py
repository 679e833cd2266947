"""On which line of a TOML text a key stands, which tomllib does not tell of what it takes.

A statement is whole as soon as its lines are TOML by themselves, so that tomllib alone says what a key, a string or a
comment is (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""The names of the tables and the key, and the numbers of elements from 0: ``("dimse", "store_port")``."""

UNREADABLE = (ValueError, RecursionError)
"""What tomllib raises: of TOML, of a number with too many digits, of too many brackets."""


class KeyLines:
    """The lines of the keys of a text that tomllib takes; the first line, from 1, where one is told of in several."""

    def __init__(self, text: str) -> None:
        self._lines: dict[KeyPath, int] = {}
        self._elements: Counter[KeyPath] = Counter()
        table: KeyPath = ()
        for line, statement, held in _statements(text):
            if statement.lstrip(" \t").startswith("["):
                table = self._header(held, line)
            else:
                self._note(table, held, line)

    def of(self, path: KeyPath) -> int | None:
        """The line where the key's statement begins, else that of the nearest table around it; None without either."""
        return next((self._lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._lines), None)

    def _header(self, held: Any, line: int) -> KeyPath:
        """The table that a header begins; within an array of tables, in its last element."""
        path: KeyPath = ()
        while held:
            if isinstance(held, list):
                self._elements[path] += 1
                held = held[0]
            else:
                ((name, held),) = held.items()
                path = (*path, name)
                self._lines.setdefault(path, line)
            if (count := self._elements[path]) and not isinstance(held, list):
                path = (*path, count - 1)
                self._lines.setdefault(path, line)
        return path

    def _note(self, path: KeyPath, value: object, line: int) -> None:
        left = [((*path, name), inner) for name, inner in _inside(value)]
        while left:
            path, value = left.pop()
            self._lines.setdefault(path, line)
            left += [((*path, name), inner) for name, inner in _inside(value)]


def open_since(text: str) -> int | None:
    """The line where the statement begins that does not end, or not as TOML, in the text; None where all do."""
    return next((line for line, _, held in _statements(text) if held is None), None)


def _inside(value: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """Each statement with the line where it begins and what it holds by itself; None of a last one without an end."""
    first, statement = 1, ""
    # Not splitlines: only LF ends a line of TOML, and strings may hold what else Python takes for an end.
    for number, line in enumerate(text.split("\n"), 1):
        statement += line + "\n"
        try:
            held = tomllib.loads(statement)
        except UNREADABLE:
            continue
        yield first, statement, held
        first, statement = number + 1, ""
    if statement:
        yield first, statement, None
