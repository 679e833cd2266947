"""The stream of a turned-away peer: what a door refused, told once for each peer and reason over an interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from domain.event import Event
from domain.limits import Limits

KIND = "rejection"
OTHER_PEERS = "others"
"""Stands for the address where more peers are turned away at the same time than are told apart."""

_TEXT_MAX = 64


@dataclass(frozen=True, slots=True)
class PeerRejected(Event):
    """A peer was turned away, ``count`` times within ``seconds``.

    ``why`` is the reason in words, ``answer`` what the peer was told: result/source/reason of an A-ASSOCIATE-RJ (PS3.8
    Table 9-21), a DIMSE status, or nothing. The AE titles are some of those that were used; as they come from a peer
    that nothing is known of, characters that cannot be printed are escaped in them.
    """

    NAME: ClassVar[str] = "PeerRejected"
    address: str
    why: str
    answer: str = ""
    calling_ae_titles: tuple[str, ...] = ()
    called_ae_titles: tuple[str, ...] = ()
    count: int = 1
    seconds: int = 0


FACTS = (PeerRejected,)


def reject(_state: None, rejected: PeerRejected) -> list[Event]:
    """Record that a peer was turned away."""
    return [rejected]


def harmless(text: str, longest: int = _TEXT_MAX) -> str:
    """A text of an unknown peer as it may stand in a fact: escaped where it cannot be printed, ``longest`` at most."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text[:longest])[:longest]


@dataclass(slots=True)
class _Told:
    """What is counted since a peer was last told of, for one reason."""

    since: float
    due: float
    count: int = 0
    calling: dict[str, None] = field(default_factory=dict)
    called: dict[str, None] = field(default_factory=dict)


class Tally:
    """Counts rejections, so that a flood becomes a fact for each peer and reason at the begin and each interval.

    The first of a peer and reason is due at once; those of the interval after it are due together at its end. Times
    are seconds of any clock that never goes back. No more than ``rejection_peers_max`` peers and reasons are told
    apart; the others are told together.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._told: dict[tuple[str, str, str], _Told] = {}

    def count(self, now: float, one: PeerRejected) -> bool:
        """Count; whether it is the first of its kind and therefore due."""
        key = (one.address, one.why, one.answer)
        if key not in self._told and len(self._told) >= self._limits.rejection_peers_max:
            key = (OTHER_PEERS, one.why, one.answer)
        told = self._told.get(key)
        is_first = told is None
        if told is None:
            told = self._told[key] = _Told(now, due=now)
        told.count += one.count
        self._keep(told.calling, one.calling_ae_titles)
        self._keep(told.called, one.called_ae_titles)
        return is_first

    def due(self, now: float, *, all_of_them: bool = False) -> Iterator[PeerRejected]:
        """What is due; a peer that was turned away no more in the last interval is forgotten."""
        interval = self._limits.rejection_interval_seconds
        for key, told in list(self._told.items()):
            if now < told.due and not all_of_them:
                continue
            if not told.count:
                del self._told[key]
                continue
            address, why, answer = key
            self._told[key] = _Told(now, due=now + interval)
            yield PeerRejected(
                address,
                why,
                answer,
                tuple(told.calling),
                tuple(told.called),
                told.count,
                round(now - told.since),
            )

    def next_due(self) -> float | None:
        """When something is due next, or None."""
        return min((told.due for told in self._told.values()), default=None)

    def _keep(self, kept: dict[str, None], more: tuple[str, ...]) -> None:
        for title in more:
            if len(kept) < self._limits.rejection_titles_max:
                kept[harmless(title)] = None
