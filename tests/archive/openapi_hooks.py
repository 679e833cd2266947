"""What schemathesis cannot know: how a body of DICOM objects is put together. Loaded by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

from typing import Any

import schemathesis

BOUNDARY = "a-boundary"


def _plain(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.serializer("application/dicom", "application/dicom+xml")
def dicom(_context: Any, value: Any) -> bytes:
    """The bytes as they are."""
    return _plain(value)


@schemathesis.serializer("multipart/related")
def multipart_related(_context: Any, value: Any) -> bytes:
    """One part of DICOM."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return head + _plain(value) + f"\r\n--{BOUNDARY}--\r\n".encode()
