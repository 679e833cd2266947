"""Which presentation contexts to propose for stored objects, and which carries which (correctness C3.7, C3.9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapters.dicom.sop_classes import preferred_for
from domain import transcoding
from domain.transcoding import FALLBACKS, NATIVE

CONTEXTS_MAX = 128

Proposal = tuple[str, tuple[str, ...]]


def proposals(kinds: Iterable[tuple[str, str]]) -> list[Proposal]:
    """Contexts for objects of these kinds (SOP class, stored transfer syntax), the kinds at most 128.

    One context for each kind; where places are left, one with each fallback for the classes of native objects.
    """
    stored = list(dict.fromkeys(kinds))
    proposed: list[Proposal] = [(sop_class, (syntax,)) for sop_class, syntax in stored]
    for fallback in reversed(FALLBACKS):
        for sop_class in dict.fromkeys(sop_class for sop_class, syntax in stored if syntax in NATIVE):
            if (sop_class, (fallback,)) not in proposed and len(proposed) < CONTEXTS_MAX:
                proposed.append((sop_class, (fallback,)))
    return proposed


def destination_proposals(kinds: Iterable[tuple[str, str]], preferred: str) -> list[Proposal]:
    """Contexts for what a C-MOVE sends: the stored syntaxes and the preferred one, fallbacks where places are left.

    The kinds and their classes in the preferred syntax are at most 128.
    """
    stored = list(dict.fromkeys(kinds))
    ranked = [transcoding.proposed(syntax, preferred_for(sop_class, preferred)) for sop_class, syntax in stored]
    firsts = [(sop_class, syntax) for sop_class, syntax in stored]
    seconds = [
        (sop_class, preferred) for (sop_class, _), order in zip(stored, ranked, strict=True) if preferred in order
    ]
    thirds = [
        (sop_class, fallback)
        for fallback in transcoding.FALLBACKS
        for (sop_class, _), order in zip(stored, ranked, strict=True)
        if fallback in order
    ]
    chosen = list(dict.fromkeys((*firsts, *seconds, *thirds)))[:CONTEXTS_MAX]
    return [(sop_class, (syntax,)) for sop_class, syntax in chosen]


def carrying_syntax(accepted: Mapping[tuple[str, str], int], sop_class_uid: str, stored: str) -> str | None:
    """The syntax in which an object can go over an association: the stored one, else a fallback for native objects."""
    syntaxes = (stored, *FALLBACKS) if stored in NATIVE else (stored,)
    return next((syntax for syntax in syntaxes if (sop_class_uid, syntax) in accepted), None)
