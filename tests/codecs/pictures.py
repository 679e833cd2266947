"""Images made for the codec tests, and Part 10 files of them."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, generate_uid
from pynetdicom.dsutils import split_dataset

from adapters.codecs.transcoder import Transcoder
from adapters.dicom.part10 import file_header
from processes.pixel_ports import Stored

EXPLICIT = "1.2.840.10008.1.2.1"
PRIVATE = b"\x01\x02annals\xff\x00"


def made(
    bits_allocated: int = 16,
    bits_stored: int = 12,
    *,
    signed: bool = False,
    samples: int = 1,
    frames: int = 1,
    rows: int = 33,
    columns: int = 31,
    photometric: str = "MONOCHROME2",
    planar: int = 0,
    seed: int = 0,
) -> Dataset:
    """An image with smooth and noisy parts, a private element, a sequence of undefined length."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(f"<{'i' if signed else 'u'}{max(8, bits_allocated) // 8}")
    shape = (frames, rows, columns) + ((samples,) if samples > 1 else ())
    low, high = (-(1 << bits_stored - 1), 1 << bits_stored - 1) if signed else (0, 1 << bits_stored)
    wave = np.indices(shape).sum(axis=0) * (high - low) // (rows + columns + frames + samples) + low
    pixels = np.clip(wave + rng.integers(-3, 4, shape), low, high - 1)
    pixels[:, : rows // 4] = rng.integers(low, high, pixels[:, : rows // 4].shape)
    pixels = pixels.astype(dtype)
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientName, image.PatientID, image.Modality = "Müller^Jörg", "1", "CT"
    block = image.private_block(0x0029, "ANNALS TEST", create=True)
    block.add_new(1, "OB", PRIVATE)
    inner = Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "99A", "one"
    inner.is_undefined_length_sequence_item = True
    image.ProcedureCodeSequence = [inner, Dataset()]
    image["ProcedureCodeSequence"].is_undefined_length = True
    image.SamplesPerPixel, image.PhotometricInterpretation = samples, photometric
    if samples > 1:
        image.PlanarConfiguration = planar
    if frames > 1:
        image.NumberOfFrames = frames
    image.Rows, image.Columns = rows, columns
    image.BitsAllocated, image.BitsStored, image.HighBit = bits_allocated, bits_stored, bits_stored - 1
    image.PixelRepresentation = int(signed)
    if photometric == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):
            setattr(image, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
            setattr(image, f"{colour}PaletteColorLookupTableData", bytes(range(256)))
    if samples > 1 and planar:
        pixels = np.moveaxis(pixels, -1, 1)
    data = (
        np.packbits(pixels.ravel().astype(np.uint8), bitorder="little").tobytes()
        if bits_allocated == 1
        else np.ascontiguousarray(pixels).tobytes()
    )
    image.PixelData = data + b"\0" * (len(data) % 2)
    image["PixelData"].VR = "OW" if bits_allocated > 8 else "OB"
    return image


def saved(image: Dataset, path: Path, syntax: str = EXPLICIT) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    FileDataset(str(path), image, file_meta=meta, preamble=b"\0" * 128).save_as(path, enforce_file_format=True)
    return path


@contextmanager
def opened(path: Path) -> Iterator[Stored]:
    """The stored object of a Part 10 file."""
    meta, offset = split_dataset(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Stored(descriptor, offset, path.stat().st_size - offset, meta.TransferSyntaxUID)
    finally:
        os.close(descriptor)


def data_set(stored: Stored) -> bytes:
    """The converted data set; closes its descriptor."""
    try:
        return os.pread(stored.descriptor, stored.length, stored.offset)
    finally:
        os.close(stored.descriptor)


def has_message(transcoder: Transcoder) -> bool:
    """Whether what a stopped child shall do lies at it: it is chosen a moment before, and then not missed yet."""
    busy = [*transcoder._workers._busy]
    return any(struct.unpack("i", fcntl.ioctl(one.socket, termios.TIOCOUTQ, bytes(4)))[0] for one in busy)


def transcoded(transcoder: Transcoder, path: Path, syntax: str) -> Path:
    """The object of a file in another syntax, as a file beside it."""
    named = dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID"])
    with opened(path) as stored:
        converted = transcoder.converted(stored, syntax)
        data = data_set(converted)
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".dcm")
    with os.fdopen(descriptor, "wb") as file:
        uid = converted.own_uid or named.SOPInstanceUID
        file.write(file_header(named.SOPClassUID, uid, syntax, "") + data)
    return Path(name)
