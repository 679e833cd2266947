"""Which peers were turned away, why, how often, and when last?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.event import Recorded
from domain.rejection import PeerRejected
from projections.engine import Projection

TABLES = """
CREATE TABLE rejection (
    address text NOT NULL,
    why text NOT NULL,
    answer text NOT NULL,
    calling_ae_titles text[] NOT NULL,
    called_ae_titles text[] NOT NULL,
    times bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (address, why, answer)
);
CREATE INDEX ON rejection (last_at DESC);
"""

_COUNT = """
INSERT INTO rejection (address, why, answer, calling_ae_titles, called_ae_titles, times, first_at, last_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (address, why, answer) DO UPDATE SET
    calling_ae_titles = excluded.calling_ae_titles,
    called_ae_titles = excluded.called_ae_titles,
    times = rejection.times + excluded.times,
    last_at = excluded.last_at
"""
_LATEST = """
SELECT address, why, answer, calling_ae_titles, called_ae_titles, times, first_at, last_at
FROM rejection ORDER BY last_at DESC, address, why LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One peer and reason. The AE titles are those of the last time that it was told of."""

    address: str
    why: str
    answer: str
    calling_ae_titles: tuple[str, ...]
    called_ae_titles: tuple[str, ...]
    times: int
    first_at: datetime
    last_at: datetime


def count(connection: Any, run: Sequence[Recorded]) -> None:
    """Peers that were turned away."""
    for recorded in run:
        event, at = recorded.event, recorded.envelope.at
        assert isinstance(event, PeerRejected)
        titles = (list(event.calling_ae_titles), list(event.called_ae_titles))
        connection.execute(_COUNT, (event.address, event.why, event.answer, *titles, event.count, at, at))


REJECTIONS = Projection("rejections", 1, TABLES, {PeerRejected: count})


def latest(connection: Any, limit: int) -> list[Rejection]:
    """The peers that were turned away last."""
    return [
        Rejection(address, why, answer, tuple(calling), tuple(called), times, first_at, last_at)
        for address, why, answer, calling, called, times, first_at, last_at in connection.execute(_LATEST, (limit,))
    ]
