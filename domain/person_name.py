"""Person names as they are compared: without case, accents and trailing empty components (PS3.4 C.2.2.2.1)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def folded(group: str) -> str:
    """One component group, case and accents folded, trailing empty components and spaces gone."""
    if group.isascii():
        plain = group.casefold()
    else:
        decomposed = unicodedata.normalize("NFKD", group)
        plain = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    components = [" ".join(component.split()) for component in plain.split("^")]
    return "^".join(components).rstrip("^")


def groups(name: Mapping[str, str] | str) -> tuple[str, ...]:
    """The folded component groups of a name in the DICOM JSON Model or as one string; at most three."""
    parts = [name.get(group, "") for group in GROUPS] if isinstance(name, Mapping) else name.split("=")[: len(GROUPS)]
    return tuple(folded(part) for part in parts)
