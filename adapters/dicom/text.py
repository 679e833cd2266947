"""Text of data sets as Unicode that PostgreSQL and JSON take (PS3.5 6.1, PS3.3 C.12.1.1.2; reliability B19)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.charset import CODES_TO_ENCODINGS, STAND_ALONE_ENCODINGS, handled_encodings, python_encoding

_ESCAPE = b"\x1b"
_FRAGMENT = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*", re.DOTALL)
_NOT_LETTERS = re.compile(r"[^A-Z0-9]")
_ASCII = "ascii"
_DEFAULT = "iso8859"
_SURROGATE = re.compile("[\ud800-\udfff]")
_GB2312_DESIGNATOR = b"\x1b$)A"
TEXT_DELIMITERS = frozenset(b"\r\n\t\f\\")
NAME_DELIMITERS = frozenset(b"^=\\")


@dataclass(frozen=True, slots=True)
class CharacterSets:
    """The decoded Specific Character Set (0008,0005): Python codecs, the first for text without escapes."""

    codecs: tuple[str, ...]
    unknown: bool = False
    extensible: bool = True


class CharacterSetReader:
    """Turns values of Specific Character Set into :class:`CharacterSets`; spelling variants of devices are known."""

    def __init__(self) -> None:
        self._codecs = {_NOT_LETTERS.sub("", term): codec for term, codec in python_encoding.items() if term}
        self._stand_alone = {_NOT_LETTERS.sub("", term) for term in STAND_ALONE_ENCODINGS}
        self._seen: dict[bytes, CharacterSets] = {}
        self.default = CharacterSets((_DEFAULT,))

    def read(self, raw: bytes) -> CharacterSets:
        """The character sets of a raw value; what is not known decodes ASCII and replaces all else."""
        known = self._seen.get(raw)
        if known is None:
            known = self._read(raw)
            if len(self._seen) < 256:
                self._seen[raw] = known
        return known

    def _read(self, raw: bytes) -> CharacterSets:
        terms = [_NOT_LETTERS.sub("", term.upper()) for term in raw.decode(_ASCII, "replace").split("\\")]
        if terms[0] in self._stand_alone:
            return CharacterSets((self._codecs[terms[0]],), extensible=False)
        codecs = [self._codecs.get(term, "") if term else _DEFAULT for term in terms if term not in self._stand_alone]
        unknown = not all(codecs)
        return CharacterSets(tuple(codec or _ASCII for codec in codecs), unknown)


def decode(raw: bytes, sets: CharacterSets, delimiters: frozenset[int]) -> tuple[str, bool]:
    """The text, and whether every byte of it could be read. What could not is U+FFFD.

    Bytes outside ASCII without a declared character set read as Latin-1, and count as not read.
    """
    if raw.isascii() and _ESCAPE not in raw:
        return raw.decode(_ASCII), True
    if not sets.extensible or _ESCAPE not in raw:
        return _decode(raw, sets.codecs[0])
    texts, whole = [], True
    for fragment in _FRAGMENT.findall(raw):
        text, good = _decode_fragment(fragment, sets, delimiters)
        texts.append(text)
        whole = whole and good
    return "".join(texts), whole


def clean(text: str) -> str:
    """Text without NUL and lone surrogates, which PostgreSQL refuses (reliability 0.8)."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _decode(raw: bytes, codec: str) -> tuple[str, bool]:
    try:
        return raw.decode(codec), codec != _DEFAULT or raw.isascii()
    except UnicodeDecodeError:
        return raw.decode(codec, "replace"), False


def _decode_fragment(fragment: bytes, sets: CharacterSets, delimiters: frozenset[int]) -> tuple[str, bool]:
    """Decode what follows one escape sequence, up to the next (PS3.5 6.1.2.5.3: delimiters reset it)."""
    if not fragment.startswith(_ESCAPE):
        return _decode(fragment, sets.codecs[0])
    length = 4 if fragment.startswith((b"\x1b$(", b"\x1b$)")) else 3
    codec = CODES_TO_ENCODINGS.get(fragment[:length])
    if codec is None or (codec not in sets.codecs and codec != _DEFAULT):
        return fragment[length:].decode(sets.codecs[0], "replace"), False
    if codec in handled_encodings and fragment[:length] != _GB2312_DESIGNATOR:
        return _decode(fragment, codec)
    text = fragment[length:]
    end = next((at for at, byte in enumerate(text) if byte in delimiters), len(text))
    (first, good), (rest, also) = _decode(text[:end], codec), _decode(text[end:], sets.codecs[0])
    return first + rest, good and also
