"""The recorder keeps the eventsourcing library's own contract (its test cases), but for what we forbid.

``AggregateRecorderTestCase`` does not apply: it demands that an insert tells no positions, which an application
recorder does. Tracking and process recorders are not ours: a reader's position stands beside its rows (projections).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
from eventsourcing.persistence import OperationalError, StoredEvent
from eventsourcing.postgres import PostgresDatastore
from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)

from adapters.log.recorder import Datastore, Recorder
from adapters.postgres.embedded import EmbeddedPostgres
from domain.limits import Limits
from tests.conftest import fresh_database


class _Announced(Recorder):
    """As the writer uses it: what was appended is announced."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        positions = super().insert_events(stored_events, **kwargs)
        self.announce()
        return positions


class _OnOurTables:
    dsn: ClassVar[str]
    opened: ClassVar[list[PostgresDatastore]]

    @pytest.fixture(autouse=True)
    def _database(self, postgres_server: EmbeddedPostgres) -> Iterator[None]:
        with fresh_database(postgres_server) as dsn:
            type(self).dsn, type(self).opened = dsn, []
            yield
            for datastore in self.opened:
                datastore.close()

    def create_recorder(self) -> Recorder:
        self.opened.append(Datastore(self.dsn, Limits()))
        return _Announced(self.opened[-1])


class TestAsApplicationRecorder(_OnOurTables, ApplicationRecorderTestCase[Recorder]):
    """Streams, notifications and subscriptions."""

    EXPECT_CONTIGUOUS_NOTIFICATION_IDS = False


class TestPositionsOfTwoWriters(_OnOurTables, NonInterleavingNotificationIDsBaseCase):
    """Facts of one append stand together."""


def test_D9_a_datastore_with_database_functions_is_refused_since_they_insert_without_the_lock() -> None:
    datastore = PostgresDatastore("none", "none", "1", "none", "none", enable_db_functions=True)
    try:
        with pytest.raises(OperationalError, match="must stay off"):
            Recorder(datastore)
    finally:
        datastore.close()


del ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
