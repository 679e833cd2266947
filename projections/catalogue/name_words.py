"""Which words are the names of studies made of? Who is meant alike is found by them (PS3.4 C.2.2.2.1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from domain.attributes import ATTRIBUTES, Level
from domain.fuzzy_name import is_prefix, is_word, shortened
from projections.catalogue.narrow import prefix_end

PREFIXES = {one.tag: f"{one.tag} " for one in ATTRIBUTES if one.vr == "PN" and one.level == Level.STUDY} | {
    "00100010": ""
}
"""What stands before the words of each name in a study's ``name_words``: whose they are, nothing for the patient's."""

_KNOWN = "SELECT word FROM name_word WHERE form = ANY(%s) AND form = word"
_LEARN = "INSERT INTO name_word SELECT * FROM unnest(%s::text[], %s::text[])"
_NEAR = "SELECT word FROM name_word WHERE form = ANY(%s)"
_BEGINNING = "SELECT word FROM name_word WHERE form >= %s AND form < %s AND form = word"


def learn(connection: Any, words: Iterable[str]) -> None:
    """Keep the words that are new."""
    wanted = set(words)
    known = {row[0] for row in connection.execute(_KNOWN, (list(wanted),)).fetchall()}
    rows = [(form, word) for word in sorted(wanted - known) for form in shortened(word)]
    if rows:
        connection.execute(_LEARN, [list(column) for column in zip(*rows, strict=True)])


def meant_by(connection: Any, wanted: str) -> list[str]:
    """The words of names that a wanted word may mean."""
    rows = connection.execute(_NEAR, (list(shortened(wanted)),)).fetchall()
    if is_prefix(wanted) and (end := prefix_end(wanted)) is not None:
        rows += connection.execute(_BEGINNING, (wanted, end)).fetchall()
    return sorted({word for (word,) in rows if is_word(wanted, word)})
