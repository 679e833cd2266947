"""Conversion between the native (not encapsulated) transfer syntaxes, for peers that accept only one of them."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from adapters.dicom.source import inflated_whole
from domain.errors import Because, Refused
from domain.limits import Limits
from domain.transcoding import BIG_ENDIAN, DEFLATED, IMPLICIT

_WORD_SIZES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def converted(
    descriptor: int, offset: int, length: int, stored: str, wanted: str, limits: Limits
) -> tuple[int, int, int]:
    """The data set in another native syntax, as a temp file: descriptor, offset, length. Closes ``descriptor``.

    Raises :class:`Refused` when the object is too large to be converted or cannot be read.
    """
    if length > limits.inflated_size_max:
        raise Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, "the object is too large to be converted")
    encoded = os.pread(descriptor, length, offset)
    out = tempfile.TemporaryFile()  # noqa: SIM115 - handed on as a descriptor
    with out:
        try:
            _convert(encoded, stored, wanted, out, limits)
        except (Refused, OSError):
            raise
        except Exception as error:
            fault = f"the object cannot be converted ({type(error).__name__})"
            raise Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, fault) from error
        out.flush()
        size = out.tell()
        copy = os.dup(out.fileno())
    os.close(descriptor)
    return copy, 0, size


def _convert(encoded: bytes, stored: str, wanted: str, out: IO[bytes], limits: Limits) -> None:
    if stored == DEFLATED:
        inflated = inflated_whole(encoded, limits.inflated_size_max)
        if inflated is None:
            raise Refused(Because.CANNOT_PERFORM_SUB_OPERATIONS, "the object inflates past the limit")
        encoded = inflated
    big = stored == BIG_ENDIAN
    data_set = read_dataset(io.BytesIO(encoded), stored == IMPLICIT, not big)
    if big:
        for element in _elements(data_set):
            _swap_words(element)
    target = DicomFileLike(out)
    target.is_implicit_VR, target.is_little_endian = wanted == IMPLICIT, True
    write_dataset(target, data_set)


def _elements(data_set: Dataset) -> Iterator[DataElement]:
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)
        else:
            yield element


def _swap_words(element: DataElement) -> None:
    value: Any = element.value
    if (size := _WORD_SIZES.get(str(element.VR))) and isinstance(value, bytes) and len(value) % size == 0:
        element.value = np.frombuffer(value, f">u{size}").astype(f"<u{size}").tobytes()
