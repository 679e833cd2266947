"""On which line a key of a TOML text stands, for whatever document holds it (B68)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annals.toml_lines import KeyLines, KeyPath, open_since

_BARE = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=6)
_QUOTED = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=6).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
_LITERAL = st.text('abc.[]#=" \u2028\x85', max_size=6).map(lambda text: f"'{text}'")
_NAMES = st.one_of(_BARE, _QUOTED, _LITERAL)
_VALUES = st.sampled_from(
    [
        "1",
        "'# [no] comment = 1'",
        "1979-05-27 07:32:00Z",
        "[]",
        "[ # why\n  1,\n\n  2, # [table]\n]",
        '["""\n[no.table]\nno_key = 1\n""", \'x\']',
        "'''\n[no_table]\n\nno_key = 1'''",
        '"""one \\\n   [two]\n"""',
        "'\u2028\x85'",
    ]
)
_FILLERS = st.sampled_from(["", "  ", "# a comment", "# [table]", "\t# key = 1 '''"])
_PADDINGS = st.sampled_from(["", " ", "\t"])


def _meant(name: str) -> str:
    """A key as it is written, as it is read."""
    return str(next(iter(tomllib.loads(f"{name} = 1"))))


@dataclass
class _Document:
    """A TOML text on its way, and what is known of it: the line of every key in it."""

    text: str = ""
    stands: dict[KeyPath, int] = field(default_factory=dict)

    def add(self, statement: str, *paths: KeyPath) -> None:
        line = self.text.count("\n") + 1
        for path in paths:
            for length in range(1, len(path) + 1):
                self.stands.setdefault(path[:length], line)
        self.text += statement + "\n"


@st.composite
def _documents(draw: st.DrawFn) -> _Document:
    document = _Document()

    def fill() -> None:
        for filler in draw(st.lists(_FILLERS, max_size=3)):
            document.add(filler)

    def keys(table: KeyPath) -> None:
        for written in draw(st.lists(_NAMES, max_size=4, unique_by=_meant)):
            fill()
            path, value, pad = (*table, _meant(written)), draw(_VALUES), draw(_PADDINGS)
            match draw(st.integers(0, 2)):
                case 0:
                    document.add(f"{pad}{written} ={pad}{value}{pad}# said", path)
                case 1:
                    dotted = draw(_NAMES)
                    document.add(f"{written}{pad}.{pad}{dotted}= {value}", (*path, _meant(dotted)))
                case _:
                    inner = draw(_NAMES)
                    document.add(f"{written} = {{ {inner}.deep = {value} }}", (*path, _meant(inner), "deep"))

    keys(())
    taken = {path[0] for path in document.stands}
    for written in draw(st.lists(_NAMES, max_size=4, unique_by=_meant)):
        name, pad = _meant(written), draw(_PADDINGS)
        if name in taken:
            continue
        fill()
        match draw(st.integers(0, 2)):
            case 0:
                document.add(f"{pad}[{pad}{written}{pad}] # said", (name,))
                keys((name,))
            case 1:
                below = draw(_NAMES)
                document.add(f"[{written}{pad}.{pad}{below}]", (name, _meant(below)))
                keys((name, _meant(below)))
            case _:
                below = draw(_NAMES)
                for number in range(draw(st.integers(1, 3))):
                    document.add(f"[[{pad}{written}]]{pad}", (name, number))
                    document.add(f"[{written}.{below}]", (name, number, _meant(below)))
                    keys((name, number, _meant(below)))
    return document


@given(_documents(), st.sampled_from(["\n", "\r\n"]))
def test_B68_the_line_that_is_found_for_a_key_is_the_line_where_it_stands(document: _Document, end: str) -> None:
    text = document.text.replace("\n", end)
    tomllib.loads(text)
    lines = KeyLines(text)
    assert {path: lines.of(path) for path in document.stands} == document.stands


def test_B68_a_key_that_is_not_there_has_the_line_of_its_table() -> None:
    lines = KeyLines("data = 'x'\n\n[dimse]\nstore = true\n")
    assert lines.of(("dimse", "sore", 0)) == 3
    assert lines.of(("dimse", "store", "port")) == 4
    assert lines.of(("http", "port")) is None


def test_B68_tables_may_be_told_of_before_they_begin() -> None:
    lines = KeyLines("[a.b]\nx = 1\n[a]\ny = 2\n[[c.d]]\n[[c.d]]\nz = [{w = 1}, {w = 2}]")
    assert [lines.of(path) for path in (("a",), ("a", "b", "x"), ("a", "y"))] == [1, 2, 4]
    assert [lines.of(("c", "d", 0)), lines.of(("c", "d", 1, "z", 1, "w"))] == [5, 7]


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = 1\n\ny = [\n1,\n2\n", 3), ("[a]\nx = '''\n[b]\n", 2), ("x = 1\n", None)],
    ids=["array", "string", "nothing"],
)
def test_B68_what_does_not_end_is_told_by_the_line_where_it_begins(text: str, line: int | None) -> None:
    assert open_since(text) == line
