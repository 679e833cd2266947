"""One stored data set as the codecs see it: its description, its frames, its other elements. Child processes only."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable

from adapters.codecs import decoding
from adapters.codecs.elements import FLOAT_PIXEL_DATA, PIXEL_DATA, Element, Form, Source, elements
from adapters.codecs.fragments import EXTENDED_OFFSETS, Frames
from adapters.codecs.image import NUMBERS, PIXEL_REPRESENTATION, TEXTS, Image, check_size, described
from adapters.codecs.unfit import Unfit
from adapters.dicom.byte_order import swapped
from adapters.dicom.frames import UNDEFINED
from adapters.dicom.syntaxes import encoding_of
from domain.limits import Limits
from domain.transcoding import DEFLATED, NATIVE

_PIECE = 1024 * 1024
_TEXT_MAX = 4096
_LARGE = frozenset((0x00420011, *FLOAT_PIXEL_DATA))
"""Encapsulated Document and the float pixels do not count for the size of the header: they are read in pieces."""

_NUMBERS, _TEXTS = frozenset(NUMBERS), frozenset(TEXTS)
_LOOKED_AT = _NUMBERS | _TEXTS | _LARGE | {EXTENDED_OFFSETS}


class StoredObject:
    """A data set in a file. Raises Unfit where it is not whole, or its pixels are not ones that can be decoded."""

    def __init__(
        self, descriptor: int, offset: int, length: int, syntax: str, limits: Limits, inflated: int = -1
    ) -> None:
        """``inflated`` is an empty file that a deflated object is inflated into."""
        self.syntax = syntax
        self.limits = limits
        self.stored_bytes = length
        if syntax == DEFLATED:
            length = _inflate(descriptor, offset, length, inflated, limits)
            descriptor, offset = inflated, 0
        self._read(descriptor, offset, length)

    def _read(self, descriptor: int, offset: int, length: int) -> None:
        self.source = Source(descriptor, offset, length)
        encoding = encoding_of(self.syntax)
        self.form = Form(encoding.implicit, encoding.big_endian)
        self.header: list[Element] = []
        self.pixels: Element | None = None
        self.numbers: dict[int, int] = {}
        self.texts: dict[int, str] = {}
        self._extended: tuple[int, ...] = ()
        self.has_float_pixels = False
        end_max = self.limits.header_size_max
        for element in elements(self.source, self.form, 0, length):
            tag, _, _, _, value_length, end = element
            if tag >= PIXEL_DATA:
                if tag == PIXEL_DATA:
                    self.pixels = element
                break
            if tag in _LARGE:
                end_max += value_length
            if end > end_max:
                raise Unfit("the header is larger than header_size_max")
            self.header.append(element)
            if tag in _LOOKED_AT:
                self._look_at(element)
        else:
            element = None
        self.tail = self.source.size if element is None else element.start
        self._image: Image | None = None
        self._frames: Frames | None = None

    def _look_at(self, element: Element) -> None:
        tag, _, _, value, length, _ = element
        if tag in _NUMBERS:
            if 2 <= length <= _TEXT_MAX:
                self.numbers[tag] = int.from_bytes(self.source.read(value, 2), "big" if self.form.big else "little")
        elif tag == EXTENDED_OFFSETS:
            if length < self.limits.fragments_max * 8:
                self._extended = struct.unpack(f"<{length // 8}Q", self.source.read(value, length // 8 * 8))
        elif tag in FLOAT_PIXEL_DATA:
            self.has_float_pixels = True
        elif tag in _TEXTS and length <= _TEXT_MAX:
            self.texts[tag] = self.source.read(value, length).decode("latin-1")

    def text(self, tag: int) -> str:
        """The value of an element of the header; empty where it is not there or too long for a text."""
        if (element := self.element(tag)) is None or element.length > _TEXT_MAX:
            return ""
        return self.source.peek(element.value, element.length).decode("latin-1")

    def element(self, tag: int) -> Element | None:
        """The element of the header with this tag."""
        return next((one for one in self.header if one.tag == tag), None)

    @property
    def is_signed(self) -> bool:
        """Whether the samples are, by which the VR of what is US or SS is known (PS3.5 6.2.2)."""
        return self.numbers.get(PIXEL_REPRESENTATION) == 1

    def image(self) -> Image:
        """The description of the pixels, within the limits."""
        if self._image is None:
            self._image = self._described()
        return self._image

    def _described(self) -> Image:
        if self.pixels is None:
            raise Unfit("there are no pixels that can be converted")
        image = described(self.numbers, self.texts)
        check_size(image, self.stored_bytes, self.limits)
        if self.syntax in NATIVE:
            if self.pixels.length == UNDEFINED or self.pixels.length * 8 < image.frame_bits * image.frames:
                raise Unfit("the pixel data is shorter than its description")
        elif self.pixels.length != UNDEFINED:
            raise Unfit("the pixel data is not encapsulated")
        return image

    def check_described(self) -> None:
        """Refuse native pixel data of which frames or samples would be left behind; padding may be. Raises Unfit."""
        image = self.image()
        if self.pixels is not None and self.syntax in NATIVE:
            more = self.pixels.length - (image.frame_bits * image.frames + 15) // 16 * 2
            # A frame, or half of one: what is called YBR_FULL_422 may have all of its samples.
            if more > 0 and more * 16 >= image.frame_bits:
                raise Unfit("there is more pixel data than is described")

    def native_bytes(self) -> int:
        """How large the object may be in another syntax, but for what an encoder adds to noise."""
        if self.pixels is None or self.syntax in NATIVE:
            return self.source.size
        image = self.image()
        return self.source.size + image.decoded_bytes * image.frames

    def frames(self) -> Frames:
        """The frames of encapsulated pixel data."""
        if self._frames is None:
            assert self.pixels
            self._frames = Frames(self.source, self.pixels.value, self.image().frames, self.limits, self._extended)
        return self._frames

    def pixels_end(self) -> int:
        """Where the pixel data element ends."""
        assert self.pixels
        return self.frames().end if self.pixels.length == UNDEFINED else self.pixels.end

    def array(self, image: Image, number: int) -> decoding.Array:
        """The samples of a frame, from 0 on."""
        return self.reading(image)(number)

    def reading(self, image: Image) -> Callable[[int], decoding.Array]:
        """What reads the samples of a frame, counted from 0."""
        if self.syntax not in NATIVE:
            return lambda number: decoding.decoded(self.frames().frame(number), self.syntax, image)
        if image.bits_allocated == 1:
            return lambda number: self._bits(image, number)
        size = image.frame_bits // 8
        samples = decoding.native(image)
        return lambda number: samples(self._native(number * size, (number + 1) * size))

    def _native(self, begin: int, end: int) -> bytes:
        """Bytes of native pixel data, counted from its first one; words come little endian."""
        assert self.pixels
        if not (self.form.big and self.pixels.vr == b"OW"):
            return self.source.read(self.pixels.value + begin, end - begin)
        first = begin // 2 * 2
        words = self.source.read(self.pixels.value + first, end + end % 2 - first)
        return swapped(words, b"OW")[begin - first : end - first]

    def _bits(self, image: Image, number: int) -> decoding.Array:
        """A frame of one bit a pixel, which may begin in the middle of a byte (PS3.5 8.1.1)."""
        import numpy as np

        first = number * image.frame_bits
        begin, end = first // 8, (first + image.frame_bits + 7) // 8
        raw = np.frombuffer(self._native(begin, end), np.uint8)
        bits = np.unpackbits(raw, bitorder="little")[first - begin * 8 :][: image.frame_bits]
        return bits.reshape(image.rows, image.columns)


def _inflate(descriptor: int, offset: int, length: int, into: int, limits: Limits) -> int:
    """Inflate a data set into a file, within the limits; its length there (PS3.5 A.5; B12)."""
    allowed = min(limits.inflated_size_max, max(limits.deflate_ratio_from, limits.deflate_ratio_max * length))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    position, total = 0, 0
    with os.fdopen(os.dup(into), "wb") as out:
        while position < length and not inflater.eof:
            piece = os.pread(descriptor, min(_PIECE, length - position), offset + position)
            if not piece:
                break
            position += len(piece)
            # Where output and input end together, zlib leaves the padding after the stream as if it were input.
            while piece and not inflater.eof:
                try:
                    plain = inflater.decompress(piece, _PIECE)
                except zlib.error as error:
                    raise Unfit("the deflated object is damaged") from error
                total += out.write(plain)
                if total > allowed:
                    raise Unfit("the object inflates past the limit")
                piece = inflater.unconsumed_tail
        total += out.write(inflater.flush())
    if total > allowed:
        raise Unfit("the object inflates past the limit")
    return total
