"""Native pixel data made of pictures that have no transfer syntax (PS3.18 Table 10.5.2-1: image/gif and image/png)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from adapters.codecs.image import Image
from adapters.composing.encoding import encoded, fault, header, refused
from adapters.files.temporary import TemporaryFolder
from domain.errors import Because, Refused
from domain.rendering import GIF, PNG
from processes.pixel_ports import Span

Unpack = Callable[[int, Span, str, int, int], Image]
"""Decodes a picture that lies in a file and appends its frames to another (Transcoder.unpacked)."""

TRANSFORMED = (GIF, PNG)
_PIXEL_DATA = 0x7FE00010
_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = "00280002", "00280004", "00280006", "00280008"
_MAY_DIFFER = ("00280101", "00280102", _PHOTOMETRIC)
"""Of a gray picture the metadata may say what its values mean, and how many bits of them count."""

_PIECE = 1024 * 1024


class Native:
    """The frames of one object, in a temp file that goes with it."""

    def __init__(self, folder: TemporaryFolder) -> None:
        """Raises A700."""
        self._open = ExitStack()
        self._descriptor = self._open.enter_context(folder.file())
        self._first: Image | None = None
        self._frames = 0

    def add(self, unpack: Unpack, descriptor: int, span: Span, media_type: str, attributes: dict[str, Any]) -> None:
        """One picture more. Raises C000 where it is damaged, or not like those before."""
        samples = _said(attributes, _SAMPLES, "US")
        try:
            wanted = 1 if samples == b"\1\0" else 0
            image = unpack(descriptor, span, media_type, wanted, self._descriptor)
        except Refused as refusal:
            if refusal.because is Because.CANNOT_PERFORM_SUB_OPERATIONS:
                raise refused(str(refusal)) from refusal
            raise
        first = self._first or image
        if _kind(image) != _kind(first):
            raise refused("the frames of an image are not alike")
        self._first = first
        self._frames += image.frames

    def describe(self, attributes: dict[str, Any]) -> None:
        """Put what the pictures are to the attributes. Raises C000 where these say something else."""
        image = self._first
        assert image
        numbers = {
            _SAMPLES: image.samples,
            "00280010": image.rows,
            "00280011": image.columns,
            "00280100": image.bits_allocated,
            "00280101": image.bits_stored,
            "00280102": image.high_bit,
            "00280103": 0,
        }
        if image.samples > 1:
            numbers[_PLANAR] = 0
        told: dict[str, dict[str, Any]] = {tag: {"vr": "US", "Value": [one]} for tag, one in numbers.items()}
        told[_PHOTOMETRIC] = {"vr": "CS", "Value": [image.photometric]}
        if self._frames > 1 or _said(attributes, _FRAMES, "IS"):
            told[_FRAMES] = {"vr": "IS", "Value": [self._frames]}
        for tag, element in told.items():
            said = _said(attributes, tag, element["vr"])
            if not said:
                attributes[tag] = element
            elif said != encoded(int(tag, 16), element["vr"], element["Value"]) and (
                image.samples > 1 or tag not in _MAY_DIFFER
            ):
                raise fault(int(tag, 16), "is not that of the picture that came")

    def element(self) -> Iterator[bytes]:
        """The pixel data element; the file is closed behind it."""
        assert self._first
        with self._open:
            length = os.lseek(self._descriptor, 0, os.SEEK_END)
            yield header(_PIXEL_DATA, "OW" if self._first.bits_allocated > 8 else "OB", length + (length & 1))
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            while piece := os.read(self._descriptor, _PIECE):
                yield piece
            yield b"\0" * (length & 1)


def _kind(image: Image) -> tuple[int, int, int, int]:
    return image.rows, image.columns, image.samples, image.bits_allocated


def _said(attributes: dict[str, Any], tag: str, vr: str) -> bytes:
    """The value that the metadata gives, encoded; empty where it gives none."""
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    value = encoded(int(tag, 16), vr, values or [])
    return value if vr == "US" else value.strip()
