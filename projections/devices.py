"""Which devices are known, from where do they talk, and what may they and all others do?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.admission import AdmissionChanged
from domain.device import DeviceAdded, DeviceChanged, DeviceRemoved, key_of
from domain.event import Recorded
from projections.engine import Projection

TABLES = """
CREATE TABLE device (
    key text PRIMARY KEY,
    ae_title text NOT NULL,
    host text NOT NULL,
    port integer NOT NULL,
    description text NOT NULL,
    rights text[] NOT NULL,
    preferred_transfer_syntax text NOT NULL,
    use_tls boolean NOT NULL,
    certificate text NOT NULL,
    kind text NOT NULL
);
CREATE TABLE admission (
    door text PRIMARY KEY,
    accept_any boolean NOT NULL,
    rights text[] NOT NULL,
    trusts_this_machine boolean NOT NULL
);
CREATE TABLE changed (position bigint NOT NULL);
INSERT INTO changed VALUES (0);
"""

_KNOW = """
INSERT INTO device (
    key, ae_title, host, port, description, rights, preferred_transfer_syntax, use_tls, certificate, kind
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (key) DO UPDATE SET
    host = excluded.host, port = excluded.port, description = excluded.description, rights = excluded.rights,
    preferred_transfer_syntax = excluded.preferred_transfer_syntax, use_tls = excluded.use_tls,
    certificate = excluded.certificate
"""
_FORGET = "DELETE FROM device WHERE key = ANY(%s)"
_COUNT = "SELECT count(*) FROM device"
_ADMIT = """
INSERT INTO admission (door, accept_any, rights, trusts_this_machine) VALUES (%s, %s, %s, %s)
ON CONFLICT (door) DO UPDATE SET
    accept_any = excluded.accept_any, rights = excluded.rights, trusts_this_machine = excluded.trusts_this_machine
"""
_ADMISSIONS = "SELECT door, accept_any, rights, trusts_this_machine FROM admission"
_CHANGE = "UPDATE changed SET position = %s"
_CHANGED = "SELECT position FROM changed"
_ONE = """
SELECT ae_title, host, port, description, rights, preferred_transfer_syntax, use_tls, certificate, kind
FROM device WHERE key = %s
"""
_ALL = """
SELECT ae_title, host, port, description, rights, preferred_transfer_syntax, use_tls, certificate, kind
FROM device ORDER BY kind, ae_title, host
"""


def know(connection: Any, run: Sequence[Recorded]) -> None:
    """Devices that became known or changed."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, DeviceAdded)
        connection.execute(
            _KNOW,
            (
                key_of(event),
                event.ae_title,
                event.host,
                event.port,
                event.description,
                list(event.rights),
                event.preferred_transfer_syntax,
                event.use_tls,
                event.certificate,
                event.kind,
            ),
        )
    connection.execute(_CHANGE, (run[-1].position,))


def forget(connection: Any, run: Sequence[Recorded]) -> None:
    """Devices that are no longer known."""
    keys = [key_of(event) for event in (recorded.event for recorded in run) if isinstance(event, DeviceRemoved)]
    connection.execute(_FORGET, (keys,))
    connection.execute(_CHANGE, (run[-1].position,))


def admit(connection: Any, run: Sequence[Recorded]) -> None:
    """What doors grant to callers that are not registered."""
    for event in (recorded.event for recorded in run):
        assert isinstance(event, AdmissionChanged)
        values = (event.door, event.accept_any, list(event.rights), event.trusts_this_machine)
        connection.execute(_ADMIT, values)
    connection.execute(_CHANGE, (run[-1].position,))


DEVICES = Projection(
    "devices",
    3,
    TABLES,
    {DeviceAdded: know, DeviceChanged: know, DeviceRemoved: forget, AdmissionChanged: admit},
)


def one(connection: Any, key: str) -> DeviceAdded | None:
    """The device with this key: a DICOM device's AE title (case sensitive, PS3.5 6.2)."""
    row = connection.execute(_ONE, (key,)).fetchone()
    return _device(row) if row else None


def everyone(connection: Any) -> list[DeviceAdded]:
    """All known devices: DICOM by AE title, then WADO by host."""
    return [_device(row) for row in connection.execute(_ALL).fetchall()]


def count(connection: Any) -> int:
    """How many devices are known, DICOM and WADO together."""
    return int(connection.execute(_COUNT).fetchone()[0])


def admissions(connection: Any) -> dict[str, AdmissionChanged]:
    """What each door grants to callers that are not registered; a door that was never changed is not there."""
    rows = connection.execute(_ADMISSIONS).fetchall()
    return {door: AdmissionChanged(door, anyone, tuple(rights), here) for door, anyone, rights, here in rows}


def changed(connection: Any) -> int:
    """The position of the last fact about a device or a door: while it stays, so do all of them."""
    return int(connection.execute(_CHANGED).fetchone()[0])


def _device(row: Sequence[Any]) -> DeviceAdded:
    ae_title, host, port, description, rights, *rest = row
    return DeviceAdded(ae_title, host, port, description, tuple(rights), *rest)
