"""Test objects: files that storescu sends, with new UIDs for every round so that nothing is a duplicate."""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_WORD = "1.2.840.10008.5.1.4.1.1.7.3"

_UID_DIGITS = 34
_INSTANCE, _SERIES, _STUDY = (f"2.25.{digit * (_UID_DIGITS + 1)}" for digit in "123")


@dataclass(frozen=True, slots=True)
class Shape:
    """What an object is like: its class and its pixels of 16 bits."""

    name: str
    sop_class_uid: str
    modality: str
    rows: int
    columns: int
    frames: int = 1

    @property
    def pixel_bytes(self) -> int:
        """The length of the pixel data."""
        return self.rows * self.columns * self.frames * 2


CT = Shape("0.5 MB", CT_IMAGE, "CT", 512, 512)
SMALL = Shape("20 KB", SECONDARY_CAPTURE, "OT", 100, 100)
HUGE = Shape("2 GB", MULTI_FRAME_WORD, "OT", 1024, 1024, 1023)


class Uids:
    """UIDs of one length that no other run has used."""

    def __init__(self) -> None:
        self._run = random.SystemRandom().randrange(10**17, 10**18)
        self._numbers = count(1)

    def one(self) -> str:
        """A new UID, as long as those in the templates."""
        return f"2.25.1{self._run:018d}{next(self._numbers):0{_UID_DIGITS - 18}d}"


class Batch:
    """The files of one association: one study, ``series_size`` images a series."""

    def __init__(self, folder: Path, shape: Shape, size: int, uids: Uids, *, series_size: int = 60) -> None:
        self.folder = folder
        self.shape = shape
        self.size = size
        self.study_instance_uid = ""
        self._uids = uids
        self._series_size = series_size
        self._template = _encoded(shape)
        folder.mkdir(parents=True)
        self._files = [folder / f"{number:05d}.dcm" for number in range(size)]
        for file in self._files:
            file.write_bytes(self._template)
            with file.open("r+b") as opened:
                opened.truncate(len(self._template) + self._pixels_to_come)
        self._places = {marker: _places(self._template, marker) for marker in (_INSTANCE, _SERIES, _STUDY)}
        self.renew()

    @property
    def bytes(self) -> int:
        """What is sent of all files."""
        return self.size * (len(self._template) + self._pixels_to_come)

    def renew(self) -> None:
        """Give every file new UIDs, in place."""
        self.study_instance_uid = self._uids.one()
        series = ""
        for number, file in enumerate(self._files):
            if number % self._series_size == 0:
                series = self._uids.one()
            with file.open("r+b") as opened:
                for marker, uid in (
                    (_INSTANCE, self._uids.one()),
                    (_SERIES, series),
                    (_STUDY, self.study_instance_uid),
                ):
                    for place in self._places[marker]:
                        os.pwrite(opened.fileno(), uid.encode(), place)

    def paint(self, picture: Callable[[int], NDArray[np.uint16]]) -> None:
        """Give the pixels of one frame each to the files, which are random without."""
        for number, file in enumerate(self._files):
            with file.open("r+b") as opened:
                opened.seek(len(self._template) - self.shape.pixel_bytes)
                opened.write(picture(number).tobytes())

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder)

    @property
    def _pixels_to_come(self) -> int:
        return self.shape.pixel_bytes if self.shape.frames > 1 else 0


def _encoded(shape: Shape) -> bytes:
    """A Part 10 file; the pixels of a multi-frame image are left to a hole in the file."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID = UID(shape.sop_class_uid)
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID = UID(_INSTANCE)
    data_set.SeriesInstanceUID, data_set.StudyInstanceUID = UID(_SERIES), UID(_STUDY)
    data_set.PatientName, data_set.PatientID = "Bench^Subject", _STUDY[-12:]
    data_set.PatientBirthDate, data_set.PatientSex = "19700101", "O"
    data_set.StudyDate, data_set.StudyTime, data_set.AccessionNumber = "20260102", "101112", "A0001"
    data_set.ReferringPhysicianName, data_set.StudyID, data_set.StudyDescription = "", "1", "Thorax"
    data_set.Modality, data_set.SeriesNumber, data_set.SeriesDescription = shape.modality, 1, "Axial"
    data_set.Manufacturer, data_set.InstanceNumber = "Bench", 1
    data_set.ImageType, data_set.ConversionType = ["ORIGINAL", "PRIMARY"], "SYN"
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows, data_set.Columns = shape.rows, shape.columns
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 16, 15
    data_set.PixelRepresentation = 0
    if shape.frames > 1:
        data_set.NumberOfFrames = shape.frames
    else:
        data_set.add_new("PixelData", "OW", random.Random(1).randbytes(shape.pixel_bytes))
    target = io.BytesIO()
    dcmwrite(target, data_set, enforce_file_format=True)
    encoded = target.getvalue()
    if shape.frames > 1:
        encoded += b"\xe0\x7f\x10\x00OW\0\0" + shape.pixel_bytes.to_bytes(4, "little")
    return encoded


def _places(encoded: bytes, marker: str) -> list[int]:
    places, at = [], encoded.find(marker.encode())
    while at >= 0:
        places.append(at)
        at = encoded.find(marker.encode(), at + 1)
    return places
