"""Command sets: group 0000 in implicit VR little endian (PS3.7 6.3, Annex E), bounded and strict."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from typing import Any

from adapters.dimse.errors import DimseError

C_STORE_RQ = 0x0001
C_GET_RQ = 0x0010
C_FIND_RQ = 0x0020
C_MOVE_RQ = 0x0021
C_ECHO_RQ = 0x0030
C_CANCEL_RQ = 0x0FFF
N_EVENT_REPORT_RQ = 0x0100
N_ACTION_RQ = 0x0130
RESPONSE = 0x8000
NO_DATA_SET = 0x0101
_WITH_DATA_SET = 0x0001
MEDIUM_PRIORITY = 0x0000


_HEADER = struct.Struct("<HHI")
_SHORT = struct.Struct("<HHIH")
_GROUP_LENGTH = struct.Struct("<HHII")


class MalformedCommand(DimseError):
    """A command set that cannot be understood."""


@dataclass(slots=True)
class Command:
    """One command set; ``None`` is an absent element. Names are the keywords of PS3.6 in snake case."""

    field: int
    message_id: int = 0
    message_id_responded_to: int | None = None
    affected_sop_class_uid: str | None = None
    requested_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    requested_sop_instance_uid: str | None = None
    priority: int | None = None
    has_data_set: bool = False
    move_destination: str | None = None
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None
    status: int | None = None
    offending_element: bytes | None = None
    error_comment: str | None = None
    error_id: int | None = None
    event_type_id: int | None = None
    action_type_id: int | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None

    def response(
        self,
        status: int,
        *,
        error_comment: str = "",
        remaining: int | None = None,
        completed: int | None = None,
        failed: int | None = None,
        warning: int | None = None,
    ) -> Command:
        """The response to this request (PS3.7 9.3, 10.3)."""
        return Command(
            self.field | RESPONSE,
            message_id_responded_to=self.message_id,
            affected_sop_class_uid=self.affected_sop_class_uid or self.requested_sop_class_uid,
            affected_sop_instance_uid=self.affected_sop_instance_uid or self.requested_sop_instance_uid,
            status=status,
            error_comment=error_comment or None,
            remaining=remaining,
            completed=completed,
            failed=failed,
            warning=warning,
        )

    def encode(self) -> bytes:
        """The command set with its group length."""
        body = bytearray()
        is_response = self.message_id_responded_to is not None
        for element, name, kind in _ELEMENTS:
            value = getattr(self, name)
            if value is None or (is_response and name == "message_id"):
                continue
            if name == "has_data_set":
                value = _WITH_DATA_SET if value else NO_DATA_SET
            if kind == "US":
                body += _SHORT.pack(0, element, 2, value)
            else:
                encoded = _encode(kind, value)
                body += _HEADER.pack(0, element, len(encoded)) + encoded
        return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + bytes(body)

    @classmethod
    def decode(cls, encoded: bytes) -> Command:
        """Raises :class:`MalformedCommand`; elements that Annals does not use are passed over."""
        values: dict[str, Any] = {}
        offset, end, previous = 0, len(encoded), -1
        while offset < end:
            if end - offset < _HEADER.size:
                raise MalformedCommand("the command set ends inside an element")
            group, element, length = _HEADER.unpack_from(encoded, offset)
            offset += _HEADER.size
            if group != 0 or element <= previous or length > end - offset or length % 2:
                raise MalformedCommand("the command set has an element that is out of place or too long")
            previous = element
            if known := _BY_ELEMENT.get(element):
                name, kind = known
                if kind == "US" and length == 2:
                    values[name] = encoded[offset] | encoded[offset + 1] << 8
                else:
                    values[name] = _decode(kind, encoded[offset : offset + length])
            offset += length
        if "field" not in values or values["field"] is None:
            raise MalformedCommand("the command set has no Command Field")
        if values.get("has_data_set") is None:
            raise MalformedCommand("the command set has no Command Data Set Type")
        values["has_data_set"] = values["has_data_set"] != NO_DATA_SET
        if values.get("message_id") is None:
            values.pop("message_id", None)
        return cls(**values)


_ELEMENTS: tuple[tuple[int, str, str], ...] = (
    (0x0002, "affected_sop_class_uid", "UI"),
    (0x0003, "requested_sop_class_uid", "UI"),
    (0x0100, "field", "US"),
    (0x0110, "message_id", "US"),
    (0x0120, "message_id_responded_to", "US"),
    (0x0600, "move_destination", "AE"),
    (0x0700, "priority", "US"),
    (0x0800, "has_data_set", "US"),
    (0x0900, "status", "US"),
    (0x0901, "offending_element", "AT"),
    (0x0902, "error_comment", "LO"),
    (0x0903, "error_id", "US"),
    (0x1000, "affected_sop_instance_uid", "UI"),
    (0x1001, "requested_sop_instance_uid", "UI"),
    (0x1002, "event_type_id", "US"),
    (0x1008, "action_type_id", "US"),
    (0x1020, "remaining", "US"),
    (0x1021, "completed", "US"),
    (0x1022, "failed", "US"),
    (0x1023, "warning", "US"),
    (0x1030, "move_originator_ae_title", "AE"),
    (0x1031, "move_originator_message_id", "US"),
)
_BY_ELEMENT = {element: (name, kind) for element, name, kind in _ELEMENTS}
assert {name for _, name, _ in _ELEMENTS} == {field.name for field in fields(Command)}


def _encode(kind: str, value: Any) -> bytes:
    if kind == "AT":
        return bytes(value)
    text = str(value).encode("ascii", "replace")
    return text + ((b"\0" if kind == "UI" else b" ") if len(text) % 2 else b"")


def _decode(kind: str, value: bytes) -> Any:
    if kind == "US":
        return struct.unpack_from("<H", value)[0] if len(value) >= 2 else None
    if kind == "AT":
        return value
    text = value.decode("latin-1")
    return text.rstrip("\0 ") if kind == "UI" else text.strip("\0 ")
