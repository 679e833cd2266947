"""Which storage commitments are still to be decided, or to be told?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.commitment import CommitmentDecided, CommitmentGivenUp, CommitmentReported, CommitmentRequested
from domain.event import Recorded
from projections.engine import Projection

TABLES = """
CREATE TABLE commitment (
    transaction_uid text PRIMARY KEY,
    ae_title text NOT NULL,
    requested_at timestamptz NOT NULL,
    instances integer NOT NULL,
    failed integer,
    is_ended boolean NOT NULL DEFAULT false
);
CREATE INDEX ON commitment (requested_at, transaction_uid) WHERE NOT is_ended;
"""

_ADD = "INSERT INTO commitment (transaction_uid, ae_title, requested_at, instances) VALUES (%s, %s, %s, %s)"
_DECIDE = "UPDATE commitment SET failed = %s, is_ended = ae_title = '' WHERE transaction_uid = %s"
_END = "UPDATE commitment SET is_ended = true WHERE transaction_uid = %s"
_OPEN = """
SELECT ae_title, transaction_uid FROM (
    SELECT ae_title, transaction_uid, requested_at,
        row_number() OVER (PARTITION BY ae_title ORDER BY requested_at, transaction_uid) AS place
    FROM commitment WHERE NOT is_ended
) AS waiting
WHERE place <= %s ORDER BY requested_at, transaction_uid
"""


def add(connection: Any, run: Sequence[Recorded]) -> None:
    """Somebody asked."""
    for recorded in run:
        event = recorded.event
        assert isinstance(event, CommitmentRequested)
        row = (event.transaction_uid, event.ae_title, recorded.envelope.at, len(event.references))
        connection.execute(_ADD, row)


def decide(connection: Any, run: Sequence[Recorded]) -> None:
    """The files were read."""
    for recorded in run:
        event = recorded.event
        assert isinstance(event, CommitmentDecided)
        connection.execute(_DECIDE, (len(event.failed), event.transaction_uid))


def end(connection: Any, run: Sequence[Recorded]) -> None:
    """Who had asked was told, or could not be told."""
    for recorded in run:
        event = recorded.event
        assert isinstance(event, CommitmentReported | CommitmentGivenUp)
        connection.execute(_END, (event.transaction_uid,))


COMMITMENTS = Projection(
    "commitments",
    1,
    TABLES,
    {CommitmentRequested: add, CommitmentDecided: decide, CommitmentReported: end, CommitmentGivenUp: end},
)


def still_open(connection: Any, limit: int) -> dict[str, list[str]]:
    """The transactions that wait for a decision or a report by whom to tell, the oldest first, so many of each."""
    waiting: dict[str, list[str]] = {}
    for ae_title, uid in connection.execute(_OPEN, (limit,)):
        waiting.setdefault(ae_title, []).append(uid)
    return waiting
