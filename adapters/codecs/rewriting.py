"""One data set in another transfer syntax: pixels and what describes them change, nothing else (TS-3)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from adapters.codecs import derivation, encoding, fragments, icons, image
from adapters.codecs.changes import Change, text
from adapters.codecs.codestreams import is_irreversible
from adapters.codecs.decoding import YBR_PARTIAL, colour_after
from adapters.codecs.elements import PIXEL_DATA, Element, Form, Rewriting, Source, element_bytes, elements, header
from adapters.codecs.image import Image
from adapters.codecs.object import StoredObject
from adapters.codecs.sinks import Deflated, File, Pieces, Sink
from adapters.codecs.unfit import Unfit
from adapters.dicom.byte_order import swapped
from adapters.dicom.frames import UNDEFINED
from adapters.dicom.syntaxes import encoding_of
from domain.transcoding import (
    DEFLATED,
    ENCODED_LOSSY,
    HTJ2K,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LS_NEAR,
    NATIVE,
)

_PIECE = 1024 * 1024
_ALWAYS_LOSSY = (JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR)
_PERHAPS_LOSSY = (JPEG_2000, HTJ2K)
_LONG_LENGTH_MAX = 0xFFFF_FFFE
_OF_ENCAPSULATION = (fragments.EXTENDED_OFFSETS, fragments.EXTENDED_LENGTHS, fragments.TOTAL_LENGTH)
_DESCRIBING_GROUPS = (0x0028, 0x7FE0)


class Written(NamedTuple):
    """Bytes written, whether pixels were compressed with loss, and the SOP Instance UID if that made an instance."""

    length: int
    lost: bool
    own_uid: str


def needs_pixels(stored: str, wanted: str) -> bool:
    """Whether pixels are decoded or encoded on the way."""
    return not (stored in NATIVE and wanted in NATIVE)


def framing(stored: StoredObject, wanted: str) -> Callable[[int], bytes]:
    """What makes a frame, counted from 0, in the wanted syntax; native ones are little endian and by pixel.

    Raises Unfit, as it does.
    """
    stored.check_described()
    described = stored.image()
    colour = colour_after(stored.syntax, described)
    if colour == YBR_PARTIAL:
        raise Unfit("colours of a partial range go only as they are")
    samples = stored.reading(described)
    if wanted in NATIVE:
        return lambda number: np.ascontiguousarray(samples(number)).tobytes()
    encoding.check_fit(wanted, described, colour, was_lossy=was_lossy(stored))
    encode = encoding.encoder(wanted, described, colour)
    return lambda number: encode(samples(number))


def was_lossy(stored: StoredObject) -> bool:
    """Whether the pixels were compressed with loss, as the object, its syntax or its codestream says."""
    if stored.syntax in _ALWAYS_LOSSY or stored.texts.get(image.LOSSY, "").strip(" \0") == derivation.IS_LOSSY:
        return True
    return stored.syntax in _PERHAPS_LOSSY and is_irreversible(stored.frames().frame(0))


class Enclosure(NamedTuple):
    """All of an object but its one frame: what stands before that frame's item, and behind it."""

    before: bytes
    behind: bytes


def enclosure(stored: StoredObject, wanted: str) -> Enclosure | None:
    """What goes around the one frame of a small image, before that is encoded; None where it hangs on what is made."""
    if wanted in NATIVE or wanted in ENCODED_LOSSY or stored.image().frames > 1:
        return None
    before, behind, form = Pieces(), Pieces(), _form(wanted)
    _write_header(stored, form, icons.changes(stored, form) | _changes(stored, stored.image(), wanted, ()), before)
    before.write(_encapsulated(form, ()))
    behind.write(fragments.DELIMITER)
    _write_tail(stored, stored.pixels_end(), form, behind)
    return Enclosure(b"".join(before), b"".join(behind))


