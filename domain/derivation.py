"""What a copy that was compressed with loss is called and says of itself (PS3.3 C.7.6.1.1.5, C.12.4.1.1)."""

from __future__ import annotations

from uuid import UUID, uuid5

DERIVED = "DERIVED"
"""Value 1 of Image Type and Frame Type of an image that was made from another one (C.7.6.1.1.2)."""

DESCRIPTION_MAX = 1024
"""How long a Derivation Description may be (VR ST, PS3.5 6.2)."""

_COPIES = UUID("6b1f0a3c-52c7-4d0e-9a57-0e1c9c2f7d11")


def copy_uid(sop_instance_uid: str, transfer_syntax_uid: str) -> str:
    """The SOP Instance UID of an instance's copy in a lossy syntax: the same, however often it is made (PS3.5 B.2)."""
    return f"2.25.{uuid5(_COPIES, f'{sop_instance_uid} {transfer_syntax_uid}').int}"


def derived_type(image_type: str) -> str:
    """An Image Type or Frame Type whose first value says that it is derived; the other values stay."""
    _, _, others = image_type.strip(" \0").partition("\\")
    return f"{DERIVED}\\{others or 'PRIMARY'}"


def description(earlier: str, method: str, ratio: float) -> str | None:
    """The Derivation Description after a lossy compression, or None where it has no room beside the earlier one.

    What was said earlier stays whole: method and ratio also stand in attributes of their own.
    """
    said = f"Lossy compression ({method}), ratio {ratio:.2f}:1"
    earlier = earlier.rstrip(" \0")
    whole = f"{earlier}; {said}" if earlier else said
    return whole if len(whole) <= DESCRIPTION_MAX else None
