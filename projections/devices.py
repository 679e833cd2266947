"""Which devices are known, and where do they listen?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.device import DeviceAdded, DeviceChanged, DeviceRemoved
from domain.event import Recorded
from projections.engine import Projection

TABLES = """
CREATE TABLE device (
    ae_title text PRIMARY KEY,
    host text NOT NULL,
    port integer NOT NULL,
    description text NOT NULL
);
"""

_KNOW = """
INSERT INTO device (ae_title, host, port, description) VALUES (%s, %s, %s, %s)
ON CONFLICT (ae_title) DO UPDATE SET host = excluded.host, port = excluded.port, description = excluded.description
"""
_FORGET = "DELETE FROM device WHERE ae_title = ANY(%s)"
_ONE = "SELECT ae_title, host, port, description FROM device WHERE ae_title = %s"
_ALL = "SELECT ae_title, host, port, description FROM device ORDER BY ae_title"


def know(connection: Any, run: Sequence[Recorded]) -> None:
    """Devices that became known or changed."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, DeviceAdded)
        connection.execute(_KNOW, (event.ae_title, event.host, event.port, event.description))


def forget(connection: Any, run: Sequence[Recorded]) -> None:
    """Devices that are no longer known."""
    titles = [event.ae_title for event in (recorded.event for recorded in run) if isinstance(event, DeviceRemoved)]
    connection.execute(_FORGET, (titles,))


DEVICES = Projection("devices", 1, TABLES, {DeviceAdded: know, DeviceChanged: know, DeviceRemoved: forget})


def one(connection: Any, ae_title: str) -> DeviceAdded | None:
    """The device with this AE title (case sensitive, PS3.5 6.2)."""
    row = connection.execute(_ONE, (ae_title,)).fetchone()
    return DeviceAdded(*row) if row else None


def everyone(connection: Any) -> list[DeviceAdded]:
    """All known devices by AE title."""
    return [DeviceAdded(*row) for row in connection.execute(_ALL).fetchall()]
