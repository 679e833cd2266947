"""Where the frames of a stored object lie, found without reading a pixel (PS3.5 8.1.1, A.4; PS3.18 8.7.3.3).

Pure arithmetic on lengths, within limits: this is done in the process that answers, decoding is not.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from adapters.codecs.elements import Element, Form, Source, elements
from adapters.codecs.fragments import EXTENDED_OFFSETS, Frames
from adapters.codecs.image import BITS_ALLOCATED, COLUMNS, FRAMES, PHOTOMETRIC, ROWS, SAMPLES_PER_PIXEL, SUBSAMPLED
from adapters.codecs.unfit import Unfit
from adapters.dicom.findings import PIXEL_DATA
from adapters.dicom.frames import UNDEFINED
from adapters.dicom.syntaxes import encoding_of
from domain.errors import Because, NotThere, Refused
from domain.frame_media import STREAMS
from domain.limits import Limits
from domain.transcoding import NATIVE
from processes.pixel_ports import Span, Stored

_NUMBERS = (SAMPLES_PER_PIXEL, ROWS, COLUMNS, BITS_ALLOCATED)
_FLOAT_BITS = {0x7FE00008: 32, 0x7FE00009: 64}
_TEXT_MAX = 64


class FrameLocator:
    """Fills :class:`processes.pixel_ports.FrameLocator`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def __call__(self, stored: Stored) -> LocatedFrames:
        """The frames of an open object that is neither deflated nor big endian. Raises NotThere, Refused (A702)."""
        try:
            return LocatedFrames(stored, self._limits)
        except Unfit as unfit:
            raise _refused(unfit) from unfit


class LocatedFrames:
    """The frames of one object; usable while its descriptor is open."""

    def __init__(self, stored: Stored, limits: Limits) -> None:
        self._stored = stored
        self._source = Source(stored.descriptor, stored.offset, stored.length)
        self._extended: Sequence[int] = ()
        numbers, texts, self._pixels = self._read(Form(encoding_of(stored.transfer_syntax_uid).implicit, False), limits)
        self.tag = self._pixels.tag
        self.count = _count(texts.get(FRAMES, ""))
        self._is_stream = stored.transfer_syntax_uid in STREAMS
        if self.count > limits.decoded_frames_max:
            raise Unfit("the image has more frames than decoded_frames_max")
        self._frames: Frames | None = None
        self._frame_bits = 0
        if self._pixels.length == UNDEFINED:
            streams = 1 if self._is_stream else self.count
            self._frames = Frames(self._source, self._pixels.value, streams, limits, self._extended)
        elif stored.transfer_syntax_uid in NATIVE:
            self._frame_bits = _frame_bits(numbers, texts, self._pixels.tag)
            if not self._frame_bits or self._pixels.length * 8 < self._frame_bits * self.count:
                raise Unfit("the pixel data is shorter than its description")
        else:
            raise Unfit("the pixel data is not encapsulated")

    def frame(self, number: int) -> list[Span | bytes]:
        """The bytes of a frame, counted from 1, in the order in which they are. Raises Refused (A702).

        A frame of one bit a pixel that begins within a byte is shifted to begin with one (PS3.5 8.1.1).
        """
        try:
            if self._is_stream:
                raise Unfit("the frames of a video are one stream")
            if self._frames is not None:
                return [self._span(*fragment) for fragment in self._frames.fragments(number - 1)]
            first = (number - 1) * self._frame_bits
            if first % 8 or self._frame_bits % 8:
                return [self._shifted(first)]
            return [self._span(self._pixels.value + first // 8, self._frame_bits // 8)]
        except Unfit as unfit:
            raise _refused(unfit) from unfit

    def whole(self) -> list[Span]:
        """All native pixel data without its padding, or the stream of a video. Raises Refused (A702)."""
        if self._frames is None:
            return [self._span(self._pixels.value, (self._frame_bits * self.count + 7) // 8)]
        try:
            if not self._is_stream:
                raise Unfit("encapsulated pixel data is given by frames")
            return [self._span(*fragment) for fragment in self._frames.fragments(0)]
        except Unfit as unfit:
            raise _refused(unfit) from unfit

    def _span(self, position: int, length: int) -> Span:
        return Span(self._stored.offset + position, length)

    def _shifted(self, first: int) -> bytes:
        begin, end = first // 8, (first + self._frame_bits + 7) // 8
        packed = int.from_bytes(self._source.read(self._pixels.value + begin, end - begin), "little")
        bits = (packed >> first % 8) & ((1 << self._frame_bits) - 1)
        return bits.to_bytes((self._frame_bits + 7) // 8, "little")

    def _read(self, form: Form, limits: Limits) -> tuple[dict[int, int], dict[int, str], Element]:
        numbers: dict[int, int] = {}
        texts: dict[int, str] = {}
        for element in elements(self._source, form, 0, self._source.size):
            if element.tag in PIXEL_DATA:
                return numbers, texts, element
            if element.tag == EXTENDED_OFFSETS and element.length < limits.fragments_max * 8:
                value = self._source.read(element.value, element.length // 8 * 8)
                self._extended = struct.unpack(f"<{len(value) // 8}Q", value)
            elif element.tag in _NUMBERS and element.length >= 2:
                (numbers[element.tag],) = struct.unpack("<H", self._source.read(element.value, 2))
            elif element.tag in (FRAMES, PHOTOMETRIC) and element.length <= _TEXT_MAX:
                texts[element.tag] = self._source.read(element.value, element.length).decode("latin-1").strip(" \0")
            elif element.tag > PIXEL_DATA[-1]:
                break
        raise NotThere("there is no pixel data")


def _count(text: str) -> int:
    try:
        count = int(text) if text else 1
    except ValueError:
        raise Unfit("the number of frames is none") from None
    if count < 1:
        raise Unfit("there are no frames")
    return count


def _frame_bits(numbers: dict[int, int], texts: dict[int, str], tag: int) -> int:
    """The bits of a native frame; 0 where the description does not tell."""
    samples = numbers.get(SAMPLES_PER_PIXEL, 1)
    if samples == 3 and texts.get(PHOTOMETRIC) in SUBSAMPLED:
        samples = 2
    bits = _FLOAT_BITS.get(tag) or numbers.get(BITS_ALLOCATED, 0)
    return numbers.get(ROWS, 0) * numbers.get(COLUMNS, 0) * samples * bits


def _refused(unfit: Unfit) -> Refused:
    return Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, str(unfit))