def enclose(frame: bytes, around: Enclosure, out: int) -> Written:
    """Write the whole data set of an image of one frame."""
    file = File(out)
    for piece in (around.before, fragments.item_header(len(frame)), frame, around.behind):
        file.write(piece)
    file.finish()
    return Written(file.size, False, "")


def write(
    stored: StoredObject,
    wanted: str,
    lengths: Sequence[int],
    pixels: Iterable[bytes],
    out: int,
    *,
    lossy_as_instance: bool = False,
) -> Written:
    """Write the whole data set. ``lengths`` and ``pixels`` are those of :func:`framing`, in pieces of any size.

    With ``lossy_as_instance`` what is compressed with loss becomes an instance of its own.
    """
    form = _form(wanted)
    file = File(out)
    sink: File | Deflated = Deflated(file) if wanted == DEFLATED else file
    lost = bool(lengths) and wanted in ENCODED_LOSSY
    changes = icons.changes(stored, form)
    if lengths:
        changes |= _changes(stored, stored.image(), wanted, lengths)
    if lost:
        ratio = stored.image().decoded_bytes * stored.image().frames / max(1, sum(lengths))
        changes |= derivation.changes(stored, wanted, ratio, as_instance=lossy_as_instance)
    _write_header(stored, form, changes, sink)
    tail = stored.tail
    if lengths:
        _write_pixels(stored.image(), wanted, form, lengths, pixels, sink)
        tail = stored.pixels_end()
    elif stored.pixels is not None and stored.pixels.length != UNDEFINED:
        _copy_pixels(stored, stored.pixels, form, sink)
        tail = stored.pixels.end
    _write_tail(stored, tail, form, sink)
    sink.finish()
    return Written(file.size, lost, derivation.own_uid(stored, wanted) if lost and lossy_as_instance else "")


def _form(wanted: str) -> Form:
    target = encoding_of(wanted)
    return Form(target.implicit, target.big_endian)


def _changes(stored: StoredObject, described: Image, wanted: str, lengths: Sequence[int]) -> dict[int, Change]:
    """The attributes that describe the new pixel data."""
    changes: dict[int, Change] = dict.fromkeys(_OF_ENCAPSULATION)
    decoded = colour_after(stored.syntax, described)
    colour = decoded if wanted in NATIVE else encoding.colour_before(wanted, decoded, described)
    if colour != stored.texts.get(image.PHOTOMETRIC, "").strip(" \0"):
        changes[image.PHOTOMETRIC] = (b"CS", text(colour))
    if described.samples > 1 and stored.numbers.get(image.PLANAR) != encoding.planar_of(wanted):
        changes[image.PLANAR] = (b"US", struct.pack("<H", encoding.planar_of(wanted)))
    bits = encoding.bits_after(wanted, described)
    if bits != described.bits_stored:
        changes[image.BITS_STORED] = (b"US", struct.pack("<H", bits))
        changes[image.HIGH_BIT] = (b"US", struct.pack("<H", bits - 1))
    if was_lossy(stored) and stored.texts.get(image.LOSSY, "").strip(" \0") != derivation.IS_LOSSY:
        changes[image.LOSSY] = (b"CS", text(derivation.IS_LOSSY))
    if wanted not in NATIVE and fragments.needs_extended(lengths):
        offsets, sizes = fragments.extended(lengths)
        changes[fragments.EXTENDED_OFFSETS] = (b"OV", offsets)
        changes[fragments.EXTENDED_LENGTHS] = (b"OV", sizes)
    return changes


def _write_header(stored: StoredObject, form: Form, changes: dict[int, Change], sink: Sink) -> None:
    if form == stored.form:
        _keep_header(stored, changes, sink)
        return
    rewriting = Rewriting(stored.source, stored.form, form, signed=stored.is_signed)
    written = sorted(tag for tag, change in changes.items() if change)

    def flush(before: int) -> None:
        while written and written[0] < before:
            sink.write(_changed(written.pop(0), changes, form))

    for element in stored.header:
        flush(element.tag)
        if element.tag in changes:
            flush(element.tag + 1)
            continue
        for piece in rewriting.pieces(element):
            sink.write(piece)
    flush(PIXEL_DATA)


