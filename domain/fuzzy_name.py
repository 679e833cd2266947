"""Names that are meant alike though they are written otherwise (PS3.4 C.2.2.2.1.1, fuzzy semantic matching).

A name becomes words: case and accents gone, Cyrillic in Latin letters, spellings of one sound made one. Each word of
the question must be a word of the name, whole or its beginning, with a typing error in a longer one, in any order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

from domain.person_name import GROUPS

WORDS_MAX = 24
_WORD_MAX = 32
_PREFIX_MIN = 3
_ERROR_FROM = 4
_CYRILLIC_LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґўђјљњћџѓќѕ"
_IN_LATIN = (
    "a b v g d e e zh z i i k l m n o p r s t u f kh ts ch sh shch - y - e yu ya i i e g u dj j lj nj c dz g k dz"
)
_CYRILLIC = {letter: latin.strip("-") for letter, latin in zip(_CYRILLIC_LETTERS, _IN_LATIN.split(), strict=True)}
_LATIN = {"ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
_LETTERS = str.maketrans({**_CYRILLIC, **_LATIN})
# One sound, one spelling: what transliterations into Latin and Western languages differ in.
_SOUNDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        ("shch|schtsch|sch|sh|sz", "s"),
        ("tsch|tch|ch|cz", "c"),
        ("zh", "z"),
        ("kh", "h"),
        ("ph", "f"),
        ("th", "t"),
        ("ck|q", "k"),
        ("tz|ts", "c"),
        ("x", "ks"),
        ("w", "v"),
        ("([aou])e", r"\1"),
        ("[jy]", "i"),
        ("ou", "u"),
        ("e?ie?i*$|ei$", "i"),
        (r"(.)\1+", r"\1"),
        ("f$", "v"),
    )
)
_SEPARATORS = re.compile(r"[^\w*?]+|_")


def words(name: Mapping[str, str] | str) -> tuple[str, ...]:
    """The words of all component groups, each once, in order; at most :data:`WORDS_MAX`."""
    text = " ".join(name.get(group, "") for group in GROUPS) if isinstance(name, Mapping) else name
    return tuple(dict.fromkeys(filter(None, map(sounded, _SEPARATORS.split(_plain(text))))))[:WORDS_MAX]


@lru_cache(maxsize=65_536)
def sounded(word: str) -> str:
    """A plain word as it sounds; what has no Latin letters stays as it is."""
    if word.isascii():
        for pattern, plain in _SOUNDS:
            word = pattern.sub(plain, word)
    return word[:_WORD_MAX]


def is_alike(wanted: Sequence[str], name: Sequence[str]) -> bool:
    """Whether each wanted word is one of the name's."""
    return all(any(is_word(one, word) for word in name) for one in wanted)


def is_word(wanted: str, word: str) -> bool:
    """Whether a word is meant: the same, its beginning, or one error away."""
    if wanted == word or (is_prefix(wanted) and word.startswith(wanted)):
        return True
    return min(len(wanted), len(word)) >= _ERROR_FROM and _is_one_error_away(wanted, word)


def shortened(word: str) -> frozenset[str]:
    """The word and what is left of it without one letter: two words one error apart share one of these."""
    if len(word) < _ERROR_FROM:
        return frozenset((word,))
    return frozenset((word, *(word[:at] + word[at + 1 :] for at in range(len(word)))))


def is_prefix(wanted: str) -> bool:
    """Whether a wanted word also means the words that begin with it."""
    return len(wanted) >= _PREFIX_MIN or not wanted.isascii()


def _is_one_error_away(one: str, other: str) -> bool:
    """One letter more, less, other, or two neighbours changed (Damerau)."""
    if abs(len(one) - len(other)) > 1:
        return False
    at = 0
    while at < min(len(one), len(other)) and one[at] == other[at]:
        at += 1
    rest, rest_other = one[at:], other[at:]
    return (
        rest[1:] == rest_other[1:]
        or rest[1:] == rest_other
        or rest == rest_other[1:]
        or (rest[:2] == rest_other[:2][::-1] and rest[2:] == rest_other[2:])
    )


def _plain(text: str) -> str:
    lower = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    decomposed = unicodedata.normalize("NFKD", lower)
    return "".join(c for c in decomposed if not unicodedata.combining(c))
