"""STOW-RS as clients speak it: multipart bodies of Part 10 files, and what is answered."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from typing import Any

from adapters.dicom.part10 import file_header
from tests.dicom.encoding import CT_CLASS, EXPLICIT, INSTANCE

BOUNDARY = "a-boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
DICOM = "application/dicom"
_FAILED, _REFERENCED, _OTHER = "00081198", "00081199", "0008119A"


@dataclass(frozen=True)
class Answer:
    """An answer to a store request."""

    status: int
    headers: Message
    body: bytes

    @property
    def module(self) -> dict[str, Any]:
        """The Store Instances Response Module."""
        assert self.headers["Content-Type"] == "application/dicom+json", self.body
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def stored(self) -> list[str]:
        """The SOP Instance UIDs that it says are stored."""
        return [item["00081155"]["Value"][0] for item in self._items(_REFERENCED)]

    @property
    def warnings(self) -> list[int]:
        """The Warning Reasons of those."""
        return [item["00081196"]["Value"][0] for item in self._items(_REFERENCED) if "00081196" in item]

    @property
    def failed(self) -> dict[str, int]:
        """The Failure Reasons by SOP Instance UID."""
        return {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in self._items(_FAILED)}

    @property
    def others(self) -> list[int]:
        """The Failure Reasons of what told no SOP Instance UID."""
        return [item["00081197"]["Value"][0] for item in self._items(_OTHER)]

    def _items(self, tag: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.module.get(tag, {}).get("Value", [])
        return items


def part10(
    data_set: bytes, instance: str = INSTANCE, syntax: str = EXPLICIT, sop_class: str = CT_CLASS, preamble: bytes = b""
) -> bytes:
    """A file, its header with these UIDs whatever the data set says."""
    header = file_header(sop_class, instance, syntax, "")
    return preamble.ljust(128, b"\0") + header[128:] + data_set


def multipart(parts: Iterable[bytes], part_type: str = DICOM, end: bytes = b"--\r\n") -> bytes:
    """A body of parts of one type."""
    head = f"\r\nContent-Type: {part_type}\r\n\r\n".encode()
    framed = b"".join(b"--" + BOUNDARY.encode() + head + part + b"\r\n" for part in parts)
    return framed + b"--" + BOUNDARY.encode() + end


def post(
    port: int, body: bytes, path: str = "/dicom-web/studies", content_type: str = RELATED, **headers: str
) -> Answer:
    """Send a body as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, {"Content-Type": content_type, **named})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def store(port: int, *files: bytes, path: str = "/dicom-web/studies", **headers: str) -> Answer:
    """Store files in one request."""
    return post(port, multipart(files), path, **headers)