def _keep_header(stored: StoredObject, changes: dict[int, Change], sink: Sink) -> None:
    """Neighbours that stay are copied together; of groups that change the length goes."""
    end = stored.header[-1].end if stored.header else 0
    written = sorted(tag for tag, change in changes.items() if change)
    groups = {tag >> 16 for tag in written} | set(_DESCRIBING_GROUPS if changes else ())
    left_out = {*changes, *(group << 16 for group in groups)}
    cuts = [(element.start, 1, element.end, b"") for element in stored.header if element.tag in left_out]
    for tag in written:
        place = next((element.start for element in stored.header if element.tag >= tag), end)
        cuts.append((place, 0, place, _changed(tag, changes, stored.form)))
    position = 0
    # What is put in at a place comes before what is left out there.
    for start, _, after, data in sorted(cuts, key=lambda cut: cut[:2]):
        _copy(stored.source, position, start, sink)
        sink.write(data)
        position = after
    _copy(stored.source, position, end, sink)


def _changed(tag: int, changes: dict[int, Change], form: Form) -> bytes:
    change = changes[tag]
    assert change
    return element_bytes(tag, *change, form)


def _write_pixels(
    described: Image, wanted: str, form: Form, lengths: Sequence[int], pixels: Iterable[bytes], sink: Sink
) -> None:
    if wanted not in NATIVE:
        sink.write(_encapsulated(form, lengths))
        for length, frame in zip(lengths, pixels, strict=True):
            sink.write(fragments.item_header(length))
            sink.write(frame)
        sink.write(fragments.DELIMITER)
        return
    total = sum(lengths)
    if total + total % 2 > _LONG_LENGTH_MAX:
        raise Unfit("the native pixel data is longer than an element can be")
    vr = b"OW" if described.bits_allocated > 8 or form.implicit else b"OB"
    sink.write(header(PIXEL_DATA, vr, total + total % 2, form))
    for frame in pixels:
        sink.write(swapped(frame, vr) if form.big else frame)
    sink.write(b"\0" * (total % 2))


def _encapsulated(form: Form, lengths: Sequence[int]) -> bytes:
    """How encapsulated pixel data of frames of these lengths begins."""
    return header(PIXEL_DATA, b"OB", UNDEFINED, form) + fragments.offset_table(lengths)


def _copy_pixels(stored: StoredObject, pixels: Element, form: Form, sink: Sink) -> None:
    """Native pixel data as it is, or in the other byte order (PS3.5 8.1.1, A.2)."""
    bits = stored.numbers.get(image.BITS_ALLOCATED, 16)
    vr = pixels.vr or (b"OW" if bits > 8 or form.implicit else b"OB")
    swap = stored.form.big != form.big and (vr == b"OW" if stored.form.big else bits > 8)
    if form.big and not stored.form.big:
        # Also where words came as OB, as some senders have it: their new order shall be told.
        vr = b"OW" if swap else b"OB"
    sink.write(header(PIXEL_DATA, vr, pixels.length, form))
    position = pixels.value
    while position < pixels.end:
        piece = stored.source.read(position, min(_PIECE, pixels.end - position))
        sink.write(swapped(piece, b"OW") if swap else piece)
        position += len(piece)


def _copy(source: Source, position: int, end: int, sink: Sink) -> None:
    for begin in range(position, end, _PIECE):
        sink.write(source.read(begin, min(_PIECE, end - begin)))


def _write_tail(stored: StoredObject, position: int, form: Form, sink: Sink) -> None:
    """What comes after the pixel data, or all large elements of an object that has none."""
    if form == stored.form:
        _copy(stored.source, position, stored.source.size, sink)
        return
    rewriting = Rewriting(stored.source, stored.form, form, signed=False)
    for element in elements(stored.source, stored.form, position, stored.source.size):
        sink.write(rewriting.element(element))
